/* addr.c: socket addresses: made from settings, printed, compared, matched against networks. */
#include "loomgate/net/addr.h"

#include "loomgate/base/mem.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stddef.h>
#include <stdlib.h>

enum { UNIX_PATH_AT = offsetof(struct sockaddr_un, sun_path) };

static bool resolve_unix(struct addr *a, const char *path, struct error *e) {
    size_t len = path ? strlen(path) : 0;
    if (len == 0) return error_set(e, "the path of a UNIX socket is empty");
    if (len >= sizeof a->u.un.sun_path)
        return error_set(e, "the path of a UNIX socket may have %zu bytes, this one has %zu: %s",
                         sizeof a->u.un.sun_path - 1, len, path);
    a->u.un.sun_family = AF_UNIX;
    memcpy(a->u.un.sun_path, path, len + 1);
    a->len = (socklen_t)(UNIX_PATH_AT + len + 1);
    return true;
}

static void set_port(struct addr *a, uint16_t port) {
    if (a->u.sa.sa_family == AF_INET6)
        a->u.in6.sin6_port = htons(port);
    else
        a->u.in.sin_port = htons(port);
}

static bool resolve_name(struct addr *a, const struct address_setting *s, struct error *e) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (s->kind == ADDRESS_IP) hints.ai_flags = AI_NUMERICHOST;
    int failed = getaddrinfo(s->host, NULL, &hints, &found);
    if (failed == EAI_SYSTEM) return error_set_errno(e, "cannot resolve '%s'", s->host);
    if (failed) return error_set(e, "cannot resolve '%s': %s", s->host, gai_strerror(failed));
    bool fits = found && found->ai_addrlen <= sizeof a->u;
    if (fits) {
        memcpy(&a->u, found->ai_addr, found->ai_addrlen);
        a->len = found->ai_addrlen;
        set_port(a, s->port);
    }
    freeaddrinfo(found);
    return fits || error_set(e, "cannot resolve '%s': it has no IP address", s->host);
}

bool addr_resolve(struct addr *a, const struct address_setting *s, struct error *e) {
    *a = (struct addr){0};
    switch (s->kind) {
    case ADDRESS_UNIX:
        return resolve_unix(a, s->host, e);
    case ADDRESS_ANY:
        a->len = sizeof a->u.in6;
        a->u.in6.sin6_family = AF_INET6;
        a->u.in6.sin6_addr = in6addr_any;
        set_port(a, s->port);
        return true;
    case ADDRESS_IP:
    case ADDRESS_NAME:
        break;
    }
    return resolve_name(a, s, e);
}

/* AF_UNSPEC for what is unknown or too short to be what it says. */
static int family(const struct addr *a) {
    if (a->len < sizeof a->u.sa.sa_family) return AF_UNSPEC;
    switch (a->u.sa.sa_family) {
    case AF_INET:
        return a->len >= sizeof a->u.in ? AF_INET : AF_UNSPEC;
    case AF_INET6:
        return a->len >= sizeof a->u.in6 ? AF_INET6 : AF_UNSPEC;
    case AF_UNIX:
        return AF_UNIX;
    default:
        return AF_UNSPEC;
    }
}

bool addr_is_unix(const struct addr *a) {
    return family(a) == AF_UNIX;
}

uint16_t addr_port(const struct addr *a) {
    switch (family(a)) {
    case AF_INET:
        return ntohs(a->u.in.sin_port);
    case AF_INET6:
        return ntohs(a->u.in6.sin6_port);
    default:
        return 0;
    }
}

bool addr_ip6(const struct addr *a, struct in6_addr *out) {
    switch (family(a)) {
    case AF_INET:
        *out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
        memcpy(&out->s6_addr[12], &a->u.in.sin_addr, 4);
        return true;
    case AF_INET6:
        *out = a->u.in6.sin6_addr;
        return true;
    default:
        return false;
    }
}

/* The bytes of the path, without the NUL that may or may not be counted in the length. */
static struct slice unix_path(const struct addr *a) {
    size_t n = a->len > UNIX_PATH_AT ? a->len - UNIX_PATH_AT : 0;
    if (n > sizeof a->u.un.sun_path) n = sizeof a->u.un.sun_path;
    return slice_from(a->u.un.sun_path, strnlen(a->u.un.sun_path, n));
}

static char *put(char *at, struct slice s) {
    memcpy(at, s.p, s.n);
    return at + s.n;
}

static char *put_number(char *at, unsigned value) {
    char digits[5], *p = digits + sizeof digits;
    do *--p = (char)('0' + value % 10);
    while (value /= 10);
    return put(at, slice_from(p, (size_t)(digits + sizeof digits - p)));
}

/* By hand: this runs for each access record and each X-Forwarded-For, and inet_ntop goes through printf. */
static char *put_ip4(char *at, const uint8_t ip[4]) {
    for (int i = 0; i < 4; i++) {
        if (i) *at++ = '.';
        at = put_number(at, ip[i]);
    }
    return at;
}

