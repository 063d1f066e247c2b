/* access_record.c: what is told of one finished exchange: a table of fields, rendered as JSON or text.
 *
 *   render with no limit ---fits---> done
 *        | too long
 *   render with nothing but an ellipsis for each long string: what is left is the spare room
 *        |
 *   render with the spare room shared among the long strings */
#include "loomgate/proxy/access_record.h"

#include "loomgate/base/macros.h"

#include <stddef.h>

enum kind {
    KIND_TIME,
    KIND_NAME,  /* const char *; NULL: none */
    KIND_SLICE, /* empty: none */
    KIND_LONG,  /* the same, and may be cut */
    KIND_ADDR,
    KIND_NUMBER,
    KIND_MS,
    KIND_STATUS,
    KIND_CAUSE,
    KIND_BLAME,
    KIND_TRIES,
    KIND_BOOL
};

/* The fields in the order of the JSON record: name, kind, member, and for KIND_LONG the share of the spare room, in
 * eighths of what those before it left. */
#define FIELDS(X)                               \
    X(time, KIND_TIME, unix_us, 0)              \
    X(id, KIND_SLICE, id, 0)                    \
    X(frontend, KIND_NAME, frontend, 0)         \
    X(route, KIND_NAME, route, 0)               \
    X(backend, KIND_NAME, backend, 0)           \
    X(server, KIND_NAME, server, 0)             \
    X(client, KIND_ADDR, client, 0)             \
    X(method, KIND_LONG, method, 1)             \
    X(host, KIND_LONG, host, 2)                 \
    X(path, KIND_LONG, path, 7)                 \
    X(protocol, KIND_NAME, protocol, 0)         \
    X(status, KIND_STATUS, status, 0)           \
    X(cause, KIND_CAUSE, cause, 0)              \
    X(blame, KIND_BLAME, cause, 0)              \
    X(bytes_in, KIND_NUMBER, bytes_in, 0)       \
    X(bytes_out, KIND_NUMBER, bytes_out, 0)     \
    X(queue_ms, KIND_MS, queue_us, 0)           \
    X(connect_ms, KIND_MS, connect_us, 0)       \
    X(first_byte_ms, KIND_MS, first_byte_us, 0) \
    X(total_ms, KIND_MS, total_us, 0)           \
    X(tries, KIND_TRIES, try_count, 0)          \
    X(reused, KIND_BOOL, reused, 0)             \
    X(tls, KIND_SLICE, tls, 0)                  \
    X(traceparent, KIND_LONG, traceparent, 8)

enum field_index {
#define X(name, kind, member, share) AT_##name,
    FIELDS(X)
#undef X
        AT_COUNT
};

struct field_row {
    struct slice json; /* what stands before the value */
    enum kind kind;
    uint8_t share;
    uint16_t offset;
};

static const struct field_row rows[AT_COUNT] = {
#define X(name, kind, member, share) {SLICE(",\"" #name "\":"), kind, share, offsetof(struct access_record, member)},
    FIELDS(X)
#undef X
};

/* The text record: a field, and what stands before it. */
static const struct {
    struct slice before;
    enum field_index field;
} text_layout[] = {
    {SLICE(""), AT_time},
    {SLICE(" "), AT_id},
    {SLICE(" "), AT_client},
    {SLICE(" "), AT_frontend},
    {SLICE("/"), AT_route},
    {SLICE(" "), AT_backend},
    {SLICE("/"), AT_server},
    {SLICE(" \""), AT_method},
    {SLICE(" "), AT_host},
    {SLICE(" "), AT_path},
    {SLICE("\" "), AT_status},
    {SLICE(" "), AT_cause},
    {SLICE(" "), AT_blame},
    {SLICE(" in="), AT_bytes_in},
    {SLICE(" out="), AT_bytes_out},
    {SLICE(" queue="), AT_queue_ms},
    {SLICE(" connect="), AT_connect_ms},
    {SLICE(" first="), AT_first_byte_ms},
    {SLICE(" total="), AT_total_ms},
    {SLICE(" tries="), AT_tries},
    {SLICE(" reused="), AT_reused},
    {SLICE(" protocol="), AT_protocol},
    {SLICE(" tls="), AT_tls},
    {SLICE(" traceparent="), AT_traceparent},
};

/* --- writing ---------------------------------------------------------------------------------------------------- */

