/* proxy_protocol.c: the PROXY protocol, versions 1 and 2, read and written; pure.
 *
 *   'P'  -> v1: "PROXY TCP4 SOURCE DESTINATION PORT PORT\r\n", at most 107 bytes       (section 2.1)
 *   '\r' -> v2: signature[12] version+command family+protocol length[2] addresses TLVs  (section 2.2) */
#include "loomgate/net/proxy_protocol.h"

#include <arpa/inet.h>

enum { V1_MAX = 107, V2_HEAD = 16, V2_BLOCK_MAX = PROXY_V2_READ_MAX - V2_HEAD };
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21, V2_UNIX = 0x31 };
enum { BLOCK_TCP4 = 12, BLOCK_TCP6 = 36, BLOCK_UNIX = 216, UNIX_PATH = 108 };

static const struct slice v1_signature = SLICE("PROXY ");
static const struct slice v2_signature = SLICE("\r\n\r\n\0\r\nQUIT\n");

/* Whether `in` begins with the signature, as far as it goes. */
static bool may_begin_with(struct slice in, struct slice signature) {
    return memcmp(in.p, signature.p, in.n < signature.n ? in.n : signature.n) == 0;
}

static void set_ip(struct addr *a, int family, const void *ip, uint16_t port) {
    *a = (struct addr){0};
    a->u.sa.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        a->len = sizeof a->u.in;
        a->u.in.sin_port = htons(port);
        memcpy(&a->u.in.sin_addr, ip, 4);
    } else {
        a->len = sizeof a->u.in6;
        a->u.in6.sin6_port = htons(port);
        memcpy(&a->u.in6.sin6_addr, ip, 16);
    }
}

/* --- version 1 -------------------------------------------------------------------------------------------------- */

/* A word up to the next single space; an empty one is an error. */
static bool v1_word(struct slice *rest, struct slice *word) {
    return slice_split(rest, ' ', word) && word->n > 0;
}

static bool v1_ip(struct slice text, int family, struct in6_addr *ip) {
    char copy[INET6_ADDRSTRLEN];
    if (text.n >= sizeof copy) return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return inet_pton(family, copy, ip) == 1;
}

static bool v1_port(struct slice text, uint16_t *port) {
    uint64_t value;
    if (text.n > 1 && text.p[0] == '0') return false;
    if (!slice_to_u64(text, UINT16_MAX, &value)) return false;
    *port = (uint16_t)value;
    return true;
}

/* What stands between "PROXY " and CRLF. */
static bool v1_read_line(struct slice line, bool *has_addr, struct addr *client, struct addr *local) {
    struct slice protocol, word[4];
    if (!v1_word(&line, &protocol)) return false;
    if (slice_is(protocol, "UNKNOWN")) return true;
    int family = slice_is(protocol, "TCP4") ? AF_INET : slice_is(protocol, "TCP6") ? AF_INET6 : AF_UNSPEC;
    if (family == AF_UNSPEC) return false;
    for (size_t i = 0; i < LG_COUNT(word); i++)
        if (!v1_word(&line, &word[i])) return false;
    struct in6_addr ip[2];
    uint16_t port[2];
    if (line.p || !v1_ip(word[0], family, &ip[0]) || !v1_ip(word[1], family, &ip[1])) return false;
    if (!v1_port(word[2], &port[0]) || !v1_port(word[3], &port[1])) return false;
    set_ip(client, family, &ip[0], port[0]);
    set_ip(local, family, &ip[1], port[1]);
    *has_addr = true;
    return true;
}

/* Where a line end is found, the whole signature stands before it: it has no control characters. */
static enum proxy_parse v1_parse(struct slice in, size_t *used, bool *has_addr, struct addr *client,
                                 struct addr *local) {
    size_t at = 0;
    while (at < in.n && at < V1_MAX && in.p[at] >= ' ' && in.p[at] < 0x7f) at++;
    if (at + 2 > V1_MAX) return PROXY_BAD;
    if (at == in.n) return PROXY_MORE;
    if (in.p[at] != '\r') return PROXY_BAD;
    if (at + 1 == in.n) return PROXY_MORE;
    if (in.p[at + 1] != '\n') return PROXY_BAD;
    struct slice line = slice_from(in.p + v1_signature.n, at - v1_signature.n);
    if (!v1_read_line(line, has_addr, client, local)) return PROXY_BAD;
    *used = at + 2;
    return PROXY_DONE;
}

/* --- version 2 -------------------------------------------------------------------------------------------------- */

static uint16_t read_u16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void set_unix(struct addr *a, const uint8_t path[UNIX_PATH]) {
    *a = (struct addr){.len = sizeof a->u.un};
    a->u.un.sun_family = AF_UNIX;
    memcpy(a->u.un.sun_path, path, UNIX_PATH);
}

