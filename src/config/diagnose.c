/* diagnose.c: what is wrong with a configuration, each at its place, printed with the line and a caret. */
#include "loomgate/config/diagnose.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 600, LINE_SHOWN = 120, LINE_BEFORE = 80 };

static const char *const severity_names[] = {"error", "warning"};

void diagnostics_init(struct diagnostics *d) {
    *d = (struct diagnostics){0};
    arena_init(&d->arena, NULL, 0);
    d->last_source = &d->sources;
    config_files_init(&d->files, &d->arena);
}

void diagnostics_fini(struct diagnostics *d) {
    for (struct source *s = d->sources; s; s = s->next) free((char *)(uintptr_t)s->text.p);
    free(d->v);
    arena_fini(&d->arena);
    *d = (struct diagnostics){0};
}

/* --- characters ------------------------------------------------------------------------------------------------- */

/* The bytes of the character at `p`; 1 for a byte that begins none. */
static size_t char_len(const char *p, const char *end) {
    unsigned char c = (unsigned char)*p;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
    if (n > (size_t)(end - p)) return 1;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80) return 1;
    return n;
}

/* Control characters (C0, DEL, C1), the two line separators, what turns a terminal's writing direction, and bytes that
 * are no UTF-8 have no place on somebody's screen. */
static bool char_is_harmless(const char *p, size_t n) {
    unsigned char c = (unsigned char)p[0];
    if (n == 1) return c >= 0x20 && c < 0x7f;
    if (n == 2) return !(c == 0xc2 && (unsigned char)p[1] < 0xa0);
    if (n == 3 && memcmp(p, "\xe2\x80", 2) == 0) return (unsigned char)p[2] < 0xa8 || (unsigned char)p[2] > 0xae;
    return true;
}

/* Writes the text with harmful characters as `instead`; ends in NUL; whole characters only. */
static void copy_harmless(char *out, size_t room, const char *p, size_t len, char instead) {
    const char *end = p + len;
    size_t used = 0;
    while (p < end) {
        size_t n = char_len(p, end);
        bool harmless = char_is_harmless(p, n);
        if (used + n + 1 > room) break;
        if (harmless) {
            memcpy(out + used, p, n);
            used += n;
        } else {
            out[used++] = instead;
        }
        p += n;
    }
    out[used] = '\0';
}

static const char *keep_harmless(struct diagnostics *d, const char *text) {
    char out[SENTENCE_MAX];
    copy_harmless(out, sizeof out, text, strlen(text), '?');
    return arena_strndup(&d->arena, out, strlen(out));
}

/* --- collecting ------------------------------------------------------------------------------------------------- */

const struct source *diagnostics_add_source(struct diagnostics *d, const char *name, char *text, size_t len) {
    struct source *s = arena_calloc(&d->arena, sizeof *s);
    if (text && len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) memmove(text, text + 3, len -= 3);
    s->name = keep_harmless(d, name);
    s->text = slice_from(text, text ? len : 0);
    s->order = d->source_count++;
    *d->last_source = s;
    d->last_source = &s->next;
    return s;
}

bool diagnostics_is_full(const struct diagnostics *d, enum severity severity) {
    return d->kept[severity] >= DIAGNOSTICS_KEPT;
}

size_t diagnostics_count(const struct diagnostics *d, enum severity severity) {
    return d->total[severity];
}

static int compare_places(const struct place *a, const struct place *b) {
    if (a->source->order != b->source->order) return a->source->order < b->source->order ? -1 : 1;
    if (a->line != b->line) return a->line < b->line ? -1 : 1;
    if (a->column != b->column) return a->column < b->column ? -1 : 1;
    return 0;
}

static bool is_known(const struct diagnostics *d, struct place place, const char *text) {
    for (size_t i = 0; i < d->count; i++)
        if (compare_places(&d->v[i].place, &place) == 0 && strcmp(d->v[i].text, text) == 0) return true;
    return false;
}

bool diagnostics_add(struct diagnostics *d, enum severity severity, struct place place, const char *hint,
                     const char *format, ...) {
    if (diagnostics_is_full(d, severity)) {
        d->total[severity]++;
        return false;
    }
    char text[SENTENCE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *kept = keep_harmless(d, text);
    if (is_known(d, place, kept)) return false;
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 16;
        d->v = xrealloc(d->v, d->room * sizeof *d->v);
    }
    d->v[d->count] =
        (struct diagnostic){severity, place, kept, hint ? keep_harmless(d, hint) : NULL, (uint32_t)d->count};
    d->count++;
    d->kept[severity]++;
    d->total[severity]++;
    d->is_sorted = false;
    return false;
}

