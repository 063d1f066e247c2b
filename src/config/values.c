/* values.c: durations, sizes, ratios, booleans, numbers and names of the configuration language. */
#include "loomgate/config/values.h"

#include "loomgate/base/macros.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"h", 3600000000}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1},
};
static const struct unit size_units[] = {
    {"TiB", 1ULL << 40}, {"GiB", 1ULL << 30},   {"MiB", 1ULL << 20},
    {"KiB", 1ULL << 10}, {"TB", 1000000000000}, {"GB", 1000000000},
    {"MB", 1000000},     {"KB", 1000},          {"B", 1},
};

bool complain(struct complaint *c, const char *hint, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(c->text, sizeof c->text, format, args);
    va_end(args);
    snprintf(c->hint, sizeof c->hint, "%s", hint ? hint : "");
    return false;
}

/* For "%.*s" in a complaint: not more of a value than a line bears. */
#define SHOWN(s) (int)((s).n < 60 ? (s).n : 60), (s).p

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Cuts the digits off the front. */
static bool take_number(struct slice *s, uint64_t *value) {
    size_t n = 0;
    while (n < s->n && is_digit(s->p[n])) n++;
    if (!slice_to_u64(slice_from(s->p, n), UINT64_MAX, value)) return false;
    *s = slice_from(s->p + n, s->n - n);
    return true;
}

/* Cuts the letters off the front. */
static struct slice take_word(struct slice *s) {
    size_t n = 0;
    while (n < s->n && !is_digit(s->p[n])) n++;
    struct slice word = slice_from(s->p, n);
    *s = slice_from(s->p + n, s->n - n);
    return word;
}

static bool refuse_duration(struct slice s, struct complaint *c) {
    uint64_t number;
    char hint[120] = "write it like 250us, 25ms, 2s, 1m30s or 1h";
    if (slice_to_u64(s, UINT64_MAX, &number)) {
        snprintf(hint, sizeof hint, "write %" PRIu64 "s, %" PRIu64 "ms or %" PRIu64 "m", number, number, number);
        return complain(c, hint, "the duration '%.*s' has no unit", SHOWN(s));
    }
    if (slice_find(s, '.') < s.n) snprintf(hint, sizeof hint, "durations have no fractions: write 1s500ms for 1.5s");
    return complain(c, hint, "'%.*s' is not a duration", SHOWN(s));
}

bool duration_parse(struct slice s, uint64_t *us, struct complaint *c) {
    struct slice rest = s;
    uint64_t sum = 0;
    size_t unit = 0; /* each part must have a smaller unit than the one before */
    if (slice_is(s, "0")) return *us = 0, true;
    do {
        uint64_t number;
        if (!take_number(&rest, &number)) return refuse_duration(s, c);
        struct slice word = take_word(&rest);
        while (unit < LG_COUNT(time_units) && !slice_is(word, time_units[unit].name)) unit++;
        if (unit == LG_COUNT(time_units)) return refuse_duration(s, c);
        if (number > (SETTING_UNSET / 2 - sum) / time_units[unit].factor)
            return complain(c, NULL, "the duration '%.*s' is too long", SHOWN(s));
        sum += number * time_units[unit++].factor;
    } while (rest.n);
    *us = sum;
    return true;
}

void duration_print(uint64_t us, char out[VALUE_TEXT_MAX]) {
    size_t n = 0;
    out[0] = '0', out[1] = '\0';
    for (size_t i = 0; i < LG_COUNT(time_units) && us > 0; i++) {
        uint64_t count = us / time_units[i].factor;
        us %= time_units[i].factor;
        if (count) n += (size_t)snprintf(out + n, VALUE_TEXT_MAX - n, "%" PRIu64 "%s", count, time_units[i].name);
    }
}

/* The unit somebody may have meant, as in 16k. */
static bool refuse_size(struct slice s, uint64_t number, struct slice word, struct complaint *c) {
    char hint[120] = "write bytes, or with a unit: 16KiB (1024) or 16KB (1000), MiB, GiB";
    char letter = word.n ? ascii_lower(word.p[0]) : ' ';
    if (word.n && word.n <= 3 && strchr("kmgt", letter)) {
        char upper = (char)(letter - ('a' - 'A'));
        snprintf(hint, sizeof hint, "write %" PRIu64 "%ciB or %" PRIu64 "%cB", number, upper, number, upper);
    }
    return complain(c, hint, "'%.*s' is not a size", SHOWN(s));
}