/* NULL when the address has no IP; *is6: it was written as IPv6. */
static char *put_ip(char *at, const struct addr *a, bool *is6) {
    struct in6_addr ip;
    if (!addr_ip6(a, &ip)) return NULL;
    *is6 = !IN6_IS_ADDR_V4MAPPED(&ip);
    if (!*is6) return put_ip4(at, &ip.s6_addr[12]);
    inet_ntop(AF_INET6, &ip, at, INET6_ADDRSTRLEN);
    return at + strlen(at);
}

static size_t finish(char *out, char *at) {
    *at = '\0';
    return (size_t)(at - out);
}

size_t addr_print(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    if (addr_is_unix(a)) return finish(out, put(put(out, SLICE("unix:")), unix_path(a)));
    bool is6;
    char *end = put_ip(out + 1, a, &is6); /* one in: room for the bracket */
    if (!end) return finish(out, put(out, SLICE("unknown")));
    if (is6) {
        out[0] = '[';
        *end++ = ']';
    } else {
        memmove(out, out + 1, (size_t)(--end - out));
    }
    *end++ = ':';
    return finish(out, put_number(end, addr_port(a)));
}

size_t addr_print_ip(const struct addr *a, char out[ADDR_TEXT_MAX]) {
    bool is6;
    char *end = put_ip(out, a, &is6);
    if (!end) end = put(out, addr_is_unix(a) ? SLICE("unix") : SLICE("unknown"));
    return finish(out, end);
}

static bool cidr_has(const struct cidr *net, const struct in6_addr *ip) {
    unsigned bytes = net->bits / 8U, bits = net->bits % 8U;
    if (memcmp(net->ip.s6_addr, ip->s6_addr, bytes) != 0) return false;
    if (bits == 0) return true;
    unsigned mask = 0xff00U >> bits & 0xffU;
    return ((net->ip.s6_addr[bytes] ^ ip->s6_addr[bytes]) & mask) == 0;
}

bool cidr_list_has(const struct cidr_list *list, const struct addr *a) {
    struct in6_addr ip;
    if (list->count == 0 || !addr_ip6(a, &ip)) return false;
    bool is4 = IN6_IS_ADDR_V4MAPPED(&ip);
    for (uint32_t i = 0; i < list->count; i++) {
        /* "::/0" means every IPv6 address: an IPv4 one is only in networks that are IPv4 themselves. */
        if (is4 && list->v[i].bits < 96) continue;
        if (cidr_has(&list->v[i], &ip)) return true;
    }
    return false;
}

bool addr_eq(const struct addr *a, const struct addr *b) {
    struct in6_addr ip_a, ip_b;
    if (addr_ip6(a, &ip_a) && addr_ip6(b, &ip_b)) {
        uint32_t scope_a = family(a) == AF_INET6 ? a->u.in6.sin6_scope_id : 0;
        uint32_t scope_b = family(b) == AF_INET6 ? b->u.in6.sin6_scope_id : 0;
        return IN6_ARE_ADDR_EQUAL(&ip_a, &ip_b) && addr_port(a) == addr_port(b) && scope_a == scope_b;
    }
    if (family(a) != family(b)) return false;
    return !addr_is_unix(a) || slice_eq(unix_path(a), unix_path(b));
}

/* --- kept ------------------------------------------------------------------------------------------------------- */

static struct addr *copy_of(const struct addr *a) {
    struct addr *copy = xmalloc(sizeof *copy);
    *copy = *a;
    return copy;
}

void addr_keep(struct addr_kept *k, const struct addr *a) {
    *k = (struct addr_kept){.family = (sa_family_t)family(a)};
    switch (k->family) {
    case AF_INET:
        k->port = a->u.in.sin_port;
        k->u.ip4 = a->u.in.sin_addr;
        break;
    case AF_INET6:
        k->port = a->u.in6.sin6_port;
        k->scope = a->u.in6.sin6_scope_id;
        k->u.ip6 = a->u.in6.sin6_addr;
        break;
    case AF_UNIX:
        k->u.path = unix_path(a).n ? copy_of(a) : NULL;
        break;
    default:
        break;
    }
}

void addr_recall(const struct addr_kept *k, struct addr *out) {
    switch (k->family) {
    case AF_INET:
        out->len = sizeof out->u.in;
        out->u.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = k->port, .sin_addr = k->u.ip4};
        break;
    case AF_INET6:
        out->len = sizeof out->u.in6;
        out->u.in6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = k->port, .sin6_scope_id = k->scope, .sin6_addr = k->u.ip6};
        break;
    case AF_UNIX:
        if (k->u.path)
            *out = *k->u.path;
        else
            *out = (struct addr){.len = UNIX_PATH_AT, .u.sa.sa_family = AF_UNIX};
        break;
    default:
        *out = (struct addr){0};
        break;
    }
}

void addr_forget(struct addr_kept *k) {
    if (k->family == AF_UNIX) free(k->u.path);
    *k = (struct addr_kept){0};
}
