/* message.c: methods, statuses and copies of one HTTP head. */
#include "loomgate/http/message.h"

#include "loomgate/base/macros.h"

static const struct {
    struct slice name;
    bool idempotent;
} methods[METHOD_COUNT] = {
    [METHOD_OTHER] = {{"", 0}, false},          [METHOD_GET] = {{"GET", 3}, true},
    [METHOD_HEAD] = {{"HEAD", 4}, true},        [METHOD_POST] = {{"POST", 4}, false},
    [METHOD_PUT] = {{"PUT", 3}, true},          [METHOD_DELETE] = {{"DELETE", 6}, true},
    [METHOD_CONNECT] = {{"CONNECT", 7}, false}, [METHOD_OPTIONS] = {{"OPTIONS", 7}, true},
    [METHOD_TRACE] = {{"TRACE", 5}, true},      [METHOD_PATCH] = {{"PATCH", 5}, false},
};

enum method method_find(struct slice name) {
    for (int m = METHOD_OTHER + 1; m < METHOD_COUNT; m++)
        if (slice_eq(methods[m].name, name)) return (enum method)m;
    return METHOD_OTHER;
}

bool method_is_idempotent(enum method m) {
    LG_ASSERT((unsigned)m < METHOD_COUNT);
    return methods[m].idempotent;
}

#define STATUS_TABLE(X)                       \
    X(100, "Continue")                        \
    X(101, "Switching Protocols")             \
    X(102, "Processing")                      \
    X(103, "Early Hints")                     \
    X(200, "OK")                              \
    X(201, "Created")                         \
    X(202, "Accepted")                        \
    X(203, "Non-Authoritative Information")   \
    X(204, "No Content")                      \
    X(205, "Reset Content")                   \
    X(206, "Partial Content")                 \
    X(207, "Multi-Status")                    \
    X(208, "Already Reported")                \
    X(226, "IM Used")                         \
    X(300, "Multiple Choices")                \
    X(301, "Moved Permanently")               \
    X(302, "Found")                           \
    X(303, "See Other")                       \
    X(304, "Not Modified")                    \
    X(305, "Use Proxy")                       \
    X(307, "Temporary Redirect")              \
    X(308, "Permanent Redirect")              \
    X(400, "Bad Request")                     \
    X(401, "Unauthorized")                    \
    X(402, "Payment Required")                \
    X(403, "Forbidden")                       \
    X(404, "Not Found")                       \
    X(405, "Method Not Allowed")              \
    X(406, "Not Acceptable")                  \
    X(407, "Proxy Authentication Required")   \
    X(408, "Request Timeout")                 \
    X(409, "Conflict")                        \
    X(410, "Gone")                            \
    X(411, "Length Required")                 \
    X(412, "Precondition Failed")             \
    X(413, "Content Too Large")               \
    X(414, "URI Too Long")                    \
    X(415, "Unsupported Media Type")          \
    X(416, "Range Not Satisfiable")           \
    X(417, "Expectation Failed")              \
    X(418, "I'm a teapot")                    \
    X(421, "Misdirected Request")             \
    X(422, "Unprocessable Content")           \
    X(423, "Locked")                          \
    X(424, "Failed Dependency")               \
    X(425, "Too Early")                       \
    X(426, "Upgrade Required")                \
    X(428, "Precondition Required")           \
    X(429, "Too Many Requests")               \
    X(431, "Request Header Fields Too Large") \
    X(451, "Unavailable For Legal Reasons")   \
    X(500, "Internal Server Error")           \
    X(501, "Not Implemented")                 \
    X(502, "Bad Gateway")                     \
    X(503, "Service Unavailable")             \
    X(504, "Gateway Timeout")                 \
    X(505, "HTTP Version Not Supported")      \
    X(506, "Variant Also Negotiates")         \
    X(507, "Insufficient Storage")            \
    X(508, "Loop Detected")                   \
    X(511, "Network Authentication Required")

struct slice status_reason(unsigned status) {
    switch (status) {
#define X(code, text) \
    case code:        \
        return SLICE(text);
        STATUS_TABLE(X)
#undef X
    default:
        return SLICE("");
    }
}

/* Where bytes of a head have gone to. */
struct move {
    const char *from, *to;
    size_t n;
};

static bool moves(const struct move *m, struct slice s) {
    size_t at = (uintptr_t)s.p - (uintptr_t)m->from; /* huge in front of it */
    return at <= m->n && s.n <= m->n - at;
}

static void rebase(const struct move *m, struct slice *s) {
    if (moves(m, *s)) s->p = m->to + (s->p - m->from);
}

static struct slice slice_copy(struct slice s, struct arena *arena) {
    return slice_from(arena_strndup(arena, s.p, s.n), s.n);
}

static void fields_copy(struct fields *f, const struct move *m, struct arena *arena, unsigned spare) {
    const struct field *from = f->v;
    f->room = f->count + spare;
    f->v = arena_alloc(arena, f->room * sizeof *f->v);
    for (uint32_t i = 0; i < f->count; i++) {
        f->v[i] = from[i];
        rebase(m, &f->v[i].name);
        rebase(m, &f->v[i].value);
    }
}

void message_copy(struct message *to, const struct message *from, struct arena *arena, unsigned spare) {
    *to = *from;
    to->raw = slice_copy(from->raw, arena);
    struct move raw = {from->raw.p, to->raw.p, from->raw.n};
    struct slice *const parts[] = {&to->method_name, &to->target, &to->host,   &to->uri,
                                   &to->path,        &to->query,  &to->reason, &to->upgrade_to};
    for (size_t i = 0; i < LG_COUNT(parts); i++) rebase(&raw, parts[i]);
    if (from->uri.p && !moves(&raw, from->uri)) { /* put together by the codec: not in the head, and not for long */
        to->uri = slice_copy(from->uri, arena);
        struct move uri = {from->uri.p, to->uri.p, from->uri.n};
        rebase(&uri, &to->path);
        rebase(&uri, &to->query);
    }
    fields_copy(&to->fields, &raw, arena, spare);
}