#define ELLIPSIS SLICE("\xe2\x80\xa6")
enum {
    UNIT_MAX = 16, /* no character is longer when it is escaped */
    UNLIMITED = -1
};

struct writer {
    char *at;
    const char *end;
    bool json;
    bool full;       /* something did not fit; what was written is of no use */
    ptrdiff_t spare; /* what the long strings may take beyond an ellipsis each, or UNLIMITED */
};

static void put(struct writer *w, struct slice s) {
    if (LG_UNLIKELY((size_t)(w->end - w->at) < s.n)) {
        w->full = true;
        return;
    }
    memcpy(w->at, s.p, s.n);
    w->at += s.n;
}

static char *escape(const struct writer *w, const char *end, struct slice s) {
    return w->json ? log_escape_json(w->at, end, s) : log_escape_text(w->at, end, s);
}

/* A character that does not fit is left out without a word: only with room for one more it is known that none was. */
static void put_escaped(struct writer *w, struct slice s) {
    w->at = escape(w, w->end, s);
    if (LG_UNLIKELY(w->end - w->at < UNIT_MAX)) w->full = true;
}

/* At most `limit` bytes, an ellipsis included when it is cut. */
static void put_cut(struct writer *w, struct slice s, ptrdiff_t limit) {
    if (w->end - w->at < limit + UNIT_MAX) {
        w->full = true;
        return;
    }
    char *whole_end = escape(w, w->at + limit + UNIT_MAX, s);
    if (whole_end - w->at <= limit) {
        w->at = whole_end;
        return;
    }
    w->at = escape(w, w->at + limit - (ptrdiff_t)ELLIPSIS.n, s);
    put(w, ELLIPSIS);
}

static void put_long(struct writer *w, struct slice s, unsigned eighths) {
    if (w->spare == UNLIMITED) {
        put_escaped(w, s);
        return;
    }
    const ptrdiff_t least = (ptrdiff_t)ELLIPSIS.n;
    const char *before = w->at;
    put_cut(w, s, least + w->spare * (ptrdiff_t)eighths / 8);
    if (w->at - before > least) w->spare -= w->at - before - least;
}

static void put_number(struct writer *w, uint64_t value) {
    char digits[20], *p = digits + sizeof digits;
    do *--p = (char)('0' + value % 10);
    while (value /= 10);
    put(w, slice_from(p, (size_t)(digits + sizeof digits - p)));
}

static void put_none(struct writer *w) {
    put(w, w->json ? SLICE("null") : SLICE("-"));
}

static void put_number_or_none(struct writer *w, uint64_t value) {
    if (value == ACCESS_NONE)
        put_none(w);
    else
        put_number(w, value);
}

static void put_ms(struct writer *w, uint64_t us) {
    if (us == ACCESS_NONE) {
        put_none(w);
        return;
    }
    unsigned rest = (unsigned)(us % 1000);
    const char fraction[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};
    put_number(w, us / 1000);
    put(w, slice_from(fraction, sizeof fraction));
}

static void put_quote(struct writer *w) {
    if (w->json) put(w, SLICE("\""));
}

/* `eighths` is 0 for what is never cut. */
static void put_string(struct writer *w, struct slice s, unsigned eighths) {
    if (s.n == 0) {
        put_none(w);
        return;
    }
    put_quote(w);
    if (eighths)
        put_long(w, s, eighths);
    else
        put_escaped(w, s);
    put_quote(w);
}

static void put_time(struct writer *w, uint64_t unix_us) {
    char text[24];
    log_time(text, unix_us);
    put_quote(w);
    put(w, slice_from(text, sizeof text));
    put_quote(w);
}

static void put_addr(struct writer *w, const struct addr *a) {
    char text[ADDR_TEXT_MAX];
    put_string(w, a && a->len ? slice_from(text, addr_print(a, text)) : (struct slice){NULL, 0}, 0);
}

static void put_bool(struct writer *w, bool value) {
    if (w->json)
        put(w, value ? SLICE("true") : SLICE("false"));
    else
        put(w, value ? SLICE("yes") : SLICE("no"));
}

