/* listen_fds.c: listening sockets that were there before the process. */
#include "loomgate/runtime/listen_fds.h"

#include "loomgate/base/log.h"
#include "loomgate/base/mem.h"
#include "loomgate/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { COUNT_MAX = 65536 };

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
    if (slice_to_u64(slice_of(fds), COUNT_MAX, count)) return true;
    return error_set(e, "LISTEN_FDS is not a number up to %d: '%.40s'", COUNT_MAX, fds);
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

/* --- giving them away ------------------------------------------------------------------------------------------- */

static int take(struct listen_fds *l, const struct addr *a) {
    for (unsigned i = 0; i < l->count; i++) {
        int fd = l->v[i].fd;
        if (fd < 0 || !addr_eq(&l->v[i].addr, a)) continue;
        l->v[i].fd = -1;
        return fd;
    }
    return -1;
}

int listen_fds_take(struct listen_fds *l, const struct addr *a, bool any_family) {
    int fd = take(l, a);
    if (fd >= 0 || !any_family) return fd;
    struct addr any4 = {.len = sizeof any4.u.in};
    any4.u.in.sin_family = AF_INET;
    any4.u.in.sin_port = htons(addr_port(a));
    return take(l, &any4);
}

bool listen_fds_take_group(struct listen_fds *l, const struct addr *a, bool any_family, unsigned count, int *fds,
                           bool *found, struct error *e) {
    unsigned taken = 0;
    while (taken < count && (fds[taken] = listen_fds_take(l, a, any_family)) >= 0) taken++;
    *found = taken > 0;
    for (unsigned i = taken; taken && i < count; i++) {
        fds[i] = fcntl(fds[i % taken], F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0) continue;
        error_set_errno(e, "an inherited socket cannot be duplicated");
        while (i > 0) close(fds[--i]);
        return false;
    }
    return true;
}

void listen_fds_fini(struct listen_fds *l) {
    char text[ADDR_TEXT_MAX];
    for (unsigned i = 0; i < l->count; i++) {
        if (l->v[i].fd < 0) continue;
        addr_print(&l->v[i].addr, text);
        log_warn("socket_unused", "an inherited socket is closed: no frontend is bound to its address",
                 LOG_STR("address", text), LOG_STR("name", l->v[i].name));
        close(l->v[i].fd);
    }
    free(l->v);
    free(l->names);
    *l = (struct listen_fds){0};
}
