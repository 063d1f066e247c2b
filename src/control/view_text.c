/* view_text.c: a view for eyes: labels and values, and tables whose columns are aligned. */
#include "view_internal.h"

#include <inttypes.h>
#include <string.h>

#include "loomgate/base/log.h"

enum { COLUMNS_MAX = 48, GAP = 2, NAME_MAX = 64 };

/* --- values ----------------------------------------------------------------------------------------------------- */

void view_format_duration(char out[VIEW_VALUE_MAX], uint64_t us) {
    uint64_t s = us / 1000000;
    if (us < 1000)
        snprintf(out, VIEW_VALUE_MAX, "%" PRIu64 "us", us);
    else if (us < 1000000)
        snprintf(out, VIEW_VALUE_MAX, "%.4gms", (double)us / 1e3);
    else if (s < 60)
        snprintf(out, VIEW_VALUE_MAX, "%.4gs", (double)us / 1e6);
    else if (s < 3600)
        snprintf(out, VIEW_VALUE_MAX, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, VIEW_VALUE_MAX, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(out, VIEW_VALUE_MAX, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

void view_format_bytes(char out[VIEW_VALUE_MAX], uint64_t bytes) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes;
    size_t unit = 0;
    if (bytes < 1024) {
        snprintf(out, VIEW_VALUE_MAX, "%" PRIu64 " B", bytes);
        return;
    }
    size /= 1024;
    while (size >= 1023.95 && unit + 1 < LG_COUNT(units)) {
        size /= 1024;
        unit++;
    }
    snprintf(out, VIEW_VALUE_MAX, "%.1f %s", size, units[unit]);
}

static struct slice escaped(struct arena *a, struct slice text) {
    size_t room = text.n * 4 + 16;
    char *at = arena_alloc(a, room);
    return slice_from(at, (size_t)(log_escape_sentence(at, at + room, text) - at));
}

static struct slice joined(struct arena *a, const struct view_node *list);

/* The text of a value, or of a list of values. */
static struct slice value_text(struct arena *a, const struct view_node *n) {
    char text[VIEW_VALUE_MAX] = "-";
    switch (n->kind) {
    case VIEW_LIST:
        return joined(a, n);
    case VIEW_TEXT:
        return n->u.text.n ? escaped(a, n->u.text) : SLICE("-");
    case VIEW_NUMBER:
        snprintf(text, sizeof text, "%" PRIu64, n->u.number);
        break;
    case VIEW_SIGNED:
        snprintf(text, sizeof text, "%" PRId64, (int64_t)n->u.number);
        break;
    case VIEW_REAL:
        snprintf(text, sizeof text, "%.1f", n->u.real);
        break;
    case VIEW_RATIO:
        snprintf(text, sizeof text, "%.4g%%", n->u.real * 100);
        break;
    case VIEW_DURATION:
        view_format_duration(text, n->u.number);
        break;
    case VIEW_BYTES:
        view_format_bytes(text, n->u.number);
        break;
    case VIEW_TIME:
        log_time(text, n->u.number);
        text[24] = '\0';
        break;
    case VIEW_BOOL:
        return n->u.number ? SLICE("yes") : SLICE("no");
    default:
        break;
    }
    return slice_from(arena_strndup(a, text, strlen(text)), strlen(text));
}

static struct slice joined(struct arena *a, const struct view_node *list) {
    size_t size = 0;
    for (const struct view_node *n = list->first; n; n = n->next) size += value_text(a, n).n + 2;
    if (!size) return SLICE("-");
    char *text = arena_alloc(a, size), *at = text;
    for (const struct view_node *n = list->first; n; n = n->next) {
        struct slice one = value_text(a, n);
        if (n != list->first) memcpy(at, ", ", 2), at += 2;
        memcpy(at, one.p, one.n);
        at += one.n;
    }
    return slice_from(text, (size_t)(at - text));
}

/* Columns on a terminal: characters, not bytes. */
static size_t width_of(struct slice s) {
    size_t width = 0;
    for (size_t i = 0; i < s.n; i++) width += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return width;
}

static void put_spaces(FILE *out, size_t count) {
    fprintf(out, "%*s", (int)count, "");
}

static void put(FILE *out, struct slice s) {
    fwrite(s.p, 1, s.n, out);
}

/* --- tables ----------------------------------------------------------------------------------------------------- */

static bool is_number(enum view_kind kind) {
    return kind == VIEW_NUMBER || kind == VIEW_SIGNED || kind == VIEW_REAL || kind == VIEW_RATIO ||
           kind == VIEW_DURATION || kind == VIEW_BYTES;
}

struct column {
    char name[NAME_MAX]; /* of a value in an object of the row: "object_value" */
    size_t width;
    bool to_the_right;
};

struct table {
    struct arena *arena; /* of the cells */
    struct column columns[COLUMNS_MAX];
    unsigned count;
    struct slice *cells; /* rows * COLUMNS_MAX; where .p is NULL: nothing */
};

static struct column *column_get(struct table *t, const char *name) {
    for (unsigned i = 0; i < t->count; i++)
        if (strcmp(t->columns[i].name, name) == 0) return &t->columns[i];
    LG_ASSERT(t->count < COLUMNS_MAX);
    struct column *c = &t->columns[t->count++];
    snprintf(c->name, sizeof c->name, "%s", name);
    c->width = strlen(c->name);
    return c;
}

static void fill_row(struct table *t, struct slice *row, const struct view_node *object, const char *prefix) {
    for (const struct view_node *n = object->first; n; n = n->next) {
        char name[NAME_MAX];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "_" : "", n->name);
        if (n->kind == VIEW_OBJECT) {
            fill_row(t, row, n, name);
            continue;
        }
        struct column *c = column_get(t, name);
        struct slice text = value_text(t->arena, n);
        if (width_of(text) > c->width) c->width = width_of(text);
        c->to_the_right = c->to_the_right || is_number(n->kind);
        row[c - t->columns] = text;
    }
}

static void put_cell(FILE *out, const struct column *c, struct slice text, bool is_last) {
    size_t pad = c->width - width_of(text);
    if (c->to_the_right) put_spaces(out, pad);
    put(out, text);
    if (!is_last) put_spaces(out, GAP + (c->to_the_right ? 0 : pad));
}

static void put_row(FILE *out, const struct table *t, const struct slice *row, unsigned indent) {
    put_spaces(out, indent);
    for (unsigned i = 0; i < t->count; i++) {
        struct slice head = slice_of(t->columns[i].name);
        put_cell(out, &t->columns[i], !row ? head : row[i].p ? row[i] : SLICE("-"), i + 1 == t->count);
    }
    fputc('\n', out);
}

static void print_table(const struct view_node *list, FILE *out, unsigned indent) {
    struct arena arena;
    arena_init(&arena, NULL, 0);
    struct table *t = arena_calloc(&arena, sizeof *t);
    t->arena = &arena;
    t->cells = arena_calloc(&arena, (size_t)list->count * COLUMNS_MAX * sizeof *t->cells);
    struct slice *row = t->cells;
    for (const struct view_node *n = list->first; n; n = n->next, row += COLUMNS_MAX) fill_row(t, row, n, "");
    put_row(out, t, NULL, indent);
    for (uint32_t i = 0; i < list->count; i++) put_row(out, t, t->cells + (size_t)i * COLUMNS_MAX, indent);
    arena_fini(&arena);
}

/* --- trees ------------------------------------------------------------------------------------------------------ */

static void print_value(const struct view_node *n, FILE *out) {
    struct arena arena;
    arena_init(&arena, NULL, 0);
    put(out, value_text(&arena, n));
    arena_fini(&arena);
    fputc('\n', out);
}

/* An empty line would end the answer. */
static void print_lines(struct slice text, FILE *out) {
    struct slice line;
    while (slice_split(&text, '\n', &line)) {
        if (!line.n) continue;
        put(out, line);
        fputc('\n', out);
    }
}

static bool is_table(const struct view_node *n) {
    return n->kind == VIEW_LIST && n->first && n->first->kind == VIEW_OBJECT;
}

static void print_list(const struct view_node *list, FILE *out, unsigned indent) {
    if (is_table(list)) {
        print_table(list, out, indent);
        return;
    }
    for (const struct view_node *n = list->first; n; n = n->next) {
        put_spaces(out, indent);
        print_value(n, out);
    }
}

static void print_object(const struct view_node *object, FILE *out, unsigned indent) {
    size_t width = 0;
    for (const struct view_node *n = object->first; n; n = n->next)
        if ((view_is_value(n) || n->kind == VIEW_LIST) && !is_table(n) && strlen(n->name) > width)
            width = strlen(n->name);
    for (const struct view_node *n = object->first; n; n = n->next) {
        if (n->kind == VIEW_LINES) {
            print_lines(n->u.text, out);
            continue;
        }
        put_spaces(out, indent);
        if (n->kind == VIEW_OBJECT || is_table(n)) {
            fprintf(out, "%s:\n", n->name);
            (n->kind == VIEW_OBJECT ? print_object : print_list)(n, out, indent + GAP);
        } else {
            fprintf(out, "%-*s", (int)(width + GAP), n->name);
            print_value(n, out);
        }
    }
}

void view_print_text(const struct view_node *node, FILE *out) {
    if (node->kind == VIEW_LINES)
        print_lines(node->u.text, out);
    else if (view_is_value(node))
        print_value(node, out);
    else if (!node->first)
        fputs("none\n", out);
    else
        (node->kind == VIEW_OBJECT ? print_object : print_list)(node, out, 0);
}
