/* facts.c: lines of facts that one version of the program writes and another reads. */
#include "loomgate/base/facts.h"

#include <inttypes.h>

/* --- writing ---------------------------------------------------------------------------------------------------- */

static bool is_plain(unsigned char c) {
    return c > ' ' && c != '%' && c != 0x7f;
}

void facts_begin(FILE *out, const char *kind) {
    fputs(kind, out);
}

void facts_text(FILE *out, const char *key, const char *value) {
    fprintf(out, " %s=", key);
    for (; *value; value++) fprintf(out, is_plain((unsigned char)*value) ? "%c" : "%%%02X", (unsigned char)*value);
}

void facts_number(FILE *out, const char *key, uint64_t value) {
    fprintf(out, " %s=%" PRIu64, key, value);
}

void facts_end(FILE *out) {
    fputc('\n', out);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: it only becomes shorter. A NUL would cut the text, so it stays as it is written. */
static void decode(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        int high = *from == '%' ? digit(from[1]) : -1, low = high >= 0 ? digit(from[2]) : -1;
        if (low < 0 || high + low == 0) {
            *to++ = *from;
            continue;
        }
        *to++ = (char)(high * 16 + low);
        from += 2;
    }
    *to = '\0';
}

bool facts_read(struct facts *f, char *line) {
    char *rest = line, *word;
    f->count = 0;
    f->kind = strsep(&rest, " ");
    if (!*f->kind) return false;
    while ((word = strsep(&rest, " ")) && f->count < FACTS_MAX) {
        char *equals = strchr(word, '=');
        if (!equals || equals == word) continue;
        *equals = '\0';
        decode(equals + 1);
        f->v[f->count++] = (struct fact){word, equals + 1};
    }
    return true;
}

const char *facts_find(const struct facts *f, const char *key) {
    for (unsigned i = 0; i < f->count; i++)
        if (strcmp(f->v[i].key, key) == 0) return f->v[i].value;
    return NULL;
}

bool facts_find_number(const struct facts *f, const char *key, uint64_t max, uint64_t *out) {
    const char *text = facts_find(f, key);
    return text && slice_to_u64(slice_of(text), max, out);
}

uint64_t facts_get_number(const struct facts *f, const char *key) {
    uint64_t number = 0;
    facts_find_number(f, key, UINT64_MAX, &number);
    return number;
}
