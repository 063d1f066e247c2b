/* fields.c: header and trailer fields: the known names as a table, lookup, lists, editing. */
#include "loomgate/http/fields.h"

#include "loomgate/base/macros.h"

static const struct slice names[FIELD_COUNT] = {[FIELD_OTHER] = {"", 0},
#define X(id, name, cls) [FIELD_##id] = {name, sizeof(name) - 1},
                                                FIELD_TABLE(X)
#undef X
};

/* A place of its own for every known name, by its length, its first letter and the one at three quarters of it; the
 * test of fields.c looks every row of the table up. */
#define PLACE(n, first, late) (((n)*2u + ((first) | 0x20u) + ((late) | 0x20u) * 7u) % 64)
static const uint8_t by_place[64] = {
    [PLACE(2, 't', 'e')] = FIELD_TE,
    [PLACE(4, 'h', 't')] = FIELD_HOST,
    [PLACE(4, 'd', 'e')] = FIELD_DATE,
    [PLACE(6, 'a', 'p')] = FIELD_ACCEPT,
    [PLACE(6, 'c', 'i')] = FIELD_COOKIE,
    [PLACE(6, 's', 'e')] = FIELD_SERVER,
    [PLACE(6, 'e', 'c')] = FIELD_EXPECT,
    [PLACE(7, 'u', 'd')] = FIELD_UPGRADE,
    [PLACE(7, 't', 'e')] = FIELD_TRAILER,
    [PLACE(10, 'c', 'i')] = FIELD_CONNECTION,
    [PLACE(10, 'k', 'i')] = FIELD_KEEP_ALIVE,
    [PLACE(11, 'r', 't')] = FIELD_RETRY_AFTER,
    [PLACE(11, 't', 'e')] = FIELD_TRACEPARENT,
    [PLACE(14, 'c', 'n')] = FIELD_CONTENT_LENGTH,
    [PLACE(14, 'h', 'i')] = FIELD_HTTP2_SETTINGS,
    [PLACE(15, 'x', '-')] = FIELD_X_FORWARDED_FOR,
    [PLACE(16, 'x', 'h')] = FIELD_X_FORWARDED_HOST,
    [PLACE(16, 'x', 'p')] = FIELD_X_FORWARDED_PORT,
    [PLACE(16, 'p', 't')] = FIELD_PROXY_CONNECTION,
    [PLACE(17, 't', 'o')] = FIELD_TRANSFER_ENCODING,
    [PLACE(17, 'x', 'p')] = FIELD_X_FORWARDED_PROTO,
};

/* The only one that it may be. */
static enum field_id guess_id(struct slice name) {
    if (name.n == 0) return FIELD_OTHER;
    return (enum field_id)by_place[PLACE(name.n, (unsigned char)name.p[0], (unsigned char)name.p[name.n * 3 / 4])];
}

static bool is_named(struct slice name, enum field_id id) {
    return names[id].n == name.n && slice_eq_nocase(names[id], name);
}

enum field_id field_id_find(struct slice name) {
    enum field_id id = guess_id(name);
    return is_named(name, id) ? id : FIELD_OTHER;
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

/* A new field of no known name; NULL when there is no room. */
static struct field *append(struct fields *f, struct slice name, struct slice value) {
    if (f->count >= f->room) return NULL;
    struct field *at = &f->v[f->count++];
    *at = (struct field){.name = name, .value = value, .id = FIELD_OTHER};
    return at;
}

static void set_id(struct fields *f, struct field *at, enum field_id id) {
    at->id = (uint16_t)id;
    f->ids |= UINT32_C(1) << id;
}

bool fields_add(struct fields *f, struct slice name, struct slice value) {
    struct field *at = append(f, name, value);
    if (!at) return false;
    enum field_id id = guess_id(name);
    if (is_named(name, id)) set_id(f, at, id);
    return true;
}

bool fields_add_known(struct fields *f, enum field_id id, struct slice value) {
    struct field *at = append(f, field_id_name(id), value);
    if (at) set_id(f, at, id);
    return at != NULL;
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
const bool token_chars[256] = {
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

bool slice_is_field_value(struct slice s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}
