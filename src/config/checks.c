/* checks.c: what texts of the configuration must look like: field names, hosts, paths, templates, lists of codes. */
#include "checks_internal.h"
#include "schema_internal.h"

#include <sys/un.h>

static bool is_alnum(char c) {
    char low = ascii_lower(c);
    return (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9');
}

/* RFC 9110 5.6.2 */
static bool is_token(struct slice s) {
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", s.p[i]))) return false;
    return s.n > 0 && s.n <= 256;
}

bool check_token(struct slice s, struct complaint *c) {
    return is_token(s) || complain(c, "names are letters, digits and - _ . and such", "'%.*s' is not a name of a field",
                                   shown_len(s), s.p);
}

bool check_method(struct slice s, struct complaint *c) {
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"};
    if (!is_token(s)) return complain(c, "write GET, POST, ...", "'%.*s' is not a method", shown_len(s), s.p);
    for (size_t i = 0; i < LG_COUNT(known); i++)
        if (slice_eq_nocase(s, slice_of(known[i])) && !slice_is(s, known[i]))
            return complain(c, NULL, "methods know large and small letters: write %s", known[i]);
    return true;
}

bool check_probe_method(struct slice s, struct complaint *c) {
    if (!check_method(s, c)) return false;
    return !slice_is(s, "CONNECT") || complain(c, "write GET, HEAD or OPTIONS", "a check cannot be a tunnel (CONNECT)");
}

bool check_probe_bytes(struct slice s, struct complaint *c) {
    enum { PROBE_MAX = 4096 };
    return s.n <= PROBE_MAX || complain(c, NULL, "a text of %zu bytes; at most %d are allowed", s.n, PROBE_MAX);
}

bool check_response_header(struct slice s, struct complaint *c) {
    static const char *const ours[] = {
        "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Host",
        "Date",           "Upgrade",           "Trailer",    "TE",         "Proxy-Connection"};
    if (!check_token(s, c)) return false;
    for (size_t i = 0; i < LG_COUNT(ours); i++)
        if (slice_eq_nocase(s, slice_of(ours[i])))
            return complain(c, NULL, "'%s' is written by LoomGate itself", ours[i]);
    return true;
}

/* RFC 9110 5.5 */
bool check_field_value(struct slice s, struct complaint *c) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char byte = (unsigned char)s.p[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return complain(c, NULL, "a field's value has no line breaks and control characters");
    }
    if (slice_trim(s).n != s.n) return complain(c, NULL, "a field's value has no spaces around it");
    return true;
}

bool check_host(struct slice s, struct complaint *c) {
    static const char hint[] = "write example.com or \"*.example.com\", without scheme and port";
    struct slice name = s;
    if (slice_has_prefix(s, SLICE("*."))) name = slice_from(s.p + 2, s.n - 2);
    bool is_ipv6 = name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']' && name.n == s.n;
    bool ok = name.n > 0 && name.n <= 253 && name.p[0] != '.' && name.p[0] != '-';
    for (size_t i = is_ipv6; ok && i < name.n - is_ipv6; i++)
        ok = is_alnum(name.p[i]) || (name.p[i] && strchr(is_ipv6 ? ":." : "-_.", name.p[i]));
    return ok || complain(c, hint, "'%.*s' is not a host", shown_len(s), s.p);
}

bool check_authority(struct slice s, struct complaint *c) {
    uint64_t port = 1;
    size_t bracket = slice_find(s, ']');
    struct slice behind = bracket < s.n ? slice_from(s.p + bracket, s.n - bracket) : s;
    size_t port_at = s.n - behind.n + slice_find(behind, ':');
    bool ok = port_at == s.n || slice_to_u64(slice_from(s.p + port_at + 1, s.n - port_at - 1), 65535, &port);
    if (ok && port > 0 && s.n && s.p[0] != '*' && check_host(slice_from(s.p, port_at), c)) return true;
    return complain(c, "write example.com, example.com:8080 or \"[::1]:8080\"", "'%.*s' is not what a Host field says",
                    shown_len(s), s.p);
}

