/* params.c: the named parts of a query and of a Cookie field. */
#include "loomgate/http/params.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool percent_decodes_to(struct slice text, struct slice want) {
    size_t at = 0;
    for (size_t i = 0; i < text.n; i++, at++) {
        char c = text.p[i];
        int high = c == '%' && text.n - i > 2 ? hex_digit(text.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.p[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (at == want.n || want.p[at] != c) return false;
    }
    return at == want.n;
}

/* "name=value" at its first "="; without one the value is empty. */
static struct slice cut_name(struct slice *part) {
    size_t at = slice_find(*part, '=');
    struct slice name = slice_from(part->p, at);
    size_t used = at < part->n ? at + 1 : at;
    *part = slice_from(part->p + used, part->n - used);
    return name;
}

bool query_next(struct slice *rest, struct slice name, struct slice *value) {
    while (slice_split(rest, '&', value))
        if (percent_decodes_to(cut_name(value), name)) return true;
    return false;
}

bool cookie_next(struct slice *rest, struct slice name, struct slice *value) {
    while (slice_split(rest, ';', value)) {
        *value = slice_trim(*value);
        if (slice_eq(cut_name(value), name)) return true;
    }
    return false;
}
