/* schema_reference.c: the settings tables as markdown, for the page of the configuration language.
 *
 * Each table stands behind a line `<!-- settings: PATH -->`, by which tests/doc_check.py finds it in a page. */
#include "schema_internal.h"

#include <stdarg.h>
#include <stdio.h>

enum { TABLES_MAX = 64, CELL_MAX = 600 };

static const char *const type_words[] = {
    [SETTING_DURATION] = "duration", [SETTING_SIZE] = "size",    [SETTING_INTEGER] = "number",
    [SETTING_BOOL] = "boolean",      [SETTING_ENUM] = "word",    [SETTING_RATIO] = "ratio",
    [SETTING_NAME] = "name",         [SETTING_TEXT] = "text",    [SETTING_BYTES] = "text",
    [SETTING_ADDRESS] = "address",   [SETTING_CIDR] = "network", [SETTING_PAIRS] = "map of NAME: TEXT",
    [SETTING_BACKEND] = "backend",   [SETTING_LIST] = "list",    [SETTING_MAP] = "map",
    [SETTING_CUSTOM] = "text",
};

struct cell {
    char text[CELL_MAX];
    size_t n;
};

static void cell_add(struct cell *c, const char *format, ...) LG_PRINTF(2, 3);

static void cell_add(struct cell *c, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(c->text + c->n, sizeof c->text - c->n, format, args);
    va_end(args);
    LG_ASSERT(n >= 0 && (size_t)n < sizeof c->text - c->n);
    c->n += (size_t)n;
}

static void add_words(struct cell *c, const struct setting *row) {
    for (const struct setting_word *w = row->words; w && w->word; w++)
        cell_add(c, "%s`%s`", w == row->words ? "" : ", ", w->word);
}

static void add_range(struct cell *c, const struct setting *row) {
    char low[VALUE_TEXT_MAX], high[VALUE_TEXT_MAX];
    if (!row->max && !row->min) return;
    number_print(row, row->min, low);
    number_print(row, setting_max(row), high);
    if (row->max)
        cell_add(c, ", %s to %s", low, high);
    else
        cell_add(c, ", at least %s", low);
}

static void add_value(struct cell *c, const struct setting *row) {
    bool is_number = row->type == SETTING_DURATION || row->type == SETTING_SIZE || row->type == SETTING_INTEGER;
    if (row->value) {
        cell_add(c, "%s", row->value);
        return;
    }
    if (row->type == SETTING_LIST) {
        if (row->flags & ONE_OR_LIST) cell_add(c, "one or a ");
        cell_add(c, "list of ");
        if (row->item->type == SETTING_MAP && row->item->table->shorthand) {
            add_value(c, schema_find(row->item->table, slice_of(row->item->table->shorthand)));
            cell_add(c, " or ");
        }
        add_value(c, row->item);
        return;
    }
    if (row->type == SETTING_ENUM) {
        add_words(c, row);
        if (row->table) cell_add(c, " or a map");
        return;
    }
    cell_add(c, "%s", type_words[row->type]);
    if (is_number) add_range(c, row);
    if (row->type == SETTING_INTEGER && row->words) {
        cell_add(c, ", or ");
        add_words(c, row);
    }
    if (row->flags & OFF_TOO) cell_add(c, ", `on` or `off`");
}

static void add_help(struct cell *c, const struct setting *row) {
    cell_add(c, "%s", row->help);
    if (row->flags & HTTP_ONLY) cell_add(c, "; only with `mode: http`");
    if (row->flags & LATER) cell_add(c, ". **Not supported yet**");
    if (row->flags & LATER_UNLESS_ZERO) {
        const char *only = row->type == SETTING_ENUM   ? row->words[0].word
                           : row->type == SETTING_BOOL ? "false"
                           : row->flags & OFF_TOO      ? "off"
                                                       : "0";
        cell_add(c, ". **Not supported yet**, but for `%s`", only);
    }
}

static void print_row(const struct setting *row, FILE *out) {
    struct cell value = {0}, help = {0};
    add_value(&value, row);
    add_help(&help, row);
    bool is_list = row->fallback && row->type == SETTING_LIST;
    const char *open = is_list ? "`[" : row->fallback ? "`" : "", *close = is_list ? "]`" : open;
    const char *fallback = row->fallback ? row->fallback : row->flags & REQUIRED ? "required" : "-";
    fprintf(out, "| `%s` | %s | %s%s%s | %s | %s |\n", row->key, value.text, open, fallback, close,
            row->reload == RELOAD_RESTART ? "restart" : "live", help.text);
}

static void print_table(const struct settings_table *table, FILE *out) {
    fprintf(out, "<!-- settings: %s -->\n", table->path);
    fprintf(out, "| key | value | default | change | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < table->count; i++) print_row(&table->rows[i], out);
    fputc('\n', out);
}

struct seen {
    const struct settings_table *v[TABLES_MAX];
    size_t count;
};

static void collect(struct seen *seen, const struct settings_table *table) {
    for (size_t i = 0; i < seen->count; i++)
        if (seen->v[i] == table) return;
    LG_ASSERT(seen->count < TABLES_MAX);
    seen->v[seen->count++] = table;
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (row->table) collect(seen, row->table);
        if (row->item && row->item->table) collect(seen, row->item->table);
    }
}

void schema_print_reference(const struct settings_table *table, FILE *out) {
    struct seen seen = {.count = 0};
    collect(&seen, table);
    for (size_t i = 0; i < seen.count; i++) print_table(seen.v[i], out);
}
