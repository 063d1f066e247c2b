/* log_escape.c: rendering helpers of the log: strings that cannot forge a record, and the time. */
#include "log_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* In which styles an ASCII byte stands for itself. */
enum { JSON = 1, WORD = 2, SENTENCE = 4, ALL = JSON | WORD | SENTENCE };
static const uint8_t plain[256] = {
    [' '] = JSON | SENTENCE,  ['!'] = ALL,         ['"'] = SENTENCE,    ['#' ... '&'] = ALL,
    ['\''] = JSON | SENTENCE, ['(' ... '['] = ALL, [']' ... '~'] = ALL,
};

/* The length of the well-formed UTF-8 character of two bytes or more at `p`, or 0 (RFC 3629 section 4). */
static size_t utf8_length(const unsigned char *p, size_t n) {
    size_t len = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
    if (len == 0 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if (p[0] == 0xe0 && p[1] < 0xa0) return 0; /* overlong */
    if (p[0] == 0xed && p[1] > 0x9f) return 0; /* surrogates */
    if (p[0] == 0xf0 && p[1] < 0x90) return 0; /* overlong */
    if (p[0] == 0xf4 && p[1] > 0x8f) return 0; /* past U+10FFFF */
    return len;
}

/* Well-formed, yet a terminal or a line splitter acts on it: C1 controls, line separators, overrides of direction. */
static unsigned utf8_hidden(const unsigned char *p, size_t len) {
    if (len == 2 && p[0] == 0xc2 && p[1] < 0xa0) return p[1];
    if (len == 3 && p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) return 0x2000U | (p[2] & 0x3fU);
    return 0;
}

static size_t hex_unit(char *unit, const char *prefix, unsigned value, int digits) {
    static const char hex[] = "0123456789abcdef";
    size_t n = strlen(prefix);
    memcpy(unit, prefix, n);
    while (digits-- > 0) unit[n++] = hex[value >> (4 * digits) & 15U];
    return n;
}

/* Renders one ASCII byte that is not plain, or one byte that is not UTF-8. */
static size_t escape_byte(char *unit, unsigned char c, unsigned style) {
    if (style != JSON) return hex_unit(unit, "\\x", c, 2);
    char letter = 0;
    switch (c) {
    case '"':
        letter = '"';
        break;
    case '\\':
        letter = '\\';
        break;
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    default:
        return hex_unit(unit, "\\u", c, 4);
    }
    unit[0] = '\\';
    unit[1] = letter;
    return 2;
}

/* Renders the character at `p`, which is not plain, into `unit` (16 bytes); *used is how many bytes it took. */
static size_t escape_unit(char *unit, const unsigned char *p, size_t n, unsigned style, size_t *used) {
    size_t len = utf8_length(p, n);
    *used = len ? len : 1;
    if (len == 0) return escape_byte(unit, *p, style);
    unsigned hidden = utf8_hidden(p, len);
    if (hidden && style == JSON) return hex_unit(unit, "\\u", hidden, 4);
    size_t size = 0;
    for (size_t i = 0; i < len; i++)
        if (hidden)
            size += escape_byte(unit + size, p[i], style);
        else
            unit[size++] = (char)p[i];
    return size;
}

static char *escape(char *at, const char *end, struct slice s, unsigned style) {
    const unsigned char *p = (const unsigned char *)s.p, *stop = p + s.n;
    while (p < stop) {
        if (plain[*p] & style) {
            if (at >= end) break;
            *at++ = (char)*p++;
            continue;
        }
        char unit[16];
        size_t used, size = escape_unit(unit, p, (size_t)(stop - p), style, &used);
        if (end - at < (ptrdiff_t)size) break;
        memcpy(at, unit, size);
        at += size;
        p += used;
    }
    return at;
}

char *log_escape_json(char *at, const char *end, struct slice s) {
    return escape(at, end, s, JSON);
}

char *log_escape_text(char *at, const char *end, struct slice s) {
    return escape(at, end, s, WORD);
}

char *log_escape_sentence(char *at, const char *end, struct slice s) {
    return escape(at, end, s, SENTENCE);
}

uint64_t log_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

static void put_digits(char *at, unsigned value, int digits) {
    while (digits-- > 0) {
        at[digits] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* The calendar from a count of days: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
 * Years start in March there, so that the leap day is a year's last. */
static void put_date(char *out, uint64_t days) {
    uint64_t since = days + 719468; /* days since 0000-03-01 */
    unsigned era = (unsigned)(since / 146097), day_of_era = (unsigned)(since % 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_from_march = (5 * day_of_year + 2) / 153;
    unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    put_digits(out, year_of_era + era * 400 + (month <= 2), 4);
    put_digits(out + 5, month, 2);
    put_digits(out + 8, day_of_year - (153 * month_from_march + 2) / 5 + 1, 2);
}

void log_time(char out[24], uint64_t unix_us) {
    static _Thread_local char text[24] = "0000-00-00T00:00:00.000Z";
    static _Thread_local uint64_t text_ms = UINT64_MAX, text_s = UINT64_MAX;
    uint64_t ms = unix_us / 1000, s = ms / 1000;
    if (s != text_s) {
        put_date(text, s / 86400);
        put_digits(text + 11, (unsigned)(s % 86400 / 3600), 2);
        put_digits(text + 14, (unsigned)(s % 3600 / 60), 2);
        put_digits(text + 17, (unsigned)(s % 60), 2);
        text_s = s;
    }
    if (ms != text_ms) put_digits(text + 20, (unsigned)(ms % 1000), 3);
    text_ms = ms;
    memcpy(out, text, sizeof text);
}
