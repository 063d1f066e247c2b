/* listen_fds.c: listening sockets that were there before the process. */
#include "loomgate/runtime/listen_fds.h"

#include "loomgate/base/log.h"
#include "loomgate/base/mem.h"
#include "loomgate/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the environment -------------------------------------------------------------------------------------------- */

/* How many there are for us; false when it makes no sense. */
static bool read_count(uint64_t *count, struct error *e) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t number;
    *count = 0;
    if (!pid || !fds) return true;
    if (!slice_to_u64(slice_of(pid), UINT32_MAX, &number))
        return error_set(e, "LISTEN_PID is not a number: '%.40s'", pid);
    if (number != (uint64_t)getpid()) return true; /* a parent's that it forgot to remove */
    if (slice_to_u64(slice_of(fds), LISTEN_FDS_MAX, count)) return true;
    return error_set(e, "LISTEN_FDS is not a number up to %d: '%.40s'", LISTEN_FDS_MAX, fds);
}

/* "web:admin": each descriptor gets the next. */
static void read_names(struct listen_fds *l) {
    const char *names = getenv("LISTEN_FDNAMES");
    size_t size = names ? strlen(names) + 1 : 1;
    l->names = memcpy(xmalloc(size), names ? names : "", size);
    char *rest = l->names, *name;
    for (unsigned i = 0; i < l->count; i++) l->v[i].name = rest && (name = strsep(&rest, ":")) ? name : "";
}

static void forget_environment(void) {
    static const char *const names[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};
    for (size_t i = 0; i < LG_COUNT(names); i++) unsetenv(names[i]);
}

/* --- one descriptor --------------------------------------------------------------------------------------------- */

