/* proxy_protocol.h: the PROXY protocol, versions 1 and 2, read and written; pure.
 * Source: the PROXY protocol specification of HAProxy (2020/03/05). */
#ifndef LOOMGATE_NET_PROXY_PROTOCOL_H
#define LOOMGATE_NET_PROXY_PROTOCOL_H

#include "loomgate/base/slice.h"
#include "loomgate/net/addr.h"

enum proxy_parse { PROXY_MORE, PROXY_DONE, PROXY_BAD };
enum { PROXY_HEADER_MAX = 232, PROXY_V2_READ_MAX = 16 + 2048 };

/* Reads a header of either version at the start of `in`. PROXY_DONE: *used bytes are it; *has_addr false for LOCAL and
 * UNKNOWN (keep the socket's own address). PROXY_MORE: valid so far. TLVs are skipped; v1 is at most 107 bytes, v2 at
 * most PROXY_V2_READ_MAX. */
enum proxy_parse proxy_parse(struct slice in, size_t *used, bool *has_addr, struct addr *client, struct addr *local);
/* Writes one; returns its length. Addresses that are not both of one IP family give UNKNOWN / LOCAL (an IPv4 one beside
 * an IPv6 one is written as mapped). */
size_t proxy_print_v1(char out[PROXY_HEADER_MAX], const struct addr *client, const struct addr *local);
size_t proxy_print_v2(char out[PROXY_HEADER_MAX], const struct addr *client, const struct addr *local);

#endif
