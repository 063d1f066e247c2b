/* h1_codec.c: HTTP/1 bytes to events: which one comes next.
 *
 *   QUIET -> LINE -> FIELDS -+----------------------------------------> END -+-> LINE (requests), QUIET (responses)
 *   (responses: nothing      +-> LENGTH --------------------------------^   +-> DONE: the peer said it was the last
 *   was asked)               +-> CLOSE: ends with the connection -------^
 *                            +-> CHUNK_SIZE -> TRAILER -----------------^
 *                            |    ^     '-> CHUNK_DATA -> CHUNK_END -.
 *                            |    '----------------------------------'
 *                            +-> INTERIM_END (1xx) -> LINE
 *                            '-> UPGRADED (101)                   anywhere -> FAILED
 *
 * The parts of a message that are lines (head, size line, trailer section) are looked at only whole and left with the
 * caller until they are; the bytes of a body never are. */
#include "h1_internal.h"

#include "loomgate/base/macros.h"

enum state {
    STATE_QUIET, /* responses: nothing was asked */
    STATE_LINE,  /* before or in a start line */
    STATE_FIELDS,
    STATE_LENGTH,
    STATE_CLOSE,
    STATE_CHUNK_SIZE,
    STATE_CHUNK_DATA,
    STATE_CHUNK_END,
    STATE_TRAILER,
    STATE_END,
    STATE_INTERIM_END, /* of a 1xx: the answer proper is still to come */
    STATE_DONE,
    STATE_UPGRADED, /* a 101: the bytes are no longer ours */
    STATE_FAILED
};

enum {
    EMPTY_LINES_MAX = 4,            /* before a request line */
    LINE_SLACK = H1_METHOD_MAX + 12 /* what a request line has beside its target: method, two spaces, version, CR LF */
};

static const struct fields no_fields;

/* One call. */
struct step {
    struct h1_codec *c;
    struct slice *in;
    const struct h1_limits *limits;
    struct h1_scratch *scratch;
    struct h1_result *out;
};

void h1_codec_init(struct h1_codec *c, enum h1_role role) {
    *c = (struct h1_codec){.role = (uint8_t)role, .state = role == H1_READS_REQUESTS ? STATE_LINE : STATE_QUIET};
}

void h1_codec_expect(struct h1_codec *c, enum method method, bool upgrade_asked) {
    LG_ASSERT(c->role == H1_READS_RESPONSES && c->state == STATE_QUIET);
    c->state = STATE_LINE;
    c->request_method = (uint8_t)method;
    c->upgrade_asked = upgrade_asked;
}

bool h1_codec_in_message(const struct h1_codec *c) {
    return c->state > STATE_FIELDS && c->state < STATE_DONE;
}

/* Causes are told apart for requests only: what a client did wrong has many answers, what a server did has one. */
static enum h1_event refuse(struct h1_codec *c, struct h1_result *out, enum failure failure) {
    c->state = STATE_FAILED;
    if (c->role == H1_READS_RESPONSES) {
        bool large = failure == FAILURE_header_too_large || failure == FAILURE_too_many_fields;
        failure = large                              ? FAILURE_response_too_large
                  : failure == FAILURE_client_closed ? FAILURE_response_cut
                                                     : FAILURE_bad_response;
    }
    out->failure = failure;
    return H1_ERROR;
}

static struct slice take(struct slice *in, size_t n) {
    struct slice taken = slice_from(in->p, n);
    in->p += n;
    in->n -= n;
    return taken;
}

/* The end of a message: `trailers` may be empty. */
static enum h1_event end_message(const struct step *s, const struct fields *trailers) {
    struct h1_codec *c = s->c;
    s->out->trailers = trailers;
    c->scanned = c->framing_bytes = 0;
    if (!c->keep_alive)
        c->state = STATE_DONE;
    else
        c->state = c->role == H1_READS_REQUESTS ? STATE_LINE : STATE_QUIET;
    return H1_END;
}

/* --- the head --------------------------------------------------------------------------------------------------- */

/* RFC 9112 section 2.2. */
static bool skip_empty_lines(const struct step *s) {
    while (s->in->n >= 2 && s->in->p[0] == '\r' && s->in->p[1] == '\n') {
        if (++s->c->framing_bytes > EMPTY_LINES_MAX) return false;
        take(s->in, 2);
    }
    return true;
}

