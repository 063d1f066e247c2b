/* h1_print.c: heads written as HTTP/1 bytes. */
#include "loomgate/http/rewrite.h"

#include "loomgate/base/macros.h"

#define LITERAL(text) text, sizeof(text) - 1

static char *put(char *at, const char *p, size_t n) {
    memcpy(at, p, n);
    return at + n;
}

static char *put_slice(char *at, struct slice s) {
    if (s.n) memcpy(at, s.p, s.n);
    return at + s.n;
}

static char *put_number(char *at, uint64_t number) {
    char digits[20], *first = digits + sizeof digits;
    do *--first = (char)('0' + number % 10);
    while (number /= 10);
    return put(at, first, (size_t)(digits + sizeof digits - first));
}

char *h1_print_chunk_size(char *at, uint64_t size) {
    char digits[16], *first = digits + sizeof digits;
    do *--first = "0123456789abcdef"[size & 15];
    while (size >>= 4);
    at = put(at, first, (size_t)(digits + sizeof digits - first));
    return put(at, LITERAL("\r\n"));
}

/* --- fields: those that stand side by side in the head they came in are copied as one run of bytes */

static bool is_plain_line(const struct field *f, struct slice raw) {
    const char *value = f->name.p + f->name.n + 2; /* ": " */
    return f->name.p >= raw.p && f->value.p == value && value + f->value.n + 2 <= raw.p + raw.n;
}

static const char *line_end(const struct field *f) {
    return f->value.p + f->value.n + 2;
}

/* A line that is plain in the middle but has white space behind its value ends its run before the line end. */
static bool line_ends_plainly(const struct field *f) {
    return f->value.p[f->value.n] == '\r';
}

char *h1_print_field(char *at, struct slice name, struct slice value) {
    at = put_slice(at, name);
    at = put(at, LITERAL(": "));
    at = put_slice(at, value);
    return put(at, LITERAL("\r\n"));
}

static char *put_fields(char *at, const struct message *m) {
    const struct field *f = m->fields.v, *end = f + m->fields.count;
    while (f < end) {
        if (f->drop) {
            f++;
            continue;
        }
        if (!is_plain_line(f, m->raw) || !line_ends_plainly(f)) {
            at = h1_print_field(at, f->name, f->value);
            f++;
            continue;
        }
        const char *start = f->name.p, *stop = line_end(f++);
        while (f < end && !f->drop && f->name.p == stop && is_plain_line(f, m->raw) && line_ends_plainly(f))
            stop = line_end(f++);
        at = put(at, start, (size_t)(stop - start));
    }
    return at;
}

/* Covers what is not counted below: the words of start line and framing, and a value for Trailer. */
enum { FIXED_BOUND = 1024, TRAILER_VALUE_MAX = 512 };

size_t h1_head_bound(const struct message *m) {
    size_t n = FIXED_BOUND + m->method_name.n + m->uri.n + m->host.n + m->reason.n + m->upgrade_to.n;
    for (const struct field *f = m->fields.v, *end = f + m->fields.count; f < end; f++)
        if (!f->drop) n += f->name.n + f->value.n + 4;
    return n;
}

/* --- framing */

static char *put_option(char *at, const char *start, const char *option, size_t n) {
    if (at > start) at = put(at, LITERAL(", "));
    return put(at, option, n);
}

static char *put_connection(char *at, const struct h1_framing *f) {
    if (!f->close && !f->keep_alive_10 && !f->upgrade && !f->te_trailers) return at;
    char *start = at = put(at, LITERAL("Connection: "));
    if (f->close) at = put_option(at, start, LITERAL("close"));
    if (f->keep_alive_10) at = put_option(at, start, LITERAL("keep-alive"));
    if (f->upgrade) at = put_option(at, start, LITERAL("upgrade"));
    if (f->te_trailers) at = put_option(at, start, LITERAL("TE"));
    return put(at, LITERAL("\r\n"));
}

static char *put_framing(char *at, const struct message *m, const struct h1_framing *f) {
    if (f->body == BODY_CHUNKED) {
        at = put(at, LITERAL("Transfer-Encoding: chunked\r\n"));
    } else if (f->body == BODY_LENGTH || f->has_length) {
        at = put(at, LITERAL("Content-Length: "));
        at = put_number(at, f->length);
        at = put(at, LITERAL("\r\n"));
    }
    LG_ASSERT(f->trailer.n <= TRAILER_VALUE_MAX);
    if (f->trailer.n) at = h1_print_field(at, SLICE("Trailer"), f->trailer);
    at = put_connection(at, f);
    if (f->upgrade) at = h1_print_field(at, SLICE("Upgrade"), m->upgrade_to);
    if (f->te_trailers) at = put(at, LITERAL("TE: trailers\r\n"));
    return put(at, LITERAL("\r\n"));
}

char *h1_print_request(char *at, const struct message *m, const struct h1_framing *f) {
    at = put_slice(at, m->method_name);
    *at++ = ' ';
    at = put_slice(at, m->uri);
    at = put(at, LITERAL(" HTTP/1.1\r\nHost: "));
    at = put_slice(at, m->host);
    at = put(at, LITERAL("\r\n"));
    return put_framing(put_fields(at, m), m, f);
}

char *h1_print_response(char *at, const struct message *m, const struct h1_framing *f) {
    LG_ASSERT(m->status >= 100 && m->status <= 999);
    at = put(at, LITERAL("HTTP/1.1 "));
    at = put_number(at, m->status);
    *at++ = ' ';
    at = put_slice(at, m->reason);
    at = put(at, LITERAL("\r\n"));
    return put_framing(put_fields(at, m), m, f);
}