/* What may stand in a request's line; `ends` are the characters that end what is meant. */
static bool check_path_until(struct slice s, const char *ends, const char *hint, struct complaint *c) {
    if (s.n == 0 || s.p[0] != '/')
        return complain(c, "a path begins with /", "'%.*s' is not a path", shown_len(s), s.p);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char byte = (unsigned char)s.p[i];
        if (byte && strchr(ends, byte)) return complain(c, hint, "a path ends before '%c'", (char)byte);
        if (byte <= ' ' || byte >= 0x7f)
            return complain(c, "write such characters as %XX, as clients send them",
                            "a path has no spaces, controls and letters beyond ASCII");
    }
    return true;
}

bool check_path(struct slice s, struct complaint *c) {
    return check_path_until(s, "?#", "match.query looks at the query", c);
}

bool check_target(struct slice s, struct complaint *c) {
    enum { TARGET_MAX = 2048 };
    if (s.n > TARGET_MAX) return complain(c, NULL, "a path of %zu bytes; at most %d are sent", s.n, TARGET_MAX);
    return check_path_until(s, "#", "what follows it is never sent", c);
}

bool check_template(struct slice s, struct complaint *c) {
    static const char *const names[] = {"scheme", "host", "port", "path", "query", "uri"};
    if (!check_field_value(s, c)) return false;
    if (slice_find(s, ' ') < s.n) return complain(c, "write a space as %20", "a URL has no spaces");
    for (size_t i = 0; i + 1 < s.n; i++) {
        if (s.p[i] != '%' || s.p[i + 1] != '{') continue;
        struct slice rest = slice_from(s.p + i + 2, s.n - i - 2);
        size_t close = slice_find(rest, '}');
        if (close == rest.n) return complain(c, NULL, "'%%{' has no '}'");
        struct slice name = slice_from(rest.p, close);
        bool is_known = false;
        for (size_t k = 0; k < LG_COUNT(names); k++) is_known = is_known || slice_is(name, names[k]);
        if (is_known) continue;
        complain(c, NULL, "'%%{%.*s}' is not known here", shown_len(name), name.p);
        hint_words(c->hint, sizeof c->hint, name, "known in %{...}:", names, LG_COUNT(names));
        return false;
    }
    return true;
}

bool check_absolute_path(struct slice s, struct complaint *c) {
    return (s.n && s.p[0] == '/') || complain(c, "write the whole path, from / on", "the path is not absolute");
}

bool check_file_mode(struct slice s, struct complaint *c) {
    bool ok = s.n >= 3 && s.n <= 4 && (s.n == 3 || s.p[0] == '0');
    for (size_t i = 0; ok && i < s.n; i++) ok = s.p[i] >= '0' && s.p[i] <= '7';
    return ok || complain(c, "write it in octal: \"0600\"", "'%.*s' is not a file's mode", shown_len(s), s.p);
}

bool check_socket_path(struct slice s, struct complaint *c) {
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path - 1;
    return s.n <= room ||
           complain(c, NULL, "the path of a UNIX socket is %zu bytes long; the system allows %zu", s.n, room);
}

bool check_hash_key(struct slice s, struct complaint *c) {
    static const char *const words[] = {"source", "host", "path", "uri"};
    static const char *const prefixes[] = {"header:", "cookie:", "query:"};
    for (size_t i = 0; i < LG_COUNT(words); i++)
        if (slice_is(s, words[i])) return true;
    for (size_t i = 0; i < LG_COUNT(prefixes); i++) {
        struct slice prefix = slice_of(prefixes[i]);
        if (slice_has_prefix(s, prefix)) return check_token(slice_from(s.p + prefix.n, s.n - prefix.n), c);
    }
    return complain(c, "allowed: source, host, path, uri, \"header:NAME\", \"cookie:NAME\", \"query:NAME\"",
                    "'%.*s' is not known here", shown_len(s), s.p);
}

bool check_load_bound(struct slice s, struct complaint *c) {
    size_t dot = slice_find(s, '.');
    uint64_t whole, part = 0;
    bool ok = slice_to_u64(slice_from(s.p, dot), 100, &whole) && whole >= 1;
    if (ok && dot < s.n) ok = slice_to_u64(slice_from(s.p + dot + 1, s.n - dot - 1), 999999, &part);
    return ok ||
           complain(c, "write a factor from 1 to 100, like 1.25", "'%.*s' is not such a factor", shown_len(s), s.p);
}