static enum failure parse_start(const struct step *s, struct slice line) {
    struct message *m = &s->scratch->message;
    if (s->c->role == H1_READS_RESPONSES) return h1_parse_status_line(m, line);
    /* The room for trailers is free as long as a head is the last event. */
    return h1_parse_request_line(m, line, s->limits->uri_bytes, (char *)s->scratch->trailer_room,
                                 sizeof s->scratch->trailer_room);
}

/* What ends in the first bytes of `in`, no further than `max` of them. MORE with FAILURE_NONE, or the failure. */
static enum h1_scan scan(const struct step *s, h1_scanner *scanner, size_t max, enum failure bad, enum failure over,
                         enum failure *failure) {
    size_t end = s->in->n < max ? s->in->n : max;
    LG_ASSERT(s->in->n >= s->c->scanned);
    if (end < s->c->scanned) end = s->c->scanned; /* the limit is another one than it was */
    enum h1_scan found = scanner(s->in->p, &s->c->scanned, (uint32_t)end);
    *failure = FAILURE_NONE;
    if (found == H1_SCAN_BAD) *failure = bad;
    if (found == H1_SCAN_MORE && s->in->n >= max) *failure = over;
    return *failure == FAILURE_NONE ? found : H1_SCAN_BAD;
}

/* Start line: as soon as it is complete it is parsed, so that nonsense does not wait for the end of a head. */
static enum h1_scan scan_start(const struct step *s, enum failure *failure) {
    size_t max = s->limits->head_bytes;
    enum failure over = FAILURE_header_too_large;
    if (s->c->role == H1_READS_REQUESTS) {
        size_t line_max = (size_t)s->limits->uri_bytes + LINE_SLACK;
        over = FAILURE_uri_too_long;
        if (line_max < max) max = line_max;
    }
    enum h1_scan found = scan(s, h1_scan_line, max, FAILURE_bad_request_line, over, failure);
    if (found != H1_SCAN_LINE) return found;
    *failure = parse_start(s, slice_from(s->in->p, s->c->scanned - 2));
    s->c->state = STATE_FIELDS;
    return *failure == FAILURE_NONE ? H1_SCAN_LINE : H1_SCAN_BAD;
}

static enum h1_scan scan_fields(const struct step *s, size_t max, enum failure *failure) {
    return scan(s, h1_scan_fields, max, FAILURE_bad_field, FAILURE_header_too_large, failure);
}

static struct fields *begin_fields(const struct step *s) {
    uint32_t room = s->limits->field_count < H1_FIELDS_MAX ? s->limits->field_count : H1_FIELDS_MAX;
    s->scratch->message.fields = (struct fields){.v = s->scratch->field_room, .room = room};
    return &s->scratch->message.fields;
}

/* Reads the fields where all of them are there, behind a start line just scanned and parsed, and are plain. Else
 * nothing has happened; a head in pieces is tried once, so that a slow sender costs no more for it. */
static bool read_plain(const struct step *s) {
    size_t start = s->c->scanned, end = s->in->n < s->limits->head_bytes ? s->in->n : s->limits->head_bytes;
    if (end <= start) return false;
    size_t n = h1_read_plain_fields(slice_from(s->in->p + start, end - start), begin_fields(s));
    s->c->scanned += (uint32_t)n;
    return n > 0;
}

static enum failure parse_head(const struct step *s, struct slice head, bool start_is_parsed) {
    const size_t start = (size_t)((const char *)memchr(head.p, '\n', head.n) - head.p) + 1;
    if (!start_is_parsed) {
        enum failure failure = parse_start(s, slice_from(head.p, start - 2));
        if (failure != FAILURE_NONE) return failure;
    }
    return h1_parse_fields(&s->scratch->parser, (enum h1_role)s->c->role, slice_from(head.p + start, head.n - start),
                           begin_fields(s));
}

static uint8_t state_of_body(const struct message *m) {
    switch ((enum body_kind)m->body) {
    case BODY_LENGTH:
        return m->length ? STATE_LENGTH : STATE_END;
    case BODY_CHUNKED:
        return STATE_CHUNK_SIZE;
    case BODY_UNTIL_CLOSE:
        return STATE_CLOSE;
    case BODY_NONE:
        break;
    }
    return STATE_END;
}

static enum h1_event give_head(const struct step *s) {
    struct h1_codec *c = s->c;
    const struct message *m = s->out->head = &s->scratch->message;
    c->scanned = c->framing_bytes = 0;
    c->body = m->body;
    c->remaining = m->length;
    c->keep_alive = m->keep_alive;
    c->state = state_of_body(m);
    if (c->role == H1_READS_RESPONSES && m->status < 200)
        c->state = m->status == 101 ? STATE_UPGRADED : STATE_INTERIM_END;
    return H1_HEAD;
}

