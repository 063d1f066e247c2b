/* schema_values.c: reads the values of the settings tables that are not lists or maps: numbers, words, texts,
 * addresses, names of backends, pairs. */
#include "schema_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* --- numbers ---------------------------------------------------------------------------------------------------- */

static const char *const type_names[] = {
    [SETTING_DURATION] = "a duration",
    [SETTING_SIZE] = "a size",
    [SETTING_INTEGER] = "a number",
    [SETTING_BOOL] = "true or false",
    [SETTING_ENUM] = "a word",
    [SETTING_RATIO] = "a ratio",
    [SETTING_NAME] = "a name",
    [SETTING_TEXT] = "text",
    [SETTING_BYTES] = "text",
    [SETTING_ADDRESS] = "an address",
    [SETTING_CIDR] = "a network",
    [SETTING_PAIRS] = "a map of names to texts",
    [SETTING_BACKEND] = "the name of a backend",
    [SETTING_LIST] = "a list",
    [SETTING_MAP] = "a map",
    [SETTING_CUSTOM] = "text",
};

/* A ratio is read as a number of these parts. */
#define RATIO_UNIT 1e9

static const struct setting_word *find_word(const struct setting_word *words, struct slice text) {
    for (; words && words->word; words++)
        if (slice_is(text, words->word)) return words;
    return NULL;
}

static bool refuse_word(const struct setting *row, struct slice text, struct complaint *c) {
    const char *words[32];
    size_t count = 0;
    for (const struct setting_word *w = row->words; w->word && count < LG_COUNT(words); w++) words[count++] = w->word;
    complain(c, NULL, "'%.*s' is not known here", shown_len(text), text.p);
    hint_words(c->hint, sizeof c->hint, text, "allowed:", words, count);
    return false;
}

static bool parse_number(const struct setting *row, struct slice text, uint64_t *number, struct complaint *c) {
    bool flag;
    double ratio;
    const struct setting_word *word = find_word(row->words, text);
    if (word) return *number = word->value, true;
    switch (row->type) {
    case SETTING_DURATION:
        return duration_parse(text, number, c);
    case SETTING_SIZE:
        return size_parse(text, number, c);
    case SETTING_INTEGER:
        return number_parse(text, number, c);
    case SETTING_BOOL:
        return boolean_parse(text, &flag, c) && (*number = flag, true);
    case SETTING_RATIO:
        return ratio_parse(text, &ratio, c) && (*number = (uint64_t)(ratio * RATIO_UNIT + 0.5), true);
    default:
        return refuse_word(row, text, c);
    }
}

void number_print(const struct setting *row, uint64_t number, char out[VALUE_TEXT_MAX]) {
    if (row->type == SETTING_DURATION)
        duration_print(number, out);
    else if (row->type == SETTING_SIZE)
        size_print(number, out);
    else
        snprintf(out, VALUE_TEXT_MAX, "%" PRIu64, number);
}

uint64_t setting_max(const struct setting *row) {
    if (row->max) return row->max;
    if (row->type == SETTING_DURATION) return DURATION_MAX;
    if (row->width == 2) return UINT16_MAX;
    if (row->width == 4) return INT32_MAX;
    return INT64_MAX;
}

static bool check_range(const struct setting *row, uint64_t number, struct complaint *c) {
    bool has_range = row->type == SETTING_DURATION || row->type == SETTING_SIZE || row->type == SETTING_INTEGER;
    uint64_t max = setting_max(row);
    if (!has_range || (number >= row->min && number <= max)) return true;
    char low[VALUE_TEXT_MAX], high[VALUE_TEXT_MAX], is[VALUE_TEXT_MAX], hint[2 * VALUE_TEXT_MAX + 20];
    number_print(row, row->min, low);
    number_print(row, max, high);
    number_print(row, number, is);
    snprintf(hint, sizeof hint, "allowed: %s to %s", low, high);
    return complain(c, hint, "%s is too %s", is, number < row->min ? "small" : "large");
}

void setting_store(const struct setting *row, void *base, const void *from) {
    if (row->width) memcpy((char *)base + row->offset, from, row->width);
}

static void store_number(const struct setting *row, void *base, uint64_t number) {
    uint8_t one = (uint8_t)number;
    uint16_t two = (uint16_t)number;
    uint32_t four = (uint32_t)number;
    double ratio = (double)number / RATIO_UNIT;
    if (row->type == SETTING_RATIO) {
        setting_store(row, base, &ratio);
        return;
    }
    setting_store(row, base,
                  row->width == 1   ? (void *)&one
                  : row->width == 2 ? (void *)&two
                  : row->width == 4 ? (void *)&four
                                    : (void *)&number);
}

