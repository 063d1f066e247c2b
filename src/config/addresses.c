/* addresses.c: addresses and networks of the configuration language, from text and back. */
#include "loomgate/base/macros.h"
#include "loomgate/config/values.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>

#define SHOWN(s) (int)((s).n < 60 ? (s).n : 60), (s).p

static const char address_hint[] =
    "write it like 127.0.0.1:80, \"[::1]:80\", \"*:80\", localhost:80 or unix:/run/app.sock";

/* --- addresses -------------------------------------------------------------------------------------------------- */

/* RFC 1123 2.1: letters, digits and hyphens, labels of 1 to 63; underscores because they are used. */
static bool is_host_name(struct slice s) {
    if (s.n == 0 || s.n > 253) return false;
    struct slice label;
    while (slice_split(&s, '.', &label)) {
        if (label.n == 0 && s.p == NULL) break; /* a final dot */
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-') return false;
        for (size_t i = 0; i < label.n; i++) {
            char low = ascii_lower(label.p[i]);
            if (!((low >= 'a' && low <= 'z') || (low >= '0' && low <= '9') || low == '-' || low == '_')) return false;
        }
    }
    return true;
}

static bool looks_like_ipv4(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9')) return false;
    return true;
}

static bool is_ip(int family, struct slice s) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ip;
    if (s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return strlen(text) == s.n && inet_pton(family, text, &ip) == 1;
}

/* fe80::1%eth0: the scope is an interface's name or number. */
static bool is_ipv6(struct slice s) {
    size_t percent = slice_find(s, '%');
    if (percent < s.n && (percent + 1 == s.n || s.n - percent > 16)) return false;
    for (size_t i = percent; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == ']' || s.p[i] == '/' || s.p[i] >= 0x7f) return false;
    return is_ip(AF_INET6, slice_from(s.p, percent));
}

static bool parse_unix(struct slice s, struct arena *a, struct address_setting *out, struct complaint *c) {
    struct slice path = slice_from(s.p + 5, s.n - 5);
    if (path.n == 0 || memchr(path.p, '\0', path.n)) return complain(c, address_hint, "'unix:' needs a path");
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    if (path.n > room)
        return complain(c, NULL, "the path of a UNIX socket is %zu bytes long; the system allows %zu", path.n, room);
    out->kind = ADDRESS_UNIX;
    out->host = arena_strndup(a, path.p, path.n);
    return true;
}

/* Splits HOST:PORT at the colon; brackets come off. */
static bool split_address(struct slice s, struct slice *host, struct slice *port, struct complaint *c) {
    size_t colon;
    bool is_bracketed = s.n && s.p[0] == '[';
    if (is_bracketed) {
        size_t close = slice_find(s, ']');
        if (close == s.n) return complain(c, address_hint, "'%.*s' has no ']'", SHOWN(s));
        *host = slice_from(s.p + 1, close - 1);
        colon = close + 1;
    } else {
        colon = slice_find(s, ':');
        *host = slice_from(s.p, colon);
    }
    if (!is_bracketed && is_ipv6(s))
        return complain(c, "an IPv6 address stands in brackets, with a port behind: \"[::1]:80\"",
                        "'%.*s' has no brackets and no port", SHOWN(s));
    if (colon >= s.n || s.p[colon] != ':') return complain(c, address_hint, "the address '%.*s' has no port", SHOWN(s));
    *port = slice_from(s.p + colon + 1, s.n - colon - 1);
    return true;
}

static bool parse_host(struct slice host, bool is_bracketed, struct address_setting *out) {
    if (is_bracketed) return out->kind = ADDRESS_IP, is_ipv6(host);
    if (host.n == 0 || slice_is(host, "*")) return out->kind = ADDRESS_ANY, true;
    if (looks_like_ipv4(host)) return out->kind = ADDRESS_IP, is_ip(AF_INET, host);
    return out->kind = ADDRESS_NAME, is_host_name(host);
}

