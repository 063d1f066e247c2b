/* server.c: the control sockets: bound with their rights, opened before privileges go, removed at the end. */
#include "server_internal.h"

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

static bool socket_open(struct control_socket *s, const struct control_settings *c, struct error *e) {
    const struct address_setting address = {ADDRESS_UNIX, c->socket, c->socket, 0};
    struct socket_rights rights;
    struct addr a;
    int fd = -1;
    if (find_rights(c, &rights, e) && addr_resolve(&a, &address, e)) fd = socket_listen_unix(&a, BACKLOG, &rights, e);
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
        remove_file(&s->sockets[i]);
        listen_stop(&s->sockets[i].watch);
        clients_close(&s->sockets[i]);
    }
    control_stop(&s->control);
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

struct control_server *control_server_new(const struct control_options *options) {
    struct control_server *s = xcalloc(1, sizeof *s);
    s->control.options = options;
    s->hooks = (struct runtime_hooks){s, on_bind, on_stop};
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
