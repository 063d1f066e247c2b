/* server.c: the control sockets: bound with their rights or inherited, opened before privileges go, removed at the end
 * or handed over. */
#include "server_internal.h"

#include "loomgate/runtime/listen_fds.h"
#include "loomgate/runtime/privileges.h"

#include <stdlib.h>
#include <unistd.h>

enum { BACKLOG = 128 };

/* --- rights ----------------------------------------------------------------------------------------------------- */

static bool find_rights(const struct control_settings *c, struct socket_rights *r, struct error *e) {
    *r = (struct socket_rights){(mode_t)strtoul(c->mode, NULL, 8), (uid_t)-1, (gid_t)-1};
    return (!c->owner || privileges_find_user(c->owner, &r->uid, e)) &&
           (!c->group || privileges_find_group(c->group, &r->gid, e));
}

/* --- sockets ---------------------------------------------------------------------------------------------------- */

static void on_accept(struct listen_watch *l, int fd, const struct addr *peer) {
    (void)peer;
    client_open(LG_CONTAINER_OF(l, struct control_socket, watch), fd);
}

/* The one of the process before this one, whose file gets the rights of now, or the service manager's, or a new one. */
static int socket_inherit(struct control_socket *s, const struct addr *a, const struct socket_rights *rights,
                          struct error *e) {
    int fd = runtime_inherit(s->server->control.runtime, a, &s->is_lent);
    if (fd < 0) return socket_listen_unix(a, BACKLOG, rights, e);
    s->is_inherited = true;
    if (s->is_lent || socket_set_rights(a, rights, e)) return fd;
    close(fd);
    return -1;
}

static bool socket_open(struct control_socket *s, const struct control_settings *c, struct error *e) {
    const struct address_setting address = {ADDRESS_UNIX, c->socket, c->socket, 0};
    struct socket_rights rights;
    struct addr a;
    int fd = -1;
    if (find_rights(c, &rights, e) && addr_resolve(&a, &address, e)) fd = socket_inherit(s, &a, &rights, e);
    if (fd < 0) return error_set(e, "global.control: %s", e->text);
    s->settings = c;
    s->path = xstrdup(c->socket);
    s->level = c->level;
    list_init(&s->clients);
    if (lstat(s->path, &s->file) != 0) memset(&s->file, 0, sizeof s->file);
    listen_start(&s->watch, s->server->loop, fd, on_accept);
    log_info("control_listening", NULL, LOG_STR("socket", s->path), LOG_STR("mode", c->mode),
             LOG_STR("access", control_level_name(s->level)));
    return true;
}

/* Nobody answers there any more; but somebody else may have bound the path since. */
static void remove_file(const struct control_socket *s) {
    struct stat now;
    if (s->is_lent || (s->is_inherited && !runtime_is_alone(s->server->control.runtime))) return;
    if (lstat(s->path, &now) == 0 && now.st_dev == s->file.st_dev && now.st_ino == s->file.st_ino) unlink(s->path);
}

static bool on_bind(void *owner, struct runtime *r, struct error *e) {
    struct control_server *s = owner;
    const struct global_settings *g = &runtime_snapshot(r)->config->global;
    control_start(&s->control, r);
    s->loop = runtime_loop(r);
    s->sockets = xcalloc(g->control_count, sizeof *s->sockets);
    for (; s->socket_count < g->control_count; s->socket_count++) {
        s->sockets[s->socket_count].server = s;
        if (!socket_open(&s->sockets[s->socket_count], &g->controls[s->socket_count], e)) return false;
    }
    return true;
}

static void on_stop(void *owner, struct runtime *r) {
    struct control_server *s = owner;
    (void)r;
    for (uint32_t i = 0; i < s->socket_count; i++) {
        if (!s->is_handed_over) {
            remove_file(&s->sockets[i]);
            listen_stop(&s->sockets[i].watch);
        }
        clients_close(&s->sockets[i]);
    }
    control_stop(&s->control);
}

static void on_bequeath(void *owner, void (*each)(void *arg, int fd, const char *name), void *arg) {
    struct control_server *s = owner;
    char name[LISTEN_NAME_MAX];
    for (uint32_t i = 0; i < s->socket_count; i++) {
        listen_fds_name(name, NULL, s->sockets[i].is_lent);
        each(arg, s->sockets[i].watch.io.fd, name);
    }
}

/* Clients stay until the process ends. */
static void on_handed_over(void *owner) {
    struct control_server *s = owner;
    s->is_handed_over = true;
    for (uint32_t i = 0; i < s->socket_count; i++) listen_stop(&s->sockets[i].watch);
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

struct control_server *control_server_new(const struct control_options *options) {
    struct control_server *s = xcalloc(1, sizeof *s);
    s->control.options = options;
    s->hooks = (struct runtime_hooks){.owner = s,
                                      .on_bind = on_bind,
                                      .on_stop = on_stop,
                                      .on_bequeath = on_bequeath,
                                      .on_handed_over = on_handed_over};
    return s;
}

void control_server_free(struct control_server *s) {
    for (uint32_t i = 0; i < s->socket_count; i++) free(s->sockets[i].path);
    free(s->sockets);
    free(s);
}

const struct runtime_hooks *control_server_hooks(struct control_server *s) {
    return &s->hooks;
}