static void put_tries(struct writer *w, const struct access_record *r) {
    unsigned count = r->try_count < ACCESS_TRIES_MAX ? r->try_count : ACCESS_TRIES_MAX;
    if (!w->json) {
        put_number(w, count);
        return;
    }
    put(w, SLICE("["));
    for (unsigned i = 0; i < count; i++) {
        const struct access_try *t = &r->tries[i];
        put(w, i ? SLICE(",{\"server\":") : SLICE("{\"server\":"));
        put_string(w, slice_of(t->server), 0);
        put(w, SLICE(",\"ms\":"));
        put_ms(w, t->total_us);
        put(w, SLICE(",\"cause\":"));
        put_string(w, slice_of(failure_get(t->cause)->name), 0);
        put(w, SLICE(",\"backoff_ms\":"));
        put_ms(w, t->backoff_us);
        put(w, SLICE("}"));
    }
    put(w, SLICE("]"));
}

/* --- fields ----------------------------------------------------------------------------------------------------- */

static void put_value(struct writer *w, const struct access_record *r, const struct field_row *row) {
    const void *at = (const char *)r + row->offset;
    switch (row->kind) {
    case KIND_TIME:
        put_time(w, *(const uint64_t *)at);
        break;
    case KIND_NAME:
        put_string(w, slice_of(*(const char *const *)at), 0);
        break;
    case KIND_SLICE:
    case KIND_LONG:
        put_string(w, *(const struct slice *)at, row->share);
        break;
    case KIND_ADDR:
        put_addr(w, *(const struct addr *const *)at);
        break;
    case KIND_NUMBER:
        put_number_or_none(w, *(const uint64_t *)at);
        break;
    case KIND_MS:
        put_ms(w, *(const uint64_t *)at);
        break;
    case KIND_STATUS:
        put_number_or_none(w, *(const unsigned *)at ? *(const unsigned *)at : ACCESS_NONE);
        break;
    case KIND_CAUSE:
        put_string(w, slice_of(failure_get(*(const enum failure *)at)->name), 0);
        break;
    case KIND_BLAME:
        put_string(w, slice_of(blame_name(failure_get(*(const enum failure *)at)->blame)), 0);
        break;
    case KIND_TRIES:
        put_tries(w, r);
        break;
    case KIND_BOOL:
        put_bool(w, *(const bool *)at);
        break;
    }
}

/* These two are left out when there is none of them. */
static bool is_left_out(const struct access_record *r, enum field_index field) {
    return (field == AT_tls && r->tls.n == 0) || (field == AT_traceparent && r->traceparent.n == 0);
}

static void put_json(struct writer *w, const struct access_record *r) {
    for (int i = 0; i < AT_COUNT; i++) {
        if (is_left_out(r, (enum field_index)i)) continue;
        struct slice before = rows[i].json;
        if (i == 0) {
            put(w, SLICE("{"));
            before = slice_from(before.p + 1, before.n - 1);
        }
        put(w, before);
        put_value(w, r, &rows[i]);
    }
    put(w, SLICE("}\n"));
}

static void put_text(struct writer *w, const struct access_record *r) {
    for (size_t i = 0; i < LG_COUNT(text_layout); i++) {
        if (is_left_out(r, text_layout[i].field)) continue;
        put(w, text_layout[i].before);
        put_value(w, r, &rows[text_layout[i].field]);
    }
    put(w, SLICE("\n"));
}

static struct writer render(const struct access_record *r, enum log_format format, char *at, const char *end,
                            ptrdiff_t spare) {
    struct writer w = {.at = at, .end = end, .json = format == FORMAT_JSON, .spare = spare};
    if (w.json)
        put_json(&w, r);
    else
        put_text(&w, r);
    return w;
}

char *access_record_print(const struct access_record *r, enum log_format format, char *at, const char *end) {
    struct writer w = render(r, format, at, end, UNLIMITED);
    if (LG_LIKELY(!w.full)) return w.at;
    w = render(r, format, at, end, 0);
    ptrdiff_t spare = end - w.at - UNIT_MAX - (ptrdiff_t)ELLIPSIS.n; /* what put_cut wants free behind a string */
    if (w.full) return at;
    if (spare <= 0) return w.at;
    w = render(r, format, at, end, spare);
    LG_ASSERT(!w.full);
    return w.at;
}

void access_record_write(const struct access_record *r, struct log_sink *sink, enum log_format format) {
    char *at = log_reserve(sink, ACCESS_RECORD_MAX);
    if (!at) return;
    log_commit((size_t)(access_record_print(r, format, at, at + ACCESS_RECORD_MAX) - at));
}
