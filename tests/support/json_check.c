/* json_check.c: is a text one valid JSON value (RFC 8259), in valid UTF-8? */
#include "json_check.h"

enum { DEPTH_MAX = 32, NAMES_MAX = 64 };

struct cursor {
    const char *at, *end;
    int depth;
};

static bool value(struct cursor *c);

static void spaces(struct cursor *c) {
    while (c->at < c->end && memchr(" \t\r\n", *c->at, 4)) c->at++;
}

static bool take(struct cursor *c, char want) {
    spaces(c);
    if (c->at == c->end || *c->at != want) return false;
    c->at++;
    return true;
}

static int hex4(const struct cursor *c) {
    int v = 0;
    if (c->end - c->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef", *d = memchr(digits, ascii_lower(c->at[i]), 16);
        if (!d) return -1;
        v = v * 16 + (int)(d - digits);
    }
    return v;
}

static bool escape(struct cursor *c) {
    if (c->at == c->end) return false;
    char kind = *c->at++;
    if (kind != 'u') return memchr("\"\\/bfnrt", kind, 8) != NULL;
    int v = hex4(c);
    if (v < 0) return false;
    c->at += 4;
    if (v < 0xd800 || v > 0xdfff) return true;
    if (v > 0xdbff || c->end - c->at < 6 || c->at[0] != '\\' || c->at[1] != 'u') return false;
    c->at += 2;
    v = hex4(c);
    c->at += 4;
    return v >= 0xdc00 && v <= 0xdfff;
}

/* One character of two bytes or more: decoded, it must not fit a shorter form, be a surrogate or too large. */
static bool utf8(struct cursor *c) {
    unsigned first = (unsigned char)*c->at++, more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    static const unsigned least[] = {0, 0x80, 0x800, 0x10000};
    if (first < 0xc0 || first > 0xf7) return false;
    unsigned v = first & (0x3fU >> more);
    for (unsigned i = 0; i < more; i++) {
        if (c->at == c->end || ((unsigned char)*c->at & 0xc0) != 0x80) return false;
        v = v << 6 | ((unsigned char)*c->at++ & 0x3f);
    }
    return v >= least[more] && v <= 0x10ffff && (v < 0xd800 || v > 0xdfff);
}

static bool string(struct cursor *c) {
    if (!take(c, '"')) return false;
    while (c->at < c->end) {
        unsigned char b = (unsigned char)*c->at;
        if (b >= 0x80) {
            if (!utf8(c)) return false;
            continue;
        }
        c->at++;
        if (b == '"') return true;
        if (b < 0x20 || (b == '\\' && !escape(c))) return false;
    }
    return false;
}

static bool digits(struct cursor *c) {
    const char *from = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return c->at > from;
}

static bool number(struct cursor *c) {
    if (c->at < c->end && *c->at == '-') c->at++;
    bool zero = c->at < c->end && *c->at == '0';
    const char *from = c->at;
    if (!digits(c) || (zero && c->at - from > 1)) return false;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!digits(c)) return false;
    }
    if (c->at < c->end && ascii_lower(*c->at) == 'e') {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-')) c->at++;
        return digits(c);
    }
    return true;
}

static bool word(struct cursor *c, struct slice want) {
    if ((size_t)(c->end - c->at) < want.n || memcmp(c->at, want.p, want.n) != 0) return false;
    c->at += want.n;
    return true;
}

static bool object(struct cursor *c) {
    struct slice names[NAMES_MAX];
    size_t count = 0;
    if (take(c, '}')) return true;
    do {
        spaces(c);
        const char *from = c->at;
        if (count == NAMES_MAX || !string(c)) return false;
        names[count] = slice_from(from, (size_t)(c->at - from));
        for (size_t i = 0; i < count; i++)
            if (slice_eq(names[i], names[count])) return false;
        count++;
        if (!take(c, ':') || !value(c)) return false;
    } while (take(c, ','));
    return take(c, '}');
}

static bool array(struct cursor *c) {
    if (take(c, ']')) return true;
    do
        if (!value(c)) return false;
    while (take(c, ','));
    return take(c, ']');
}

static bool nested(struct cursor *c, bool (*inside)(struct cursor *)) {
    c->at++;
    if (++c->depth > DEPTH_MAX || !inside(c)) return false;
    c->depth--;
    return true;
}

static bool value(struct cursor *c) {
    spaces(c);
    if (c->at == c->end) return false;
    switch (*c->at) {
    case '{':
        return nested(c, object);
    case '[':
        return nested(c, array);
    case '"':
        return string(c);
    case 't':
        return word(c, SLICE("true"));
    case 'f':
        return word(c, SLICE("false"));
    case 'n':
        return word(c, SLICE("null"));
    default:
        return number(c);
    }
}

bool json_is_valid(struct slice text) {
    struct cursor c = {.at = text.p, .end = text.p + text.n};
    if (!value(&c)) return false;
    spaces(&c);
    return c.at == c.end;
}

struct slice json_member(struct slice text, const char *name) {
    const struct slice none = {NULL, 0};
    struct cursor c = {.at = text.p, .end = text.p + text.n};
    if (!take(&c, '{')) return none;
    do {
        spaces(&c);
        const char *from = c.at;
        if (!string(&c)) return none;
        bool found = slice_is(slice_from(from + 1, (size_t)(c.at - from) - 2), name);
        if (!take(&c, ':')) return none;
        spaces(&c);
        from = c.at;
        if (!value(&c)) return none;
        if (found) return slice_from(from, (size_t)(c.at - from));
    } while (take(&c, ','));
    return none;
}

/* UTF-8 of a character below U+10000 (our own writers escape nothing beyond). */
static size_t encode(unsigned v, char out[3]) {
    if (v < 0x80) {
        out[0] = (char)v;
        return 1;
    }
    if (v < 0x800) {
        out[0] = (char)(0xc0 | v >> 6);
        out[1] = (char)(0x80 | (v & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | v >> 12);
    out[1] = (char)(0x80 | (v >> 6 & 0x3f));
    out[2] = (char)(0x80 | (v & 0x3f));
    return 3;
}

size_t json_unescape(struct slice string_text, char *out, size_t room) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    struct cursor c = {.at = string_text.p + 1, .end = string_text.p + string_text.n - 1};
    size_t n = 0;
    while (c.at < c.end && n < room) {
        char unit[3] = {*c.at++};
        size_t size = 1;
        if (unit[0] == '\\') {
            char kind = *c.at++;
            const char *known = memchr(from, kind, sizeof from - 1);
            if (known) unit[0] = to[known - from];
            if (kind == 'u') {
                size = encode((unsigned)hex4(&c), unit);
                c.at += 4;
            }
        }
        if (room - n < size) break;
        memcpy(out + n, unit, size);
        n += size;
    }
    return n;
}