/* Takes the addresses from the block behind the head. Families and protocols that are none are refused, those without
 * a use here (unspecified, datagrams) leave the socket's own address. */
static bool v2_read_block(uint8_t kind, const uint8_t *block, size_t len, bool *has_addr, struct addr *client,
                          struct addr *local) {
    if (kind >> 4 > 3 || (kind & 0x0f) > 2) return false;
    switch (kind) {
    case V2_TCP4:
        if (len < BLOCK_TCP4) return false;
        set_ip(client, AF_INET, block, read_u16(block + 8));
        set_ip(local, AF_INET, block + 4, read_u16(block + 10));
        break;
    case V2_TCP6:
        if (len < BLOCK_TCP6) return false;
        set_ip(client, AF_INET6, block, read_u16(block + 32));
        set_ip(local, AF_INET6, block + 16, read_u16(block + 34));
        break;
    case V2_UNIX:
        if (len < BLOCK_UNIX) return false;
        set_unix(client, block);
        set_unix(local, block + UNIX_PATH);
        break;
    default:
        return true;
    }
    *has_addr = true;
    return true;
}

static enum proxy_parse v2_parse(struct slice in, size_t *used, bool *has_addr, struct addr *client,
                                 struct addr *local) {
    const uint8_t *p = (const uint8_t *)in.p;
    if (in.n > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY) return PROXY_BAD;
    if (in.n < V2_HEAD) return PROXY_MORE;
    size_t len = read_u16(p + 14);
    if (len > V2_BLOCK_MAX) return PROXY_BAD;
    if (in.n < V2_HEAD + len) return PROXY_MORE;
    if (p[12] == V2_PROXY && !v2_read_block(p[13], p + V2_HEAD, len, has_addr, client, local)) return PROXY_BAD;
    *used = V2_HEAD + len;
    return PROXY_DONE;
}

enum proxy_parse proxy_parse(struct slice in, size_t *used, bool *has_addr, struct addr *client, struct addr *local) {
    *has_addr = false;
    if (in.n == 0) return PROXY_MORE;
    if (may_begin_with(in, v1_signature)) return v1_parse(in, used, has_addr, client, local);
    if (may_begin_with(in, v2_signature)) return v2_parse(in, used, has_addr, client, local);
    return PROXY_BAD;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

/* AF_INET when both are IPv4 (or mapped), AF_INET6 when both have an IP, else AF_UNSPEC. */
static int common_family(const struct addr *a, const struct addr *b, struct in6_addr ip[2]) {
    if (!addr_ip6(a, &ip[0]) || !addr_ip6(b, &ip[1])) return AF_UNSPEC;
    return IN6_IS_ADDR_V4MAPPED(&ip[0]) && IN6_IS_ADDR_V4MAPPED(&ip[1]) ? AF_INET : AF_INET6;
}

static const uint8_t *ip_bytes(const struct in6_addr *ip, int family) {
    return family == AF_INET ? &ip->s6_addr[12] : ip->s6_addr;
}

size_t proxy_print_v1(char out[PROXY_HEADER_MAX], const struct addr *client, const struct addr *local) {
    struct in6_addr ip[2];
    char text[2][INET6_ADDRSTRLEN];
    int family = common_family(client, local, ip);
    if (family == AF_UNSPEC) return (size_t)snprintf(out, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");
    for (int i = 0; i < 2; i++) inet_ntop(family, ip_bytes(&ip[i], family), text[i], sizeof text[i]);
    return (size_t)snprintf(out, PROXY_HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n", family == AF_INET ? '4' : '6',
                            text[0], text[1], (unsigned)addr_port(client), (unsigned)addr_port(local));
}

size_t proxy_print_v2(char out[PROXY_HEADER_MAX], const struct addr *client, const struct addr *local) {
    struct in6_addr ip[2];
    int family = common_family(client, local, ip);
    size_t each = family == AF_UNSPEC ? 0 : family == AF_INET ? 4 : 16;
    uint16_t len = family == AF_UNSPEC ? 0 : (uint16_t)(2 * each + 4);
    uint16_t ports[2] = {htons(addr_port(client)), htons(addr_port(local))};
    const uint8_t head[] = {
        family == AF_UNSPEC ? V2_LOCAL : V2_PROXY,
        family == AF_UNSPEC ? 0
        : family == AF_INET ? V2_TCP4
                            : V2_TCP6,
        0,
        (uint8_t)len,
    };
    memcpy(out, v2_signature.p, v2_signature.n);
    memcpy(out + v2_signature.n, head, sizeof head);
    if (len == 0) return V2_HEAD;
    for (size_t i = 0; i < 2; i++) memcpy(out + V2_HEAD + i * each, ip_bytes(&ip[i], family), each);
    memcpy(out + V2_HEAD + 2 * each, ports, sizeof ports);
    return (size_t)V2_HEAD + len;
}
