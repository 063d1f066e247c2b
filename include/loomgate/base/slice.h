/* slice.h: borrowed bytes: a pointer and a length, never owned, never NUL-terminated by promise. */
#ifndef LOOMGATE_BASE_SLICE_H
#define LOOMGATE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
#define SLICE_ARG(s)   (int)(s).n, (s).p /* for "%.*s" */

static inline struct slice slice_of(const char *text) {
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline struct slice slice_from(const char *p, size_t n) {
    return (struct slice){p, n};
}

static inline bool slice_eq(struct slice a, struct slice b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *text) {
    return slice_eq(a, slice_of(text));
}

static inline char ascii_lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool slice_eq_nocase(struct slice a, struct slice b); /* ASCII letters only */
bool slice_has_prefix(struct slice s, struct slice prefix);
bool slice_has_suffix(struct slice s, struct slice suffix);
struct slice slice_trim(struct slice s); /* spaces and tabs off both ends */
/* The position of the first `c`, or s.n. */
size_t slice_find(struct slice s, char c);
/* Cuts the part before the first `sep` off `*rest` (all of it when there is none) and returns it. False when `*rest`
 * was used up (`rest->p` NULL) before. */
bool slice_split(struct slice *rest, char sep, struct slice *part);
/* Decimal digits only, no sign, no spaces, at least one; false on anything else and on overflow past `max`. */
bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out);
/* The edit distance of two words (Damerau-Levenshtein, adjacent swaps count one), for "did you mean"; words over 64
 * bytes are infinitely far (UINT32_MAX). */
unsigned slice_distance(struct slice a, struct slice b);

#endif
