/* addr_make.h: addresses and networks for tests, from text. */
#ifndef TESTS_SUPPORT_ADDR_MAKE_H
#define TESTS_SUPPORT_ADDR_MAKE_H

#include "loomgate/net/addr.h"

/* "1.2.3.4", "::1" and a port. */
struct addr addr_make_ip(const char *ip, uint16_t port);
/* An empty path gives an unnamed socket, as accept() reports it. */
struct addr addr_make_unix(const char *path);
/* "10.0.0.0/8" and "2001:db8::/32", kept as the configuration keeps them. */
struct cidr cidr_make(const char *text);

#endif