/* A server that speaks something else is told apart by its first bytes, not by waiting for the end of a line. */
static bool may_be_response(struct slice in) {
    static const char version[] = "HTTP/1.";
    size_t n = in.n < sizeof version - 1 ? in.n : sizeof version - 1;
    return n == 0 || memcmp(in.p, version, n) == 0;
}

static enum h1_event next_head(const struct step *s) {
    struct h1_codec *c = s->c;
    enum failure failure = FAILURE_NONE;
    bool start_is_parsed = false;
    if (c->state == STATE_LINE) {
        if (c->role == H1_READS_REQUESTS && c->scanned == 0 && !skip_empty_lines(s))
            return refuse(c, s->out, FAILURE_bad_request_line);
        if (c->role == H1_READS_RESPONSES && !may_be_response(*s->in)) return refuse(c, s->out, FAILURE_bad_response);
        enum h1_scan start = scan_start(s, &failure);
        if (start != H1_SCAN_LINE) return failure ? refuse(c, s->out, failure) : H1_MORE;
        start_is_parsed = true;
    }
    bool is_plain = start_is_parsed && read_plain(s);
    if (!is_plain && scan_fields(s, s->limits->head_bytes, &failure) == H1_SCAN_MORE) return H1_MORE;
    if (failure != FAILURE_NONE) return refuse(c, s->out, failure);
    struct message *m = &s->scratch->message;
    struct slice head = take(s->in, c->scanned);
    if (!is_plain) failure = parse_head(s, head, start_is_parsed);
    m->raw = head;
    m->fields.room = LG_COUNT(s->scratch->field_room);
    if (failure == FAILURE_NONE) failure = h1_guard_head(m, c);
    if (failure != FAILURE_NONE) {
        s->out->place = h1_place_of(m, failure);
        return refuse(c, s->out, failure);
    }
    return give_head(s);
}

/* --- the body --------------------------------------------------------------------------------------------------- */

static enum h1_event next_of_length(const struct step *s) {
    struct h1_codec *c = s->c;
    if (s->in->n == 0) return H1_MORE;
    s->out->body = take(s->in, s->in->n < c->remaining ? s->in->n : (size_t)c->remaining);
    c->remaining -= s->out->body.n;
    if (c->remaining == 0) c->state = STATE_END;
    return H1_BODY;
}

static enum h1_event next_until_close(const struct step *s) {
    if (s->in->n == 0) return H1_MORE;
    s->out->body = take(s->in, s->in->n);
    return H1_BODY;
}

static enum h1_event next_chunk_size(const struct step *s) {
    struct h1_codec *c = s->c;
    struct slice digits, extension;
    enum failure failure;
    enum h1_scan found = scan(s, h1_scan_line, H1_CHUNK_DIGITS_MAX + H1_CHUNK_EXTENSION_MAX + 2, FAILURE_bad_chunk,
                              FAILURE_bad_chunk, &failure);
    if (found == H1_SCAN_MORE) return H1_MORE;
    if (failure != FAILURE_NONE) return refuse(c, s->out, failure);
    struct slice line = take(s->in, c->scanned);
    c->scanned = 0;
    if (!h1_split_chunk_line(slice_from(line.p, line.n - 2), &digits, &extension) ||
        !h1_parse_chunk_size(s->scratch, digits, &c->remaining))
        return refuse(c, s->out, FAILURE_bad_chunk);
    /* Extensions are paid for by data: a peer cannot send ever more of them and no body. */
    c->framing_bytes += (uint32_t)extension.n;
    if (c->framing_bytes > H1_CHUNK_EXTENSION_MAX) return refuse(c, s->out, FAILURE_bad_chunk);
    c->state = c->remaining ? STATE_CHUNK_DATA : STATE_TRAILER;
    return H1_MORE;
}

static enum h1_event next_chunk_data(const struct step *s) {
    struct h1_codec *c = s->c;
    if (s->in->n == 0) return H1_MORE;
    struct slice data = take(s->in, s->in->n < c->remaining ? s->in->n : (size_t)c->remaining);
    c->remaining -= data.n;
    c->framing_bytes -= data.n < c->framing_bytes ? (uint32_t)data.n : c->framing_bytes;
    if (c->remaining == 0) {
        c->state = STATE_CHUNK_END;
        c->remaining = 2; /* CR LF */
    }
    s->out->body = data;
    return H1_BODY;
}

