/* yaml_text.c: what must hold for a text before libyaml sees it, so that errors are clear and time is bounded. */
#include "yaml_internal.h"

/* libyaml compares each directive with all before it. */
enum { DIRECTIVES_MAX = 16 };

static bool is_continuation(const unsigned char *p, const unsigned char *end) {
    return p < end && (*p & 0xc0) == 0x80;
}

/* The bytes of the UTF-8 character at `p` (RFC 3629: shortest form, no surrogates), 0 for anything else. */
static size_t utf8_len(const unsigned char *p, const unsigned char *end) {
    if (*p < 0x80) return 1;
    if (!is_continuation(p + 1, end)) return 0;
    if (*p >= 0xc2 && *p <= 0xdf) return 2;
    if (!is_continuation(p + 2, end)) return 0;
    if (*p >= 0xe0 && *p <= 0xef) {
        bool is_long = *p == 0xe0 && p[1] < 0xa0, is_surrogate = *p == 0xed && p[1] > 0x9f;
        return is_long || is_surrogate ? 0 : 3;
    }
    if (!is_continuation(p + 3, end)) return 0;
    if (*p >= 0xf0 && *p <= 0xf4) {
        bool is_long = *p == 0xf0 && p[1] < 0x90, is_past = *p == 0xf4 && p[1] > 0x8f;
        return is_long || is_past ? 0 : 4;
    }
    return 0;
}

/* What is wrong with the character at `p`, which is `n` bytes long (0: no character); NULL when nothing is. */
static const char *find_flaw(const unsigned char *p, size_t n) {
    if (n == 0) return "this is not UTF-8 text";
    if (*p == 0) return "this is not text: it holds a NUL byte";
    if ((*p < 0x20 && *p != '\t' && *p != '\n' && *p != '\r') || *p == 0x7f) return "a control character";
    if (n == 2 && *p == 0xc2 && p[1] < 0xa0 && p[1] != 0x85) return "a control character";
    return NULL;
}

bool yaml_is_text(struct slice text) {
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    while (p < end) {
        size_t n = utf8_len(p, end);
        if (find_flaw(p, n)) return false;
        p += n;
    }
    return true;
}

bool yaml_text_is_sound(struct diagnostics *d, const struct source *source) {
    const unsigned char *p = (const unsigned char *)source->text.p, *end = p + source->text.n;
    struct place at = {source, 1, 1};
    unsigned directives = 0;
    while (p < end) {
        size_t n = utf8_len(p, end);
        const char *flaw = find_flaw(p, n);
        if (*p == '%' && at.column == 1 && ++directives > DIRECTIVES_MAX) flaw = "too many YAML directives";
        if (flaw) {
            diagnostics_add(d, SEVERITY_ERROR, at, NULL, "%s", flaw);
            return false;
        }
        bool is_break = *p == '\n' || (*p == '\r' && !(p + 1 < end && p[1] == '\n'));
        at.line += is_break;
        at.column = is_break ? 1 : at.column + 1;
        p += n;
    }
    return true;
}
