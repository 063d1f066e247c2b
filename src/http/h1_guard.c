/* h1_guard.c: what the fields of a head must obey before anything is done with it, and what they say.
 *
 * llhttp has an opinion on much of this, a different one in each version and for each way of compiling it; these
 * guards do not rely on it (RFC 9110 and 9112; the section is named at each). */
#include "h1_internal.h"

#include "loomgate/base/macros.h"

static unsigned count_of(const struct fields *f, enum field_id id, const struct field **first) {
    unsigned n = 0;
    if (!fields_had(f, id)) return 0;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (at->id == id && n++ == 0) *first = at;
    return n;
}

/* RFC 9112 section 3.2. An absolute target has set m->host; its authority wins over a Host that must be there and be
 * valid all the same. */
static enum failure guard_host(struct message *m) {
    const struct field *host = NULL;
    unsigned n = count_of(&m->fields, FIELD_HOST, &host);
    if (n > 1 || (n == 0 && m->minor == 1)) return FAILURE_bad_host;
    if (n == 0) return FAILURE_NONE;
    if (!h1_authority_is_valid(host->value)) return FAILURE_bad_host;
    if (m->host.n == 0) m->host = host->value;
    return FAILURE_NONE;
}

/* RFC 9112 section 6.1 and 6.3: the only coding is one `chunked`, in 1.1 only and with no length beside it. */
static enum failure guard_transfer_coding(struct message *m) {
    const struct field *coding = NULL;
    unsigned n = count_of(&m->fields, FIELD_TRANSFER_ENCODING, &coding);
    if (n == 0) return FAILURE_NONE;
    if (m->minor == 0 || m->has_length) return FAILURE_bad_framing;
    if (n > 1 || !slice_eq_nocase(coding->value, SLICE("chunked"))) return FAILURE_bad_transfer_coding;
    m->body = BODY_CHUNKED;
    return FAILURE_NONE;
}

/* RFC 9112 section 6.2 and RFC 9110 section 8.6: digits, once. */
static enum failure guard_length(struct message *m) {
    const struct field *length = NULL;
    unsigned n = count_of(&m->fields, FIELD_CONTENT_LENGTH, &length);
    if (n == 0) return FAILURE_NONE;
    m->has_length = true;
    if (fields_find(&m->fields, FIELD_TRANSFER_ENCODING)) return FAILURE_bad_framing;
    if (n > 1 || !slice_to_u64(length->value, INT64_MAX, &m->length)) return FAILURE_bad_length;
    m->body = BODY_LENGTH;
    return FAILURE_NONE;
}

/* RFC 9110 section 10.1.1; an HTTP/1.0 client cannot mean it. */
static enum failure guard_expect(struct message *m) {
    if (!fields_had(&m->fields, FIELD_EXPECT)) return FAILURE_NONE;
    for (const struct field *f = m->fields.v, *end = f + m->fields.count; f < end; f++) {
        if (f->id != FIELD_EXPECT) continue;
        if (!slice_eq_nocase(f->value, SLICE("100-continue"))) return FAILURE_bad_expectation;
        m->expect_continue = m->minor == 1;
    }
    return FAILURE_NONE;
}

/* RFC 9112 section 9.3. */
static enum failure read_keep_alive(struct message *m) {
    m->keep_alive = m->minor == 1 || fields_list_has(&m->fields, FIELD_CONNECTION, SLICE("keep-alive"));
    if (fields_list_has(&m->fields, FIELD_CONNECTION, SLICE("close"))) m->keep_alive = false;
    return FAILURE_NONE;
}

static enum failure read_te(struct message *m) {
    m->te_trailers = m->minor == 1 && fields_list_has(&m->fields, FIELD_TE, SLICE("trailers"));
    return FAILURE_NONE;
}

/* The first run of protocols in the list that has no h2c (HTTP/2 is not spoken here, and a tunnel of it would get
 * around every guard); empty when there is none. */
static struct slice protocols_but_h2c(struct slice list) {
    struct slice run = {NULL, 0}, part;
    while (slice_split(&list, ',', &part)) {
        part = slice_trim(part);
        struct slice name = slice_from(part.p, slice_find(part, '/'));
        if (slice_eq_nocase(name, SLICE("h2c")) || !slice_is_token(name)) {
            if (run.n) break;
            continue;
        }
        if (!run.p) run.p = part.p;
        run.n = (size_t)(part.p + part.n - run.p);
    }
    return run;
}