static int compare_diagnostics(const void *a, const void *b) {
    const struct diagnostic *x = a, *y = b;
    int by_place = compare_places(&x->place, &y->place);
    if (by_place) return by_place;
    return x->order < y->order ? -1 : x->order > y->order;
}

const struct diagnostic *diagnostics_find(struct diagnostics *d, size_t index) {
    if (index >= d->count) return NULL;
    if (!d->is_sorted) qsort(d->v, d->count, sizeof *d->v, compare_diagnostics);
    d->is_sorted = true;
    return &d->v[index];
}

/* --- printing --------------------------------------------------------------------------------------------------- */

/* The bytes of the line break at `p` (0: none), as YAML 1.1 breaks lines, so that counts agree with the parser's. */
static size_t break_len(const char *p, const char *end) {
    if (*p == '\n') return 1;
    if (*p == '\r') return p + 1 < end && p[1] == '\n' ? 2 : 1;
    if (end - p >= 2 && memcmp(p, "\xc2\x85", 2) == 0) return 2;
    if (end - p >= 3 && (memcmp(p, "\xe2\x80\xa8", 3) == 0 || memcmp(p, "\xe2\x80\xa9", 3) == 0)) return 3;
    return 0;
}

static bool find_line(struct slice text, uint32_t line, struct slice *out) {
    const char *p = text.p, *end = text.p + text.n;
    for (uint32_t at = 1; at < line; at++) {
        size_t n = 0;
        while (p < end && (n = break_len(p, end)) == 0) p++;
        if (p >= end) return false;
        p += n;
    }
    const char *stop = p;
    while (stop < end && break_len(stop, end) == 0) stop++;
    *out = slice_from(p, (size_t)(stop - p));
    return true;
}

/* Moves `count` characters on, at most to the end. */
static const char *skip_chars(const char *p, const char *end, uint32_t count) {
    while (count-- > 0 && p < end) p += char_len(p, end);
    return p;
}

/* The line and a caret; of a long line only the part around the column. */
static void print_line(struct slice line, uint32_t column, FILE *out) {
    const char *end = line.p + line.n;
    uint32_t first = column > LINE_BEFORE + 1 ? column - LINE_BEFORE : 1;
    const char *from = skip_chars(line.p, end, first - 1);
    const char *to = skip_chars(from, end, LINE_SHOWN);
    char shown[LINE_SHOWN * 4 + 1];
    copy_harmless(shown, sizeof shown, from, (size_t)(to - from), ' ');
    const char *before = first > 1 ? "..." : "", *after = to < end ? "..." : "";
    fprintf(out, "%s%s%s\n", before, shown, after);
    fprintf(out, "%*s^\n", (int)(strlen(before) + (column - first)), "");
}

static void print_one(const struct diagnostic *one, FILE *out) {
    const struct place *at = &one->place;
    fputs(at->source->name, out);
    if (at->line) fprintf(out, ":%u:%u", at->line, at->column);
    fprintf(out, ": %s: %s\n", severity_names[one->severity], one->text);
    struct slice line;
    if (at->line && at->source->text.n && find_line(at->source->text, at->line, &line))
        print_line(line, at->column, out);
    if (one->hint) fprintf(out, "  hint: %s\n", one->hint);
}

void diagnostics_print(struct diagnostics *d, FILE *out) {
    size_t shown[2] = {0, 0};
    const struct diagnostic *one;
    for (size_t i = 0; (one = diagnostics_find(d, i)) != NULL; i++)
        if (shown[one->severity]++ < DIAGNOSTICS_SHOWN) print_one(one, out);
    for (int s = SEVERITY_ERROR; s <= SEVERITY_WARNING; s++) {
        size_t more = d->total[s] > DIAGNOSTICS_SHOWN ? d->total[s] - DIAGNOSTICS_SHOWN : 0;
        if (more) fprintf(out, "%zu more %s%s\n", more, severity_names[s], more == 1 ? "" : "s");
    }
}