static enum h1_event next_chunk_end(const struct step *s) {
    struct h1_codec *c = s->c;
    if (s->in->n == 0) return H1_MORE;
    struct slice end = take(s->in, s->in->n < c->remaining ? s->in->n : (size_t)c->remaining);
    if (memcmp(end.p, &"\r\n"[2 - c->remaining], end.n) != 0) return refuse(c, s->out, FAILURE_bad_chunk);
    c->remaining -= end.n;
    if (c->remaining == 0) c->state = STATE_CHUNK_SIZE;
    return H1_MORE;
}

/* RFC 9112 section 7.1.2. */
static enum h1_event next_trailer(const struct step *s) {
    struct h1_codec *c = s->c;
    struct fields *t = &s->scratch->trailers;
    enum failure failure;
    if (scan_fields(s, H1_TRAILER_BYTES_MAX, &failure) == H1_SCAN_MORE) return H1_MORE;
    if (failure != FAILURE_NONE) return refuse(c, s->out, failure);
    struct slice lines = take(s->in, c->scanned);
    *t = (struct fields){.v = s->scratch->trailer_room, .room = H1_TRAILER_COUNT_MAX};
    if (lines.n > 2) failure = h1_parse_fields(&s->scratch->parser, (enum h1_role)c->role, lines, t);
    if (failure != FAILURE_NONE) return refuse(c, s->out, failure);
    for (uint32_t i = 0; i < t->count; i++) t->v[i].drop = !field_may_trail(t->v[i].name);
    return end_message(s, t);
}

static enum h1_event next_end(const struct step *s) {
    return end_message(s, &no_fields);
}

static enum h1_event next_interim_end(const struct step *s) {
    s->c->state = STATE_LINE;
    s->out->trailers = &no_fields;
    return H1_END;
}

static enum h1_event next_when_quiet(const struct step *s) {
    return s->in->n == 0 ? H1_MORE : refuse(s->c, s->out, FAILURE_bad_response);
}

/* Bytes behind a message that said it is the last one are dropped (RFC 9112 section 9.6). */
static enum h1_event next_when_done(const struct step *s) {
    if (s->in->n) take(s->in, s->in->n);
    return H1_MORE;
}

static enum h1_event next_when_upgraded(const struct step *s) {
    (void)s;
    return H1_MORE;
}

static enum h1_event next_when_failed(const struct step *s) {
    return refuse(s->c, s->out, FAILURE_bad_field);
}

enum h1_event h1_codec_next(struct h1_codec *c, struct slice *in, const struct h1_limits *limits,
                            struct h1_scratch *scratch, struct h1_result *out) {
    static enum h1_event (*const steps[])(const struct step *) = {
        [STATE_QUIET] = next_when_quiet,
        [STATE_LINE] = next_head,
        [STATE_FIELDS] = next_head,
        [STATE_LENGTH] = next_of_length,
        [STATE_CLOSE] = next_until_close,
        [STATE_CHUNK_SIZE] = next_chunk_size,
        [STATE_CHUNK_DATA] = next_chunk_data,
        [STATE_CHUNK_END] = next_chunk_end,
        [STATE_TRAILER] = next_trailer,
        [STATE_END] = next_end,
        [STATE_INTERIM_END] = next_interim_end,
        [STATE_DONE] = next_when_done,
        [STATE_UPGRADED] = next_when_upgraded,
        [STATE_FAILED] = next_when_failed,
    };
    const struct step step = {c, in, limits, scratch, out};
    *out = (struct h1_result){0};
    enum h1_event event;
    uint8_t before;
    do { /* a step that only moves on to another state has no event */
        before = c->state;
        event = steps[before](&step);
    } while (event == H1_MORE && c->state != before && before > STATE_FIELDS);
    if (event == H1_ERROR && !out->place) out->place = in->p + (c->scanned < in->n ? c->scanned : in->n);
    return event;
}

enum h1_event h1_codec_eof(struct h1_codec *c, struct slice pending, struct h1_result *out) {
    const struct step step = {.c = c, .out = out};
    *out = (struct h1_result){0};
    switch ((enum state)c->state) {
    case STATE_QUIET:
    case STATE_LINE:
        if (pending.n == 0) return H1_MORE;
        break;
    case STATE_CLOSE:
    case STATE_END:
        return end_message(&step, &no_fields);
    case STATE_DONE:
    case STATE_UPGRADED:
        return H1_MORE;
    default:
        break;
    }
    return refuse(c, out, FAILURE_client_closed);
}
