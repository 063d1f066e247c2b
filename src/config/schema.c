/* schema.c: reads maps by their tables: finds the row, reads the value by its type, stores it, tells what is wrong.
 *
 *   schema_read: map -> key -> row -> setting_read -> by type: scalar | text | pairs | list | map | custom -> struct
 *                        \-> unknown: nearest word               \-> LATER: "is not supported yet" */
#include "loomgate/config/schema.h"

#include "schema_internal.h"

#include <stdio.h>

/* --- words ------------------------------------------------------------------------------------------------------ */

bool nearest_word(struct slice word, const char *const *words, size_t count, char *out, size_t room) {
    enum { CANDIDATES = 500 };
    unsigned best = UINT32_MAX;
    const char *nearest = NULL;
    for (size_t i = 0; i < count && i < CANDIDATES; i++) {
        unsigned distance = slice_distance(word, slice_of(words[i]));
        if (distance >= best) continue;
        best = distance;
        nearest = words[i];
    }
    if (!nearest || best > 1 + word.n / 4 || best >= strlen(nearest)) return false;
    snprintf(out, room, "did you mean '%s'?", nearest);
    return true;
}

/* A list of words for a hint: "known are a, b, c, ...". */
static void join_words(char *out, size_t room, const char *intro, const char *const *words, size_t count) {
    enum { WORDS_SHOWN = 16 };
    size_t n = (size_t)snprintf(out, room, "%s", intro), i = 0;
    for (; i < count && i < WORDS_SHOWN && n + 80 < room; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%.70s", i ? ", " : " ", words[i]);
    if (i < count) snprintf(out + n, room - n, ", ...");
}

void hint_words(char *out, size_t room, struct slice word, const char *intro, const char *const *words, size_t count) {
    size_t n = 0;
    if (nearest_word(word, words, count, out, room)) {
        n = strlen(out);
        n += (size_t)snprintf(out + n, room - n, " ");
    }
    join_words(out + n, room - n, intro, words, count);
}

/* --- what is wrong ---------------------------------------------------------------------------------------------- */

/* Not more of a value than a line bears. */
int shown_len(struct slice s) {
    return (int)(s.n < 60 ? s.n : 60);
}

bool tell_complaint(struct loader *l, const struct setting *row, const struct node *at, const struct complaint *c) {
    return diagnostics_add(l->d, SEVERITY_ERROR, at->place, c->hint[0] ? c->hint : NULL, "'%s': %s", row->key, c->text);
}

static bool tell_unknown_key(struct loader *l, const struct settings_table *table, const struct node *key) {
    const char *words[64];
    char hint[400] = "";
    size_t count = 0;
    for (size_t i = 0; i < table->count && count < LG_COUNT(words); i++) words[count++] = table->rows[i].key;
    bool is_full = diagnostics_is_full(l->d, SEVERITY_ERROR);
    if (!is_full && !nearest_word(key->text, words, count, hint, sizeof hint))
        join_words(hint, sizeof hint, "known keys:", words, count);
    return diagnostics_add(l->d, SEVERITY_ERROR, key->place, hint, "unknown key '%.*s' in %s", shown_len(key->text),
                           key->text.p, table->what);
}

bool tell_kind(struct loader *l, const struct setting *row, const struct node *value, const char *wanted) {
    const char *hint = NULL;
    if (node_is_null(value))
        return diagnostics_add(l->d, SEVERITY_ERROR, value->place, NULL, "'%s' has no value; it takes %s", row->key,
                               wanted);
    if (row->type == SETTING_ADDRESS && value->kind == NODE_LIST) hint = "quote an address with brackets: \"[::1]:80\"";
    if (row->type == SETTING_LIST && value->kind == NODE_SCALAR) hint = "write a list: [ONE, TWO]";
    return diagnostics_add(l->d, SEVERITY_ERROR, value->place, hint, "'%s' takes %s, not %s", row->key, wanted,
                           node_kind_name(value));
}

static bool tell_later(struct loader *l, const struct setting *row, const struct node *key, const struct node *value) {
    if (row->flags & LATER || value->kind != NODE_SCALAR)
        return diagnostics_add(l->d, SEVERITY_ERROR, key ? key->place : value->place, NULL, "'%s' is not supported yet",
                               row->key);
    const char *only = row->type == SETTING_ENUM   ? row->words[0].word
                       : row->type == SETTING_BOOL ? "false"
                       : row->flags & OFF_TOO      ? "off"
                                                   : "0";
    char hint[100];
    snprintf(hint, sizeof hint, "so far only '%s: %s' is", row->key, only);
    return diagnostics_add(l->d, SEVERITY_ERROR, value->place, hint, "'%s: %.*s' is not supported yet", row->key,
                           shown_len(value->text), value->text.p);
}

/* --- lists and maps --------------------------------------------------------------------------------------------- */

static bool read_item(struct loader *l, const struct setting *list, const struct node *value, void *slot) {
    const struct setting *item = list->item;
    if (list->item_size && item->type == SETTING_MAP) schema_set_defaults(l, item->table, slot);
    return setting_read(l, item, NULL, value, slot);
}

static bool read_list(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    struct node_entry alone = {NULL, NULL, value};
    const struct node_entry *first = value->first;
    uint32_t count = value->count;
    if (row->flags & ONE_OR_LIST && value->kind != NODE_LIST && !node_is_null(value))
        first = &alone, count = 1;
    else if (value->kind != NODE_LIST && !node_is_null(value))
        return tell_kind(l, row, value, "a list");
    if (count < row->min)
        return diagnostics_add(l->d, SEVERITY_ERROR, value->place, NULL, "'%s' needs at least one", row->key);
    char scratch[1] = "";
    char *items = arena_calloc(l->arena, count * row->item_size + 1);
    uint32_t stored = 0;
    bool ok = true;
    for (const struct node_entry *e = first; e; e = e->next)
        if (read_item(l, row, e->value, row->item_size ? items + stored * row->item_size : scratch))
            stored++;
        else
            ok = false;
    if (!row->item_size) return ok;
    setting_store(row, base, &items);
    memcpy((char *)base + row->also, &stored, sizeof stored);
    return ok;
}

static void set_switch(const struct setting *row, void *base, bool is_on) {
    if (row->flags & OFF_TOO && row->also) memcpy((char *)base + row->also, &is_on, sizeof is_on);
}

static const struct node *empty_map(struct loader *l, struct place place) {
    struct node *n = arena_calloc(l->arena, sizeof *n);
    n->kind = NODE_MAP;
    n->place = place;
    return n;
}

static bool read_map(struct loader *l, const struct setting *row, const struct node *value, void *base,
                     uint64_t *number) {
    struct complaint c;
    bool flag;
    if (row->flags & OFF_TOO && value->kind == NODE_SCALAR && !node_is_null(value)) {
        if (!boolean_parse(value->text, &flag, &c)) return tell_kind(l, row, value, "a map, 'on' or 'off'");
        if (!flag) {
            *number = 0;
            set_switch(row, base, false);
            return true;
        }
        value = empty_map(l, value->place); /* `on`: as it comes */
    }
    void *inner = (char *)base + row->offset;
    const struct settings_table *table = row->table;
    if (table->shorthand && value->kind == NODE_SCALAR) {
        bool ok = setting_read(l, schema_find(table, slice_of(table->shorthand)), NULL, value, inner);
        return ok && (!table->finish || table->finish(l, table, value, inner));
    }
    if (value->kind != NODE_MAP && !(node_is_null(value) && !(row->flags & OFF_TOO)))
        return tell_kind(l, row, value, row->flags & OFF_TOO ? "a map, 'on' or 'off'" : "a map");
    set_switch(row, base, true);
    *number = 1;
    return schema_read(l, table, value, inner);
}

/* --- one value, one map ----------------------------------------------------------------------------------------- */

static bool read_by_type(struct loader *l, const struct setting *row, const struct node *value, void *base,
                         uint64_t *number) {
    switch (row->type) {
    case SETTING_NAME:
    case SETTING_TEXT:
    case SETTING_BYTES:
        return read_text(l, row, value, base);
    case SETTING_ADDRESS:
    case SETTING_CIDR:
        return read_address(l, row, value, base);
    case SETTING_PAIRS:
        return read_pairs(l, row, value, base);
    case SETTING_BACKEND:
        return read_backend(l, row, value, base);
    case SETTING_LIST:
        return read_list(l, row, value, base);
    case SETTING_MAP:
        return read_map(l, row, value, base, number);
    case SETTING_CUSTOM:
        return row->parse(l, row, value, base);
    default:
        return read_number(l, row, value, base, number);
    }
}

bool setting_read(struct loader *l, const struct setting *row, const struct node *key, const struct node *value,
                  void *base) {
    uint64_t number = 1;
    if (value->kind == NODE_BAD || !read_by_type(l, row, value, base, &number)) return false;
    bool is_later = row->flags & LATER || (row->flags & LATER_UNLESS_ZERO && number != 0);
    return !is_later || tell_later(l, row, key, value);
}

const struct setting *schema_find(const struct settings_table *table, struct slice key) {
    for (size_t i = 0; i < table->count; i++)
        if (slice_is(key, table->rows[i].key)) return &table->rows[i];
    return NULL;
}

static bool check_required(struct loader *l, const struct settings_table *table, const struct node *map) {
    bool ok = true;
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (!(row->flags & REQUIRED) || node_find(map, row->key)) continue;
        ok = diagnostics_add(l->d, SEVERITY_ERROR, map->place, NULL, "'%s' is missing in %s", row->key, table->what);
    }
    return ok;
}