bool address_parse(struct slice s, bool listens, struct arena *a, struct address_setting *out, struct complaint *c) {
    struct slice host = {NULL, 0}, port = host;
    uint64_t number;
    *out = (struct address_setting){.text = arena_strndup(a, s.p, s.n)};
    if (slice_has_prefix(s, SLICE("unix:"))) return parse_unix(s, a, out, c);
    if (s.n > 300) return complain(c, address_hint, "an address of %zu characters", s.n);
    if (!split_address(s, &host, &port, c)) return false;
    if (!parse_host(host, s.p[0] == '[', out))
        return complain(c, address_hint, "'%.*s' is neither an IP address nor a name", SHOWN(host));
    if (!slice_to_u64(port, UINT16_MAX, &number))
        return complain(c, "ports are 1 to 65535", "'%.*s' is not a port", SHOWN(port));
    if (number == 0 && !listens) return complain(c, "ports are 1 to 65535", "nobody can connect to port 0");
    if (out->kind == ADDRESS_ANY && !listens)
        return complain(c, "write the server's address, such as 127.0.0.1:80", "'%.*s' names no host", SHOWN(s));
    out->port = (uint16_t)number;
    if (out->kind != ADDRESS_ANY) out->host = arena_strndup(a, host.p, host.n);
    return true;
}

size_t address_key(const struct address_setting *address, char out[ADDRESS_KEY_MAX]) {
    char ip[INET6_ADDRSTRLEN] = "*";
    struct in6_addr bytes;
    const char *host = address->host ? address->host : ip;
    if (address->kind == ADDRESS_IP && inet_pton(AF_INET6, host, &bytes) == 1)
        host = inet_ntop(AF_INET6, &bytes, ip, sizeof ip);
    int n = snprintf(out, ADDRESS_KEY_MAX, "%s %u", host, address->port);
    if (address->kind == ADDRESS_NAME)
        for (char *p = out; *p; p++) *p = ascii_lower(*p);
    return n < ADDRESS_KEY_MAX ? (size_t)n : ADDRESS_KEY_MAX - 1;
}

/* --- networks --------------------------------------------------------------------------------------------------- */

static bool parse_network_ip(struct slice s, struct cidr *out, unsigned *first_bit) {
    char text[INET6_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof text) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    if (strlen(text) != s.n) return false;
    *first_bit = 0;
    if (inet_pton(AF_INET6, text, &out->ip) == 1) return true;
    *first_bit = 96;
    memset(&out->ip, 0, sizeof out->ip);
    out->ip.s6_addr[10] = out->ip.s6_addr[11] = 0xff;
    return inet_pton(AF_INET, text, &out->ip.s6_addr[12]) == 1;
}

/* Clears what is beyond the prefix; true when there was nothing. */
static bool clear_host_bits(struct cidr *net) {
    bool was_clear = true;
    for (unsigned bit = net->bits; bit < 128; bit++) {
        unsigned char mask = (unsigned char)(0x80U >> (bit % 8));
        if (!(net->ip.s6_addr[bit / 8] & mask)) continue;
        net->ip.s6_addr[bit / 8] = (unsigned char)(net->ip.s6_addr[bit / 8] & ~mask);
        was_clear = false;
    }
    return was_clear;
}

bool cidr_parse(struct slice s, struct cidr *out, struct complaint *c) {
    static const char hint[] = "write it like 10.0.0.0/8, 192.0.2.7 or \"2001:db8::/32\"";
    size_t slash = slice_find(s, '/');
    unsigned first_bit;
    if (!parse_network_ip(slice_from(s.p, slash), out, &first_bit))
        return complain(c, hint, "'%.*s' is not a network", SHOWN(s));
    uint64_t bits = 128 - first_bit;
    if (slash < s.n && !slice_to_u64(slice_from(s.p + slash + 1, s.n - slash - 1), 128 - first_bit, &bits))
        return complain(c, hint, "the prefix of '%.*s' is not a number from 0 to %u", SHOWN(s), 128 - first_bit);
    out->bits = (uint8_t)(bits + first_bit);
    if (clear_host_bits(out)) return true;
    char right[VALUE_TEXT_MAX], advice[VALUE_TEXT_MAX + 32];
    cidr_print(out, right);
    snprintf(advice, sizeof advice, "the network is %s", right);
    return complain(c, advice, "'%.*s' has bits set beyond its prefix", SHOWN(s));
}

void cidr_print(const struct cidr *net, char out[VALUE_TEXT_MAX]) {
    char ip[INET6_ADDRSTRLEN];
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    bool is_v4 = net->bits >= 96 && memcmp(net->ip.s6_addr, mapped, sizeof mapped) == 0;
    if (is_v4)
        inet_ntop(AF_INET, &net->ip.s6_addr[12], ip, sizeof ip);
    else
        inet_ntop(AF_INET6, &net->ip, ip, sizeof ip);
    snprintf(out, VALUE_TEXT_MAX, "%s/%u", ip, is_v4 ? net->bits - 96U : net->bits);
}
