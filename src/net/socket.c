/* socket.c: sockets made, bound and tuned; all of them non-blocking and close-on-exec. */
#include "loomgate/net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

static int socket_open(int family) {
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static bool set_flag(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* close() without touching errno, which still has to be told. */
static void close_quietly(int fd) {
    int saved = errno;
    close(fd);
    errno = saved;
}

static int backlog_clamp(unsigned backlog) {
    return backlog > INT_MAX ? INT_MAX : (int)backlog;
}

static bool fail(const struct addr *a, struct error *e) {
    char text[ADDR_TEXT_MAX];
    addr_print(a, text);
    return error_set_errno(e, "cannot listen on %s", text);
}

/* --- TCP -------------------------------------------------------------------------------------------------------- */

static bool bind_tcp(int fd, const struct addr *a, bool any_family, bool shared) {
    if (!set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return false;
    if (shared && !set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
    if (a->u.sa.sa_family == AF_INET6 && !set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, !any_family)) return false;
    return bind(fd, &a->u.sa, a->len) == 0;
}

/* SO_REUSEPORT would let a second process of the same user take half of the connections unnoticed: a socket that does
 * not share finds out whether the address is free. */
static bool tcp_is_free(const struct addr *a, bool any_family) {
    int fd = socket_open(a->u.sa.sa_family);
    if (fd < 0) return false;
    bool ok = bind_tcp(fd, a, any_family, false);
    close_quietly(fd);
    return ok;
}

static int open_tcp(const struct addr *a, bool any_family, unsigned backlog) {
    int fd = socket_open(a->u.sa.sa_family);
    if (fd < 0) return -1;
    /* Accepted sockets inherit TCP_NODELAY. */
    if (bind_tcp(fd, a, any_family, true) && set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
        listen(fd, backlog_clamp(backlog)) == 0)
        return fd;
    close_quietly(fd);
    return -1;
}

/* Opens up to `count` sockets; returns how many could be. */
static unsigned open_tcp_group(struct addr at, bool any_family, unsigned backlog, unsigned count, int *fds) {
    for (unsigned i = 0; i < count; i++) {
        fds[i] = open_tcp(&at, any_family, backlog);
        if (fds[i] < 0) return i;
        if (i == 0 && addr_port(&at) == 0 && !socket_local_addr(fds[0], &at)) return 1;
    }
    return count;
}

/* A kernel without IPv6 still serves "*" by IPv4. */
static struct addr any_addr(const struct addr *a) {
    int probe = socket_open(AF_INET6);
    if (probe >= 0) {
        close(probe);
        return *a;
    }
    if (errno != EAFNOSUPPORT) return *a;
    struct addr any4 = {.len = sizeof any4.u.in};
    any4.u.in.sin_family = AF_INET;
    any4.u.in.sin_port = a->u.in6.sin6_port;
    return any4;
}

/* --- UNIX ------------------------------------------------------------------------------------------------------- */

/* Removes a socket file that nobody accepts on any more. False with errno when somebody does, or it is another file. */
static bool unix_make_way(const struct addr *a) {
    struct stat st;
    if (lstat(a->u.un.sun_path, &st) != 0) return errno == ENOENT;
    errno = EADDRINUSE;
    if (!S_ISSOCK(st.st_mode)) return false;
    int fd = socket_open(AF_UNIX);
    if (fd < 0) return false;
    bool stale = connect(fd, &a->u.sa, a->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    if (stale && (unlink(a->u.un.sun_path) == 0 || errno == ENOENT)) return true;
    if (!stale) errno = EADDRINUSE;
    return false;
}

/* Of the file of a bound socket; nobody can connect before it listens. */
static bool set_rights(const struct addr *a, const struct socket_rights *rights) {
    const char *path = a->u.un.sun_path;
    if (!rights) return true;
    bool owned = rights->uid != (uid_t)-1 || rights->gid != (gid_t)-1;
    return (!owned || lchown(path, rights->uid, rights->gid) == 0) && chmod(path, rights->mode) == 0;
}

static int open_unix(const struct addr *a, unsigned backlog, const struct socket_rights *rights) {
    if (!unix_make_way(a)) return -1;
    int fd = socket_open(AF_UNIX);
    if (fd < 0) return -1;
    if (bind(fd, &a->u.sa, a->len) == 0) {
        if (set_rights(a, rights) && listen(fd, backlog_clamp(backlog)) == 0) return fd;
        int saved = errno;
        unlink(a->u.un.sun_path);
        errno = saved;
    }
    close_quietly(fd);
    return -1;
}

static unsigned open_unix_group(const struct addr *a, unsigned backlog, unsigned count, int *fds) {
    fds[0] = open_unix(a, backlog, NULL);
    if (fds[0] < 0) return 0;
    for (unsigned i = 1; i < count; i++) {
        fds[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
        if (fds[i] >= 0) continue;
        int saved = errno;
        unlink(a->u.un.sun_path);
        errno = saved;
        return i;
    }
    return count;
}

/* --- both ------------------------------------------------------------------------------------------------------- */

static bool end_group(const struct addr *a, unsigned opened, unsigned count, int *fds, struct error *e) {
    if (opened == count) return true;
    while (opened > 0) close_quietly(fds[--opened]);
    return fail(a, e);
}

bool socket_listen(const struct addr *a, bool any_family, unsigned backlog, unsigned count, int *fds, struct error *e) {
    LG_ASSERT(count > 0);
    if (addr_is_unix(a)) return end_group(a, open_unix_group(a, backlog, count, fds), count, fds, e);
    struct addr at = any_family ? any_addr(a) : *a;
    if (!tcp_is_free(&at, any_family)) return fail(a, e);
    return end_group(a, open_tcp_group(at, any_family, backlog, count, fds), count, fds, e);
}

bool socket_listen_beside(const struct addr *a, bool any_family, unsigned backlog, unsigned count, int *fds,
                          struct error *e) {
    LG_ASSERT(count > 0 && !addr_is_unix(a));
    struct addr at = any_family ? any_addr(a) : *a;
    return end_group(a, open_tcp_group(at, any_family, backlog, count, fds), count, fds, e);
}

int socket_listen_unix(const struct addr *a, unsigned backlog, const struct socket_rights *rights, struct error *e) {
    LG_ASSERT(addr_is_unix(a));
    int fd = open_unix(a, backlog, rights);
    if (fd < 0) fail(a, e);
    return fd;
}

/* An interrupted connect goes on by itself (POSIX connect). */
bool socket_connect_again(int fd, const struct addr *a, bool *done) {
    *done = connect(fd, &a->u.sa, a->len) == 0;
    return *done || errno == EINPROGRESS || errno == EINTR;
}

bool socket_set_rights(const struct addr *a, const struct socket_rights *rights, struct error *e) {
    struct stat now;
    if (lstat(a->u.un.sun_path, &now) == 0 && (now.st_mode & 07777) == rights->mode &&
        (rights->uid == (uid_t)-1 || rights->uid == now.st_uid) &&
        (rights->gid == (gid_t)-1 || rights->gid == now.st_gid))
        return true;
    return set_rights(a, rights) || error_set_errno(e, "cannot set the rights of '%s'", a->u.un.sun_path);
}

int socket_connect(const struct addr *a, bool *done) {
    return socket_connect_below(a, INT_MAX, done);
}

int socket_connect_below(const struct addr *a, int ceiling, bool *done) {
    int fd = socket_open(a->u.sa.sa_family);
    if (fd < 0) return -1;
    if (fd >= ceiling) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    if (!addr_is_unix(a)) set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (socket_connect_again(fd, a, done)) return fd;
    close_quietly(fd);
    return -1;
}

/* What Linux makes of it, see connect(2): a TCP socket that is connected is reset. */
bool socket_disconnect(int fd) {
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    return connect(fd, &nowhere, sizeof nowhere) == 0;
}

/* That is what the option does to a socket that connects; Linux keeps it when the socket is disconnected. */
void socket_defer_ack(int fd) {
    set_flag(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
}

bool socket_defer_accept(int listener, bool defers) {
    return set_flag(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, defers);
}

int socket_error(int fd) {
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len) == 0 ? value : errno;
}

/* The kernel tells the full length, also when it had to cut (a UNIX path without room for its NUL). */
static void set_len(struct addr *a, socklen_t len) {
    a->len = len <= sizeof a->u ? len : (socklen_t)sizeof a->u;
}

int socket_accept(int listener, struct addr *peer) {
    socklen_t len = sizeof peer->u;
    int fd = accept4(listener, &peer->u.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) set_len(peer, len);
    return fd;
}

bool socket_get_peer(int fd, struct socket_peer *out) {
    struct ucred credentials;
    socklen_t len = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0) return false;
    *out = (struct socket_peer){credentials.pid, credentials.uid, credentials.gid};
    return true;
}

bool socket_local_addr(int fd, struct addr *out) {
    socklen_t len = sizeof out->u;
    *out = (struct addr){0};
    if (getsockname(fd, &out->u.sa, &len) != 0) return false;
    set_len(out, len);
    return true;
}

void socket_set_reset(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}