bool size_parse(struct slice s, uint64_t *bytes, struct complaint *c) {
    struct slice rest = s;
    uint64_t number;
    if (!take_number(&rest, &number)) return refuse_size(s, 0, slice_from(NULL, 0), c);
    if (rest.n == 0) return *bytes = number, true;
    for (size_t i = 0; i < LG_COUNT(size_units); i++) {
        if (!slice_is(rest, size_units[i].name)) continue;
        if (number > INT64_MAX / size_units[i].factor)
            return complain(c, NULL, "the size '%.*s' is too large", SHOWN(s));
        *bytes = number * size_units[i].factor;
        return true;
    }
    return refuse_size(s, number, rest, c);
}

void size_print(uint64_t bytes, char out[VALUE_TEXT_MAX]) {
    for (size_t i = 0; i < 4 && bytes; i++) { /* the binary units */
        if (bytes % size_units[i].factor) continue;
        snprintf(out, VALUE_TEXT_MAX, "%" PRIu64 "%s", bytes / size_units[i].factor, size_units[i].name);
        return;
    }
    snprintf(out, VALUE_TEXT_MAX, "%" PRIu64, bytes);
}

bool ratio_parse(struct slice s, double *ratio, struct complaint *c) {
    struct slice rest = s;
    uint64_t whole = 0, part = 0, scale = 1;
    bool ok = take_number(&rest, &whole);
    if (ok && rest.n && rest.p[0] == '.') {
        struct slice digits = slice_from(rest.p + 1, rest.n - 1), at = digits;
        ok = digits.n <= 19 && take_number(&at, &part);
        for (size_t i = 0; ok && i < digits.n - at.n; i++) scale = scale < 1000000000 ? scale * 10 : scale;
        ok = ok && digits.n - at.n <= 9;
        rest = at;
    }
    bool is_percent = ok && slice_is(rest, "%");
    double value = ((double)whole + (double)part / (double)scale) / (is_percent ? 100 : 1);
    if (!ok || (rest.n && !is_percent) || !(value <= 1))
        return complain(c, "write 50% or 0.5", "'%.*s' is not a ratio from 0 to 1", SHOWN(s));
    *ratio = value;
    return true;
}

bool boolean_parse(struct slice s, bool *value, struct complaint *c) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < LG_COUNT(words); i++)
        if (slice_eq_nocase(s, slice_of(words[i]))) return *value = i % 2, true;
    return complain(c, "write true or false", "'%.*s' is neither true nor false", SHOWN(s));
}

bool number_parse(struct slice s, uint64_t *value, struct complaint *c) {
    if (s.n > 1 && s.p[0] == '0' && is_digit(s.p[1]))
        return complain(c, "numbers are decimal: write no leading 0", "'%.*s' begins with 0", SHOWN(s));
    if (slice_to_u64(s, UINT64_MAX, value)) return true;
    return complain(c, NULL, "'%.*s' is not a whole number", SHOWN(s));
}

/* --- lists of status codes -------------------------------------------------------------------------------------- */

/* "200" or "200-299": both ends. */
static bool status_range_parse(struct slice s, uint64_t *from, uint64_t *to) {
    size_t dash = slice_find(s, '-');
    bool ok = slice_to_u64(slice_trim(slice_from(s.p, dash)), 599, from);
    *to = *from;
    if (ok && dash < s.n) ok = slice_to_u64(slice_trim(slice_from(s.p + dash + 1, s.n - dash - 1)), 599, to);
    return ok && *from >= 100 && *from <= *to;
}

bool status_list_check(struct slice s, struct complaint *c) {
    struct slice rest = s, part;
    uint64_t from = 0, to = 0;
    bool ok = s.n > 0 && s.p[s.n - 1] != ',';
    while (ok && slice_split(&rest, ',', &part)) ok = status_range_parse(part, &from, &to);
    return ok || complain(c, "write \"200-399\" or \"200,204\"", "'%.*s' are no status codes", SHOWN(s));
}

bool status_list_has(const char *list, unsigned status) {
    struct slice rest = slice_of(list), part;
    uint64_t from = 0, to = 0;
    while (slice_split(&rest, ',', &part))
        if (status_range_parse(part, &from, &to) && status >= from && status <= to) return true;
    return false;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

bool name_check(struct slice s, struct complaint *c) {
    static const char hint[] = "names are 1 to 64 letters, digits and _ . : -";
    if (s.n == 0 || s.n > 64) return complain(c, hint, "a name of %zu characters", s.n);
    for (size_t i = 0; i < s.n; i++) {
        char low = ascii_lower(s.p[i]);
        bool ok = (low >= 'a' && low <= 'z') || is_digit(low) || (low && strchr("_.:-", low));
        if (!ok) return complain(c, hint, "'%.*s' is not a name", SHOWN(s));
    }
    return true;
}
