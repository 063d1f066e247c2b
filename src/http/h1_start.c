/* h1_start.c: request and status lines, request targets and authorities (RFC 9112 sections 3 and 4). */
#include "h1_internal.h"

#include "loomgate/base/macros.h"

#include <arpa/inet.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
    char low = ascii_lower(c);
    return is_digit(c) || (low >= 'a' && low <= 'f');
}

/* Exactly "HTTP/1.0" or "HTTP/1.1"; bad_version for what is a version and another one. */
static enum failure parse_version(struct slice s, uint8_t *minor) {
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) || s.p[6] != '.' || !is_digit(s.p[7]))
        return FAILURE_bad_request_line;
    if (s.p[5] != '1' || s.p[7] > '1') return FAILURE_bad_version;
    *minor = (uint8_t)(s.p[7] - '0');
    return FAILURE_NONE;
}

/* RFC 3986 section 3.2.2: unreserved and sub-delims. */
static const bool reg_name_chars[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['.'] = true,  ['_'] = true,
    ['~'] = true,         ['!'] = true,         ['$'] = true,         ['&'] = true, ['\''] = true, ['('] = true,
    [')'] = true,         ['*'] = true,         ['+'] = true,         [','] = true, [';'] = true,  ['='] = true,
};

static bool is_reg_name(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (reg_name_chars[(unsigned char)s.p[i]]) continue;
        if (s.p[i] != '%' || s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2])) return false;
        i += 2;
    }
    return s.n > 0;
}

static bool is_ipv6(struct slice s) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    if (s.n >= sizeof text || memchr(s.p, '\0', s.n)) return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &ignored) == 1;
}

/* "" or ":" and a number; the number may be missing (RFC 3986 section 3.2.3). */
static bool is_port(struct slice s) {
    uint64_t port;
    if (s.n <= 1) return s.n == 0 || s.p[0] == ':';
    return s.p[0] == ':' && slice_to_u64(slice_from(s.p + 1, s.n - 1), UINT16_MAX, &port);
}

bool h1_authority_is_valid(struct slice s) {
    if (s.n == 0) return false;
    if (s.p[0] == '[') {
        size_t close = slice_find(s, ']');
        return close < s.n && is_ipv6(slice_from(s.p + 1, close - 1)) &&
               is_port(slice_from(s.p + close + 1, s.n - close - 1));
    }
    size_t colon = slice_find(s, ':');
    return is_reg_name(slice_from(s.p, colon)) && is_port(slice_from(s.p + colon, s.n - colon));
}

/* Visible ASCII without "#". */
static const bool target_chars[256] = {['!'] = true, ['"'] = true, ['$' ... '~'] = true};

static bool target_chars_are_valid(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (!target_chars[(unsigned char)s.p[i]]) return false;
    return s.n > 0;
}

static void set_uri(struct message *m, struct slice uri) {
    size_t at = slice_find(uri, '?');
    m->uri = uri;
    m->path = slice_from(uri.p, at);
    m->has_query = at < uri.n;
    m->query = m->has_query ? slice_from(uri.p + at + 1, uri.n - at - 1) : slice_from(uri.p + at, 0);
}

/* What remains of an absolute target behind its authority (RFC 9112 section 3.2.1 and 3.2.4 for the empty path). */
static enum failure set_absolute_uri(struct message *m, struct slice rest, char *room, size_t room_bytes) {
    if (rest.n == 0) {
        set_uri(m, m->method == METHOD_OPTIONS ? SLICE("*") : SLICE("/"));
    } else if (rest.p[0] == '/') {
        set_uri(m, rest);
    } else {
        if (rest.n + 1 > room_bytes) return FAILURE_uri_too_long;
        room[0] = '/';
        memcpy(room + 1, rest.p, rest.n);
        set_uri(m, slice_from(room, rest.n + 1));
    }
    return FAILURE_NONE;
}

static struct slice skip_scheme(struct slice target) {
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < LG_COUNT(schemes); i++) {
        size_t n = schemes[i].n;
        if (target.n >= n && slice_eq_nocase(slice_from(target.p, n), schemes[i]))
            return slice_from(target.p + n, target.n - n);
    }
    return slice_from(NULL, 0);
}

static enum failure parse_target(struct message *m, char *room, size_t room_bytes) {
    struct slice t = m->target;
    if (!target_chars_are_valid(t)) return FAILURE_bad_target;
    if (t.p[0] == '/') return set_uri(m, t), FAILURE_NONE;
    if (slice_is(t, "*")) return set_uri(m, t), m->method == METHOD_OPTIONS ? FAILURE_NONE : FAILURE_bad_target;
    struct slice rest = skip_scheme(t);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?') n++;
    m->host = slice_from(rest.p, n);
    if (!h1_authority_is_valid(m->host)) return FAILURE_bad_target;
    return set_absolute_uri(m, slice_from(rest.p + n, rest.n - n), room, room_bytes);
}

enum failure h1_parse_request_line(struct message *m, struct slice line, uint32_t uri_bytes, char *room,
                                   size_t room_bytes) {
    *m = (struct message){0};
    if (!slice_split(&line, ' ', &m->method_name) || m->method_name.n > H1_METHOD_MAX ||
        !slice_is_token(m->method_name))
        return FAILURE_bad_request_line;
    if (!slice_split(&line, ' ', &m->target) || !line.p) return FAILURE_bad_request_line;
    if (m->target.n > uri_bytes) return FAILURE_uri_too_long;
    enum failure failure = parse_version(line, &m->minor);
    if (failure != FAILURE_NONE) return failure;
    m->method = (uint8_t)method_find(m->method_name);
    if (m->method == METHOD_CONNECT) return FAILURE_method_refused;
    return parse_target(m, room, room_bytes);
}

enum failure h1_parse_status_line(struct message *m, struct slice line) {
    enum { STATUS_AT = 9, REASON_AT = 13 }; /* HTTP/1.1 200 OK */
    uint64_t number;
    *m = (struct message){0};
    if (line.n < REASON_AT - 1 || line.p[STATUS_AT - 1] != ' ') return FAILURE_bad_response;
    if (parse_version(slice_from(line.p, STATUS_AT - 1), &m->minor) != FAILURE_NONE) return FAILURE_bad_response;
    if (!slice_to_u64(slice_from(line.p + STATUS_AT, 3), 599, &number) || number < 100) return FAILURE_bad_response;
    m->status = (uint16_t)number;
    /* Many a server leaves the space before an empty reason out. */
    m->reason = slice_from(line.p + line.n, 0);
    if (line.n >= REASON_AT) m->reason = slice_from(line.p + REASON_AT, line.n - REASON_AT);
    return line.n < REASON_AT || line.p[REASON_AT - 1] == ' ' ? FAILURE_NONE : FAILURE_bad_response;
}