bool schema_read(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    bool ok = true;
    for (const struct node_entry *e = map->first; e; e = e->next) {
        const struct setting *row = schema_find(table, e->key->text);
        bool read = row ? setting_read(l, row, e->key, e->value, base) : tell_unknown_key(l, table, e->key);
        ok = ok && read;
    }
    ok = check_required(l, table, map) && ok;
    return (!table->finish || table->finish(l, table, map, base)) && ok;
}

/* "a, b" to the list that one would write for it. */
static void split_fallback(struct arena *a, struct node *value) {
    struct slice rest = value->text, word;
    struct node_entry **last = &value->first;
    value->kind = NODE_LIST;
    while (slice_split(&rest, ',', &word)) {
        struct node_entry *e = arena_calloc(a, sizeof *e);
        e->value = node_new_scalar(a, value->place, slice_trim(word));
        *last = e;
        last = &e->next;
        value->count++;
    }
}

void schema_set_defaults(struct loader *l, const struct settings_table *table, void *base) {
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        bool has_map = row->type == SETTING_MAP || (row->type == SETTING_ENUM && row->table);
        if (has_map && row->width) schema_set_defaults(l, row->table, (char *)base + row->offset);
        if (!row->fallback || !row->width) continue;
        struct node value = {.kind = NODE_SCALAR, .text = slice_of(row->fallback)};
        if (row->type == SETTING_LIST) split_fallback(l->arena, &value);
        uint64_t number;
        LG_ASSERT(read_by_type(l, row, &value, base, &number));
    }
}

bool schema_refuse_flagged(struct loader *l, const struct settings_table *table, const struct node *map,
                           enum setting_flags flag, const char *why) {
    bool ok = true;
    for (const struct node_entry *e = map->first; e; e = e->next) {
        const struct setting *row = schema_find(table, e->key->text);
        if (!row) continue;
        if (row->flags & flag)
            ok = diagnostics_add(l->d, SEVERITY_ERROR, e->key->place, NULL, "'%s' %s", row->key, why);
        else if (row->type == SETTING_MAP && e->value->kind == NODE_MAP)
            ok = schema_refuse_flagged(l, row->table, e->value, flag, why) && ok;
    }
    return ok;
}