/* RFC 9110 section 7.8. */
static enum failure read_upgrade(struct message *m) {
    if (m->minor == 0 || !fields_had(&m->fields, FIELD_UPGRADE)) return FAILURE_NONE;
    if (!fields_list_has(&m->fields, FIELD_CONNECTION, SLICE("upgrade"))) return FAILURE_NONE;
    for (const struct field *f = m->fields.v, *end = f + m->fields.count; f < end && !m->upgrade; f++) {
        if (f->id != FIELD_UPGRADE) continue;
        m->upgrade_to = protocols_but_h2c(f->value);
        m->upgrade = m->upgrade_to.n > 0;
    }
    return FAILURE_NONE;
}

/* A request that brings a body is not upgraded: which protocol its bytes belong to would be a matter of timing. */
static enum failure guard_upgrade(struct message *m) {
    if (m->body == BODY_CHUNKED || (m->body == BODY_LENGTH && m->length > 0)) return FAILURE_NONE;
    return read_upgrade(m);
}

typedef enum failure guard(struct message *m);

static enum failure guard_request(struct message *m) {
    static guard *const guards[] = {guard_host,      guard_length, guard_transfer_coding, guard_expect,
                                    read_keep_alive, read_te,      guard_upgrade};
    enum failure failure = FAILURE_NONE;
    for (size_t i = 0; i < LG_COUNT(guards) && failure == FAILURE_NONE; i++) failure = guards[i](m);
    return failure;
}

/* Statuses and methods whose answer has no body, whatever its fields say (RFC 9112 section 6.3). */
static bool has_no_body(const struct message *m, enum method asked) {
    return asked == METHOD_HEAD || m->status < 200 || m->status == 204 || m->status == 304;
}

static enum failure guard_response(struct message *m, enum method asked, bool upgrade_asked) {
    static guard *const guards[] = {guard_length, guard_transfer_coding, read_keep_alive, read_upgrade};
    m->body = BODY_UNTIL_CLOSE;
    for (size_t i = 0; i < LG_COUNT(guards); i++)
        if (guards[i](m) != FAILURE_NONE) return FAILURE_bad_response;
    if (m->status == 101 && !(upgrade_asked && m->upgrade)) return FAILURE_bad_response;
    if (has_no_body(m, asked)) m->body = BODY_NONE;
    if (m->body == BODY_UNTIL_CLOSE) m->keep_alive = false;
    return FAILURE_NONE;
}

enum failure h1_guard_head(struct message *m, const struct h1_codec *c) {
    if (c->role == H1_READS_REQUESTS) return guard_request(m);
    return guard_response(m, (enum method)c->request_method, c->upgrade_asked);
}

static bool has_good_name(const struct field *f) {
    return slice_is_token(f->name) && f->name.p[f->name.n] == ':';
}

/* What a failure is about: the first of these fields that is there. */
const char *h1_place_of(const struct message *m, enum failure failure) {
    static const uint8_t at_fault[FAILURE_COUNT][2] = {
        [FAILURE_bad_host] = {FIELD_HOST},
        [FAILURE_bad_length] = {FIELD_CONTENT_LENGTH},
        [FAILURE_bad_framing] = {FIELD_TRANSFER_ENCODING},
        [FAILURE_bad_transfer_coding] = {FIELD_TRANSFER_ENCODING},
        [FAILURE_bad_expectation] = {FIELD_EXPECT},
        [FAILURE_bad_response] = {FIELD_TRANSFER_ENCODING, FIELD_CONTENT_LENGTH},
    };
    for (unsigned i = 0; i < 2; i++) {
        enum field_id id = (enum field_id)at_fault[failure][i];
        const struct field *f = id != FIELD_OTHER ? fields_find(&m->fields, id) : NULL;
        if (f) return f->name.p;
    }
    const char *at = m->raw.p;
    for (const struct field *f = m->fields.v, *last = f + m->fields.count; f < last; f++) {
        if (!has_good_name(f)) return f->name.p;
        at = f->value.p;
    }
    const char *end = m->raw.p + m->raw.n, *line_end = memchr(at, '\n', (size_t)(end - at));
    return line_end ? line_end + 1 : end;
}
