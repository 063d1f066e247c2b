/* h1_scan.c: finds line ends and refuses controls in heads, eight bytes at a time. */
#include "h1_internal.h"

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Whether a byte below 0x20 or a DEL is among the eight (Bit Twiddling Hacks, "hasless" and "haszero"). */
static bool word_has_control(uint64_t w) {
    uint64_t low = (w - ONES * 0x20) & ~w;
    uint64_t del = w ^ (ONES * 0x7f);
    return ((low | ((del - ONES) & ~del)) & HIGHS) != 0;
}

static bool is_control(unsigned char c) {
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

enum h1_scan h1_scan_line(const char *p, uint32_t *at, uint32_t end) {
    uint32_t i = *at;
    for (;;) {
        uint64_t w;
        while (end - i >= sizeof w && (memcpy(&w, p + i, sizeof w), !word_has_control(w))) i += (uint32_t)sizeof w;
        uint32_t stop = end - i < sizeof w ? end : i + (uint32_t)sizeof w;
        while (i < stop && !is_control((unsigned char)p[i])) i++;
        if (i < stop) break;
        if (i == end) return *at = i, H1_SCAN_MORE;
    }
    *at = i;
    if (p[i] != '\r') return H1_SCAN_BAD;
    if (i + 1 == end) return H1_SCAN_MORE;
    if (p[i + 1] != '\n') return H1_SCAN_BAD;
    *at = i + 2;
    return H1_SCAN_LINE;
}