bool read_number(struct loader *l, const struct setting *row, const struct node *value, void *base, uint64_t *number) {
    struct complaint c;
    if (row->type == SETTING_ENUM && row->table && value->kind == NODE_MAP)
        return *number = UINT64_MAX, schema_read(l, row->table, value, (char *)base + row->offset);
    if (value->kind != NODE_SCALAR || node_is_null(value)) return tell_kind(l, row, value, type_names[row->type]);
    bool is_word = find_word(row->words, value->text) != NULL;
    if (!parse_number(row, value->text, number, &c) || (!is_word && !check_range(row, *number, &c)))
        return tell_complaint(l, row, value, &c);
    store_number(row, base, *number);
    return true;
}

/* --- texts ------------------------------------------------------------------------------------------------------ */

static bool check_text(const struct setting *row, struct slice text, struct complaint *c) {
    if (row->type == SETTING_NAME && !name_check(text, c)) return false;
    if (row->type != SETTING_BYTES && text.n && memchr(text.p, '\0', text.n))
        return complain(c, NULL, "a text with a NUL character");
    if (row->type == SETTING_TEXT && text.n == 0 && !(row->flags & ALLOW_EMPTY))
        return complain(c, NULL, "an empty text");
    return !row->check || row->check(text, c);
}

bool read_text(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    struct complaint c;
    if (value->kind != NODE_SCALAR || node_is_null(value)) return tell_kind(l, row, value, type_names[row->type]);
    if (!check_text(row, value->text, &c)) return tell_complaint(l, row, value, &c);
    const char *copy = arena_strndup(l->arena, value->text.p, value->text.n);
    struct slice bytes = slice_from(copy, value->text.n);
    setting_store(row, base, row->type == SETTING_BYTES ? (void *)&bytes : (void *)&copy);
    return true;
}

bool read_address(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    struct complaint c;
    struct address_setting address;
    struct cidr net;
    if (value->kind != NODE_SCALAR || node_is_null(value)) return tell_kind(l, row, value, type_names[row->type]);
    bool is_net = row->type == SETTING_CIDR;
    bool ok = is_net ? cidr_parse(value->text, &net, &c)
                     : address_parse(value->text, row->flags & LISTENS, l->arena, &address, &c);
    if (!ok) return tell_complaint(l, row, value, &c);
    setting_store(row, base, is_net ? (void *)&net : (void *)&address);
    return true;
}

bool read_backend(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    char hint[400] = "";
    if (value->kind != NODE_SCALAR || node_is_null(value)) return tell_kind(l, row, value, type_names[row->type]);
    uintptr_t found = (uintptr_t)map_find(&l->backend_map, value->text);
    if (found) {
        l->backend_used[found - 1] = true;
        store_number(row, base, found - 1);
        return true;
    }
    if (!l->backend_count)
        snprintf(hint, sizeof hint, "there are no backends at all");
    else if (!diagnostics_is_full(l->d, SEVERITY_ERROR))
        hint_words(hint, sizeof hint, value->text, "there are:", l->backend_names, l->backend_count);
    return diagnostics_add(l->d, SEVERITY_ERROR, value->place, hint, "'%s': there is no backend '%.*s'", row->key,
                           shown_len(value->text), value->text.p);
}

bool read_pairs(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    if (value->kind != NODE_MAP && !node_is_null(value)) return tell_kind(l, row, value, type_names[row->type]);
    struct name_value *v = arena_calloc(l->arena, (value->count + 1) * sizeof *v);
    struct name_values pairs = {v, 0};
    bool ok = true;
    for (const struct node_entry *e = value->first; e; e = e->next) {
        struct complaint c;
        struct setting name = {.key = row->key, .type = SETTING_TEXT, .check = row->check};
        struct setting text = {.key = e->key->text.p,
                               .type = SETTING_TEXT,
                               .flags = ALLOW_EMPTY,
                               .width = sizeof(char *),
                               .check = row->item ? row->item->check : NULL};
        struct name_value *pair = &v[pairs.count];
        if (!check_text(&name, e->key->text, &c)) {
            ok = tell_complaint(l, row, e->key, &c);
            continue;
        }
        if (e->value->kind == NODE_BAD || !read_text(l, &text, e->value, &pair->value)) {
            ok = false;
            continue;
        }
        pair->name = arena_strndup(l->arena, e->key->text.p, e->key->text.n);
        pairs.count++;
    }
    setting_store(row, base, &pairs);
    return ok;
}
