/* h1_fields.c: field lines that are not plain (h1_plain.c) and the sizes of chunks by llhttp, and a look over its
 * shoulder.
 *
 * llhttp never sees the peer's start line: it gets one of ours, so that nothing in it (a method it knows specially, a
 * version, a status) changes how it reads what follows. Where a head ends and what its body is, LoomGate has decided
 * before; llhttp must agree. Whatever it was given, each line must come out as one field that fills the line: that
 * closes what its versions let through (folded lines, a space before the colon, empty names). */
#include "h1_internal.h"

#include "loomgate/base/macros.h"

/* What the callbacks work on, during one call. */
struct collect {
    struct fields *fields;
    bool head_complete, overflow, has_chunk;
    uint64_t chunk_size;
};

static int on_name(llhttp_t *parser, const char *at, size_t n) {
    struct collect *c = parser->data;
    /* The value begins as nothing behind the colon: an empty one may or may not be told. */
    if (fields_add(c->fields, slice_from(at, n), slice_from(at + n + 1, 0))) return 0;
    c->overflow = true;
    return HPE_USER;
}

static int on_value(llhttp_t *parser, const char *at, size_t n) {
    struct collect *c = parser->data;
    if (n == 0) return 0;
    if (c->fields->count == 0) return HPE_USER;
    struct slice *value = &c->fields->v[c->fields->count - 1].value;
    if (value->n == 0) value->p = at;
    value->n = (size_t)(at + n - value->p);
    return 0;
}

static int on_head(llhttp_t *parser) {
    struct collect *c = parser->data;
    c->head_complete = true;
    return HPE_PAUSED;
}

static int on_chunk(llhttp_t *parser) {
    struct collect *c = parser->data;
    c->has_chunk = true;
    c->chunk_size = parser->content_length;
    return 0;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
    .on_chunk_header = on_chunk,
};

static llhttp_errno_t feed(llhttp_t *parser, struct collect *c, struct slice bytes) {
    parser->data = c;
    llhttp_errno_t error = llhttp_execute(parser, bytes.p, bytes.n);
    parser->data = NULL;
    return error;
}

static struct slice trim_end(struct slice line) {
    while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t')) line.n--;
    return line;
}

/* Versions before 9.4 take a tab at the end of a value for a part of it and refuse or misread a length, a coding or a
 * connection option: they do not get to see it. */
static llhttp_errno_t feed_without_trailing_space(llhttp_t *parser, struct collect *c, struct slice lines) {
    llhttp_errno_t error = HPE_OK;
    while (lines.n && error == HPE_OK) {
        size_t n = slice_find(lines, '\n') - 1; /* up to the CR: the scanner let no line end otherwise */
        struct slice line = trim_end(slice_from(lines.p, n));
        if (line.n) error = feed(parser, c, line);
        if (error == HPE_OK) error = feed(parser, c, slice_from(lines.p + n, 2));
        lines = slice_from(lines.p + n + 2, lines.n - n - 2);
    }
    return error;
}

/* Why llhttp refused. Its versions name a length beside a coding differently: what was read so far decides. */
static enum failure failure_of(llhttp_errno_t error, const struct fields *f) {
    switch (error) {
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        break;
    default:
        return FAILURE_bad_field;
    }
    bool coded = fields_find(f, FIELD_TRANSFER_ENCODING) != NULL;
    if (coded && fields_find(f, FIELD_CONTENT_LENGTH)) return FAILURE_bad_framing;
    return coded ? FAILURE_bad_transfer_coding : FAILURE_bad_length;
}

static const char *skip_space(const char *at) {
    while (*at == ' ' || *at == '\t') at++;
    return at;
}

/* Whether every line is one field: a token, a colon, a value, and nothing between them but white space. Trims the
 * values. The lines end in CR LF and have no other CR, so that no step here runs past them. */
static bool fields_fill_lines(struct fields *f, struct slice lines) {
    const char *at = lines.p, *end = lines.p + lines.n - 2;
    for (struct field *v = f->v, *last = f->v + f->count; v < last; v++) {
        if (v->name.p != at || at == end || !slice_is_token(v->name) || at[v->name.n] != ':') return false;
        at = skip_space(at + v->name.n + 1);
        const char *line_end = memchr(at, '\r', (size_t)(end + 1 - at));
        struct slice value = trim_end(slice_from(at, (size_t)(line_end - at)));
        if (line_end == end || trim_end(v->value).n != value.n || (value.n && v->value.p != at)) return false;
        v->value = value;
        at = line_end + 2;
    }
    return at == end;
}

enum failure h1_parse_fields(llhttp_t *parser, enum h1_role role, struct slice lines, struct fields *f) {
    static const struct slice starts[] = {
        [H1_READS_REQUESTS] = {"POST / HTTP/1.1\r\n", 17},
        [H1_READS_RESPONSES] = {"HTTP/1.1 200 OK\r\n", 17},
    };
    struct collect collect = {.fields = f};
    llhttp_init(parser, role == H1_READS_REQUESTS ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    llhttp_errno_t error = feed(parser, &collect, starts[role]);
    LG_ASSERT(error == HPE_OK);
    bool tabs = memchr(lines.p, '\t', lines.n) != NULL;
    error = tabs ? feed_without_trailing_space(parser, &collect, lines) : feed(parser, &collect, lines);
    if (collect.overflow) return FAILURE_too_many_fields;
    if (error != HPE_PAUSED || !collect.head_complete) return failure_of(error, f);
    if (!fields_fill_lines(f, lines)) return FAILURE_bad_field;
    llhttp_resume(parser);
    return FAILURE_NONE;
}

/* The sizes of chunks have nothing to do with one another: each is read by a parser that stands before the first. What
 * is between them, data and CR LF, is counted by the codec, so no connection keeps a parser. */
static void stand_before_chunks(struct h1_scratch *scratch) {
    static const struct slice lines = SLICE("Transfer-Encoding: chunked\r\n\r\n");
    struct field room[1];
    struct fields fields = {.v = room, .room = 1};
    enum failure failure = h1_parse_fields(&scratch->before_chunks, H1_READS_REQUESTS, lines, &fields);
    LG_ASSERT(failure == FAILURE_NONE);
    scratch->has_before_chunks = true;
}

bool h1_parse_chunk_size(struct h1_scratch *scratch, struct slice digits, uint64_t *size) {
    struct collect collect = {0};
    if (!scratch->has_before_chunks) stand_before_chunks(scratch);
    scratch->parser = scratch->before_chunks;
    if (feed(&scratch->parser, &collect, digits) != HPE_OK ||
        feed(&scratch->parser, &collect, SLICE("\r\n")) != HPE_OK || !collect.has_chunk)
        return false;
    *size = collect.chunk_size;
    return *size <= INT64_MAX;
}
