/* socket.h: sockets made, bound and tuned; all of them non-blocking and close-on-exec. */
#ifndef LOOMGATE_NET_SOCKET_H
#define LOOMGATE_NET_SOCKET_H

#include "loomgate/base/error.h"
#include "loomgate/net/addr.h"

#include <sys/types.h>

/* Listening sockets of one address, one a worker: SO_REUSEPORT for TCP (SO_REUSEADDR too, IPV6_V6ONLY off for
 * [::] from "*" and on otherwise, TCP_NODELAY inherited); a UNIX listener is bound once and duplicated (dup) for the
 * others: a stale socket file (nobody accepts) is replaced, a live one is an error. Port 0: the first socket chooses,
 * the others follow. An address that anybody listens on already, another process with SO_REUSEPORT too, is an error.
 * "*" without IPv6 in the kernel is 0.0.0.0. `fds` gets `count` descriptors; on failure none is left open. The file of
 * a UNIX listener stays when it is closed. */
LG_MUST_CHECK bool socket_listen(const struct addr *a, bool any_family, unsigned backlog, unsigned count, int *fds,
                                 struct error *e);
/* The same for a TCP address that this process listens on already as a part of a wider or narrower one (*:80 and
 * 127.0.0.1:80): who asks knows that, so it is no error that it is not free. */
LG_MUST_CHECK bool socket_listen_beside(const struct addr *a, bool any_family, unsigned backlog, unsigned count,
                                        int *fds, struct error *e);
/* Who may connect to a UNIX socket. */
struct socket_rights {
    mode_t mode;
    uid_t uid; /* (uid_t)-1: as it comes */
    gid_t gid; /* the same */
};
/* One listening UNIX socket whose file has these rights before anybody can connect; else as socket_listen. Returns the
 * descriptor, -1 with an error. */
int socket_listen_unix(const struct addr *a, unsigned backlog, const struct socket_rights *rights, struct error *e);
/* Gives the file of a UNIX socket these rights, unless it has them. */
LG_MUST_CHECK bool socket_set_rights(const struct addr *a, const struct socket_rights *rights, struct error *e);
/* Whose process connected a UNIX socket, as it was then (SO_PEERCRED). */
struct socket_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
bool socket_get_peer(int fd, struct socket_peer *out);
/* Begins to connect. Returns the descriptor (TCP_NODELAY set), and in *done whether it is connected already; -1 with
 * errno. */
int socket_connect(const struct addr *a, bool *done);
/* The same with a descriptor below `ceiling`; EMFILE when there is none. */
int socket_connect_below(const struct addr *a, int ceiling, bool *done);
/* The same with a socket of that family that was used before; false with errno. */
bool socket_connect_again(int fd, const struct addr *a, bool *done);
/* Ends a TCP connection by RST, also one that is not there yet; the socket can connect again. False for others. */
bool socket_disconnect(int fd);
/* For a socket whose owner sends at once when it connects (again): the last packet of the handshake waits for what is
 * sent, which saves one. */
void socket_defer_ack(int fd);
/* Sets whether a listening TCP socket's connections are held back until they have sent something, or until the kernel
 * has repeated its part of the handshake once, after a second (TCP_DEFER_ACCEPT, tcp(7)); false when it cannot be set.
 * Those that wait already stay. */
bool socket_defer_accept(int listener, bool defers);
/* SO_ERROR of a connecting socket: 0 when connected, else an errno. */
int socket_error(int fd);
/* accept4, non-blocking; -1 with errno. `peer` gets the peer's address. */
int socket_accept(int listener, struct addr *peer);
bool socket_local_addr(int fd, struct addr *out);
/* The next close() sends RST instead of FIN. */
void socket_set_reset(int fd);

#endif
