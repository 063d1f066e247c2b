/* h1_scan.c: finds line ends and refuses controls in heads, many bytes at a time. */
#include "h1_internal.h"

#include <endian.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS (ONES * 0x80)

/* The high bit of every byte below 0x20 and of every DEL. Of those marked the lowest is one of them, or a "~" behind a
 * byte of 0xff: only then does the sum, only behind it the difference, carry over into the next byte. */
static uint64_t mark_controls(uint64_t w) {
    return ((w - ONES * 0x20) | (w + ONES)) & ~w & HIGHS;
}

#ifdef __SSE2__
/* The same of sixteen bytes, one bit for each and no mistake. */
static unsigned mark_controls_16(const char *p) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)p);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f))));
}
#endif

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

const char *h1_find_control(const char *p, const char *end) {
#ifdef __SSE2__
    for (; end - p >= 16; p += 16) {
        unsigned marks = mark_controls_16(p);
        if (marks) return p + __builtin_ctz(marks);
    }
#endif
    uint64_t w;
    while ((size_t)(end - p) >= sizeof w) {
        memcpy(&w, p, sizeof w);
        uint64_t marks = mark_controls(le64toh(w));
        if (marks == 0) {
            p += sizeof w;
            continue;
        }
        p += __builtin_ctzll(marks) / 8;
        if (is_control((unsigned char)*p)) return p;
        p++;
    }
    while (p < end && !is_control((unsigned char)*p)) p++;
    return p;
}

enum h1_scan h1_scan_line(const char *p, uint32_t *at, uint32_t end) {
    const char *found = p + *at;
    while ((found = h1_find_control(found, p + end)) < p + end && *found == '\t') found++;
    uint32_t i = *at = (uint32_t)(found - p);
    if (i == end) return H1_SCAN_MORE;
    if (p[i] != '\r') return H1_SCAN_BAD;
    if (i + 1 == end) return H1_SCAN_MORE;
    if (p[i + 1] != '\n') return H1_SCAN_BAD;
    *at = i + 2;
    return H1_SCAN_LINE;
}

/* The line that ends at `at` is empty: in front of its CR LF is another one, or nothing. */
static bool line_is_empty(const char *p, uint32_t at) {
    return at == 2 || p[at - 3] == '\n';
}

static bool line_is_folded(const char *p, uint32_t at, uint32_t end) {
    if (at == end || (at > 0 && p[at - 1] != '\n')) return false;
    return p[at] == ' ' || p[at] == '\t';
}

enum h1_scan h1_scan_fields(const char *p, uint32_t *at, uint32_t end) {
    enum h1_scan found;
    do {
        if (line_is_folded(p, *at, end)) return H1_SCAN_BAD;
        found = h1_scan_line(p, at, end);
    } while (found == H1_SCAN_LINE && !line_is_empty(p, *at));
    return found;
}