static int get_option(int fd, int option) {
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static const char *why_useless(int fd) {
    int type = get_option(fd, SO_TYPE);
    if (type < 0) return strerror(errno);
    if (type != SOCK_STREAM) return "it is not a stream socket";
    return get_option(fd, SO_ACCEPTCONN) > 0 ? NULL : "it does not listen";
}

static bool adopt(struct listen_fd *l, int fd, struct error *e) {
    int flags = fcntl(fd, F_GETFL), yes = 1;
    const char *why = why_useless(fd);
    if (!why && !socket_local_addr(fd, &l->addr)) why = strerror(errno);
    if (!why && (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0))
        why = strerror(errno);
    if (why) return error_set(e, "the inherited descriptor %d cannot be used: %s", fd, why);
    /* As ours have it: accepted ones inherit it. */
    if (!addr_is_unix(&l->addr)) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    l->fd = fd;
    return true;
}

static bool adopt_all(struct listen_fds *l, struct error *e) {
    for (unsigned i = 0; i < l->count; i++)
        if (!adopt(&l->v[i], LISTEN_FDS_FIRST + (int)i, e)) return false;
    return true;
}

bool listen_fds_init(struct listen_fds *l, struct error *e) {
    uint64_t count;
    *l = (struct listen_fds){0};
    bool ok = read_count(&count, e);
    if (ok && count) {
        l->v = xcalloc(count, sizeof *l->v);
        l->count = (unsigned)count;
        read_names(l);
        ok = adopt_all(l, e);
    }
    forget_environment();
    if (ok) return true;
    free(l->v);
    free(l->names);
    *l = (struct listen_fds){0};
    return false;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

static const char lent[] = "lent-", of_frontend[] = "frontend/", of_control[] = "control/";

void listen_fds_name(char out[LISTEN_NAME_MAX], const char *frontend, bool is_lent) {
    snprintf(out, LISTEN_NAME_MAX, "%s%s%s", is_lent ? lent : "", frontend ? of_frontend : of_control,
             frontend ? frontend : "");
    for (char *c = out; (c = strchr(c, ':'));) *c = '%'; /* names are separated by it, and no frontend's has a '%' */
}

static bool begins_with(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

bool listen_fds_is_lent(const struct listen_fd *l) {
    return !begins_with(l->name, of_frontend) && !begins_with(l->name, of_control);
}

static bool is_of(const struct listen_fd *l, const char *frontend) {
    char own[LISTEN_NAME_MAX], given[LISTEN_NAME_MAX];
    listen_fds_name(own, frontend, false);
    listen_fds_name(given, frontend, true);
    return strcmp(l->name, own) == 0 || strcmp(l->name, given) == 0;
}

/* --- giving them away ------------------------------------------------------------------------------------------- */

static struct listen_fd *find(struct listen_fds *l, const struct addr *a) {
    for (unsigned i = 0; i < l->count; i++)
        if (l->v[i].fd >= 0 && addr_eq(&l->v[i].addr, a)) return &l->v[i];
    return NULL;
}

static struct listen_fd *find_any(struct listen_fds *l, const struct addr *a, bool any_family) {
    struct listen_fd *found = find(l, a);
    if (found || !any_family) return found;
    struct addr any4 = {.len = sizeof any4.u.in};
    any4.u.in.sin_family = AF_INET;
    any4.u.in.sin_port = htons(addr_port(a));
    return find(l, &any4);
}

static struct addr without_port(const struct addr *a) {
    struct addr bare = *a;
    if (bare.u.sa.sa_family == AF_INET) bare.u.in.sin_port = 0;
    if (bare.u.sa.sa_family == AF_INET6) bare.u.in6.sin6_port = 0;
    return bare;
}

/* The frontend has had any free port there. */
static struct listen_fd *find_free_port(struct listen_fds *l, const struct addr *a, const char *frontend) {
    for (unsigned i = 0; i < l->count; i++) {
        struct addr bare = without_port(&l->v[i].addr);
        if (l->v[i].fd >= 0 && is_of(&l->v[i], frontend) && addr_eq(&bare, a)) return &l->v[i];
    }
    return NULL;
}

static int take(struct listen_fd *l) {
    int fd = l->fd;
    l->fd = -1;
    return fd;
}

int listen_fds_take(struct listen_fds *l, const struct addr *a, bool any_family, bool *is_lent) {
    struct listen_fd *found = find_any(l, a, any_family);
    *is_lent = found && listen_fds_is_lent(found);
    return found ? take(found) : -1;
}

static bool fill_up(struct listen_group *g, unsigned workers, struct error *e) {
    for (; g->count < workers; g->count++) {
        g->fds[g->count] = fcntl(g->fds[g->count % g->distinct], F_DUPFD_CLOEXEC, 0);
        if (g->fds[g->count] >= 0) continue;
        error_set_errno(e, "an inherited socket cannot be duplicated");
        while (g->count > 0) close(g->fds[--g->count]);
        free(g->fds);
        return false;
    }
    return true;
}

bool listen_fds_take_group(struct listen_fds *l, const struct addr *a, bool any_family, const char *frontend,
                           unsigned workers, struct listen_group *group, struct error *e) {
    bool is_free_port = !addr_is_unix(a) && addr_port(a) == 0;
    struct listen_fd *one = is_free_port ? find_free_port(l, a, frontend) : find_any(l, a, any_family);
    *group = (struct listen_group){0};
    if (!one) return true;
    const struct addr at = one->addr;
    group->is_inherited = true;
    group->is_lent = listen_fds_is_lent(one);
    group->fds = xcalloc(l->count > workers ? l->count : workers, sizeof *group->fds);
    for (; one; one = find(l, &at)) group->fds[group->count++] = take(one);
    group->distinct = group->count;
    return fill_up(group, workers, e);
}

static void close_unused(struct listen_fd *l) {
    char text[ADDR_TEXT_MAX];
    addr_print(&l->addr, text);
    log_warn("socket_unused", "an inherited socket is closed: nothing is bound to its address",
             LOG_STR("address", text), LOG_STR("name", l->name));
    close(take(l));
    if (addr_is_unix(&l->addr) && !listen_fds_is_lent(l)) unlink(l->addr.u.un.sun_path);
}

void listen_fds_end(struct listen_fds *l) {
    for (unsigned i = 0; i < l->count; i++)
        if (l->v[i].fd >= 0) close_unused(&l->v[i]);
    listen_fds_fini(l);
}

void listen_fds_fini(struct listen_fds *l) {
    for (unsigned i = 0; i < l->count; i++)
        if (l->v[i].fd >= 0) close(take(&l->v[i]));
    free(l->v);
    free(l->names);
    *l = (struct listen_fds){0};
}
