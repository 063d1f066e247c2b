/* slice.c: borrowed bytes: comparing, trimming, splitting, numbers. */
#include "loomgate/base/slice.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS (ONES * 0x80)

/* Eight bytes with their letters in lower case: the high bit of each byte's sum tells that it is not below a limit. */
static uint64_t word_lower(uint64_t w) {
    uint64_t ascii = w & ~HIGHS;
    uint64_t from_a = ascii + ONES * (0x80 - 'A'), behind_z = ascii + ONES * (0x80 - ('Z' + 1));
    uint64_t capitals = from_a & ~behind_z & ~w & HIGHS;
    return w | capitals >> 2; /* 0x80 to 0x20 */
}

static bool words_are_equal(const char *a, const char *b) {
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x == y || word_lower(x) == word_lower(y);
}

bool slice_eq_nocase(struct slice a, struct slice b) {
    enum { WORD = sizeof(uint64_t) };
    if (a.n != b.n) return false;
    if (a.n >= WORD) {
        for (size_t i = 0; i < a.n - WORD; i += WORD)
            if (!words_are_equal(a.p + i, b.p + i)) return false;
        return words_are_equal(a.p + a.n - WORD, b.p + b.n - WORD);
    }
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i])) return false;
    return true;
}

bool slice_has_prefix(struct slice s, struct slice prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool slice_has_suffix(struct slice s, struct slice suffix) {
    return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}

struct slice slice_trim(struct slice s) {
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
    return s;
}

size_t slice_find(struct slice s, char c) {
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? (size_t)(at - s.p) : s.n;
}

bool slice_split(struct slice *rest, char sep, struct slice *part) {
    if (!rest->p) return false;
    size_t at = slice_find(*rest, sep);
    *part = slice_from(rest->p, at);
    if (at == rest->n)
        *rest = (struct slice){NULL, 0};
    else
        *rest = slice_from(rest->p + at + 1, rest->n - at - 1);
    return true;
}

bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (value > max) return false;
    *out = value;
    return true;
}

unsigned slice_distance(struct slice a, struct slice b) {
    enum { LONGEST = 64 };
    if (a.n > LONGEST || b.n > LONGEST) return UINT32_MAX;
    /* Three rows of the dynamic program: i-2, i-1 and i. */
    unsigned rows[3][LONGEST + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    for (unsigned j = 0; j <= b.n; j++) last[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned best = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (now[j - 1] + 1 < best) best = now[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1];
            if (swapped && before[j - 2] + 1 < best) best = before[j - 2] + 1;
            now[j] = best;
        }
        unsigned *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}
