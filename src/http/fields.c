/* fields.c: header and trailer fields: the known names as a table, lookup, lists, editing. */
#include "loomgate/http/fields.h"

#include "loomgate/base/macros.h"

enum { LONGEST_NAME = 17, SAME_LENGTH_MAX = 4 };

static const struct slice names[FIELD_COUNT] = {[FIELD_OTHER] = {"", 0},
#define X(id, name, cls) [FIELD_##id] = {name, sizeof(name) - 1},
                                                FIELD_TABLE(X)
#undef X
};

/* The known names by their length; the test of fields.c looks every row of the table up. */
static const uint8_t by_length[LONGEST_NAME + 1][SAME_LENGTH_MAX] = {
    [2] = {FIELD_TE},
    [4] = {FIELD_HOST, FIELD_DATE},
    [6] = {FIELD_ACCEPT, FIELD_COOKIE, FIELD_SERVER, FIELD_EXPECT},
    [7] = {FIELD_UPGRADE, FIELD_TRAILER},
    [10] = {FIELD_CONNECTION, FIELD_KEEP_ALIVE},
    [11] = {FIELD_RETRY_AFTER, FIELD_TRACEPARENT},
    [14] = {FIELD_CONTENT_LENGTH, FIELD_HTTP2_SETTINGS},
    [15] = {FIELD_X_FORWARDED_FOR},
    [16] = {FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PORT, FIELD_PROXY_CONNECTION},
    [17] = {FIELD_TRANSFER_ENCODING, FIELD_X_FORWARDED_PROTO},
};

enum field_id field_id_find(struct slice name) {
    if (name.n > LONGEST_NAME || name.n == 0) return FIELD_OTHER;
    const uint8_t *row = by_length[name.n];
    for (int i = 0; i < SAME_LENGTH_MAX && row[i] != FIELD_OTHER; i++) {
        struct slice known = names[row[i]];
        if (((known.p[0] ^ name.p[0]) & ~0x20) == 0 && slice_eq_nocase(known, name)) return (enum field_id)row[i];
    }
    return FIELD_OTHER;
}

struct slice field_id_name(enum field_id id) {
    LG_ASSERT((unsigned)id < FIELD_COUNT);
    return names[id];
}

struct field *fields_find(const struct fields *f, enum field_id id) {
    if (!fields_had(f, id)) return NULL;
    for (struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (at->id == id && !at->drop) return at;
    return NULL;
}

static bool field_is_named(const struct field *f, enum field_id id, struct slice name) {
    return f->id == id && !f->drop && (id != FIELD_OTHER || slice_eq_nocase(f->name, name));
}

struct field *fields_find_name(const struct fields *f, struct slice name) {
    enum field_id id = field_id_find(name);
    if (id != FIELD_OTHER) return fields_find(f, id);
    for (struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (field_is_named(at, id, name)) return at;
    return NULL;
}

static bool add(struct fields *f, enum field_id id, struct slice name, struct slice value) {
    if (f->count >= f->room) return false;
    f->v[f->count++] = (struct field){.name = name, .value = value, .id = (uint16_t)id};
    f->ids |= UINT32_C(1) << id;
    return true;
}

bool fields_add(struct fields *f, struct slice name, struct slice value) {
    return add(f, field_id_find(name), name, value);
}

bool fields_add_known(struct fields *f, enum field_id id, struct slice value) {
    return add(f, id, field_id_name(id), value);
}

unsigned fields_drop(struct fields *f, enum field_id id) {
    unsigned dropped = 0;
    for (struct field *at; (at = fields_find(f, id)) != NULL; dropped++) at->drop = true;
    return dropped;
}

unsigned fields_drop_name(struct fields *f, struct slice name) {
    unsigned dropped = 0;
    enum field_id id = field_id_find(name);
    for (struct field *at = f->v, *end = f->v + f->count; at < end; at++) {
        if (!field_is_named(at, id, name)) continue;
        at->drop = true;
        dropped++;
    }
    return dropped;
}

static bool list_has(struct slice list, struct slice token) {
    for (struct slice part; slice_split(&list, ',', &part);)
        if (slice_eq_nocase(slice_trim(part), token)) return true;
    return false;
}

bool fields_list_has(const struct fields *f, enum field_id id, struct slice token) {
    if (!fields_had(f, id)) return false;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (at->id == id && !at->drop && list_has(at->value, token)) return true;
    return false;
}

/* Authentication, request modifiers, response control (RFC 9110 section 6.5.1), and what LoomGate's own table does not
 * know of routing. */
static const struct slice not_in_trailers[] = {
    {"Authorization", 13},
    {"Proxy-Authorization", 19},
    {"WWW-Authenticate", 16},
    {"Proxy-Authenticate", 18},
    {"Set-Cookie", 10},
    {"Max-Forwards", 12},
    {"Cache-Control", 13},
    {"Pragma", 6},
    {"Range", 5},
    {"If-Match", 8},
    {"If-None-Match", 13},
    {"If-Modified-Since", 17},
    {"If-Unmodified-Since", 19},
    {"If-Range", 8},
    {"Age", 3},
    {"Expires", 7},
    {"Location", 8},
    {"Vary", 4},
    {"Warning", 7},
    {"Forwarded", 9},
    {"X-Real-IP", 9},
    {"X-HTTP-Method-Override", 22},
};

bool field_may_trail(struct slice name) {
    if (field_id_find(name) != FIELD_OTHER) return false; /* each of them says how to treat the message */
    if (name.n > 8 && slice_eq_nocase(slice_from(name.p, 8), SLICE("Content-"))) return false;
    for (size_t i = 0; i < LG_COUNT(not_in_trailers); i++)
        if (slice_eq_nocase(name, not_in_trailers[i])) return false;
    return true;
}

/* RFC 9110 section 5.6.2: tchar. */
static const bool token_chars[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

bool slice_is_token(struct slice s) {
    if (s.n == 0) return false;
    unsigned good = 1;
    for (size_t i = 0; i < s.n; i++) good &= token_chars[(unsigned char)s.p[i]];
    return good;
}

const char *token_end(const char *p) {
    while (token_chars[(unsigned char)*p]) p++;
    return p;
}

bool slice_is_field_value(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}
