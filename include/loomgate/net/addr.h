/* addr.h: socket addresses: made from settings, printed, compared, matched against networks. */
#ifndef LOOMGATE_NET_ADDR_H
#define LOOMGATE_NET_ADDR_H

#include "loomgate/base/error.h"
#include "loomgate/config/config.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addr {
    socklen_t len; /* 0: unknown */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
};
enum { ADDR_TEXT_MAX = 128 };

/* An address in as little room as an IP takes; a path lies on the heap. For those of which there are thousands. */
struct addr_kept {
    sa_family_t family; /* AF_UNSPEC: unknown */
    in_port_t port;     /* as on the wire */
    uint32_t scope;
    union {
        struct in_addr ip4;
        struct in6_addr ip6;
        struct addr *path; /* NULL: a UNIX socket without one */
    } u;
};

/* For connecting or listening. Names are resolved with getaddrinfo (blocking: set-up only), the first answer is taken.
 * ADDRESS_ANY becomes [::] (made dual-stack by the socket). On failure `a` is unknown. */
LG_MUST_CHECK bool addr_resolve(struct addr *a, const struct address_setting *s, struct error *e);
/* "1.2.3.4:80", "[::1]:80", "unix:/path", "unknown"; IPv4-mapped IPv6 is printed as IPv4; an accepted UNIX client has
 * no path: "unix:". Ends in NUL; returns the length without it. */
size_t addr_print(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* The IP alone, without brackets or port ("unix", "unknown" otherwise). */
size_t addr_print_ip(const struct addr *a, char out[ADDR_TEXT_MAX]);
uint16_t addr_port(const struct addr *a); /* 0 without one */
bool addr_is_unix(const struct addr *a);
/* As an IPv6 address (IPv4 mapped); false for UNIX sockets and unknown. */
bool addr_ip6(const struct addr *a, struct in6_addr *out);
/* UNIX and unknown addresses are in no network, IPv4 ones in no IPv6 network ("::/0"). */
bool cidr_list_has(const struct cidr_list *list, const struct addr *a);
/* Family, IP (or path) and port; an IPv4-mapped IPv6 address is the IPv4 one; unknown equals unknown. */
bool addr_eq(const struct addr *a, const struct addr *b);

void addr_keep(struct addr_kept *k, const struct addr *a);
/* The same address again; the path is copied too. */
void addr_recall(const struct addr_kept *k, struct addr *out);
void addr_forget(struct addr_kept *k);

#endif
