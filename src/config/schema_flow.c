/* schema_flow.c: what is stored for a row, compared with another, and as YAML on one line. */
#include "schema_internal.h"

#include <stdlib.h>

/* --- the same or not -------------------------------------------------------------------------------------------- */

static bool text_is_printed_eq(const struct setting *row, const struct printer *pa, const void *a,
                               const struct printer *pb, const void *b) {
    char *text[2] = {NULL, NULL};
    size_t len[2];
    for (int i = 0; i < 2; i++) {
        struct printer p = i ? *pb : *pa;
        p.out = open_memstream(&text[i], &len[i]);
        LG_ASSERT(p.out != NULL);
        setting_print(&p, row, i ? b : a);
        fclose(p.out);
    }
    bool same = slice_eq(slice_from(text[0], len[0]), slice_from(text[1], len[1]));
    free(text[0]);
    free(text[1]);
    return same;
}

static bool address_is_eq(const struct address_setting *a, const struct address_setting *b) {
    char key_a[ADDRESS_KEY_MAX], key_b[ADDRESS_KEY_MAX];
    return slice_eq(slice_from(key_a, address_key(a, key_a)), slice_from(key_b, address_key(b, key_b)));
}

static bool cidr_is_eq(const struct cidr *a, const struct cidr *b) {
    return a->bits == b->bits && memcmp(&a->ip, &b->ip, sizeof a->ip) == 0;
}

bool setting_eq(const struct setting *row, const struct printer *pa, const void *a, const struct printer *pb,
                const void *b) {
    switch (row->type) {
    case SETTING_NAME:
    case SETTING_TEXT:
        return strcmp(setting_text(row, a), setting_text(row, b)) == 0;
    case SETTING_BYTES:
        return slice_eq(*(const struct slice *)setting_at(row, a), *(const struct slice *)setting_at(row, b));
    case SETTING_ADDRESS:
        return address_is_eq(setting_at(row, a), setting_at(row, b));
    case SETTING_CIDR:
        return cidr_is_eq(setting_at(row, a), setting_at(row, b));
    case SETTING_BACKEND:
        return strcmp(pa->backends[setting_number(row, a)].name, pb->backends[setting_number(row, b)].name) == 0;
    case SETTING_CUSTOM:
        return text_is_printed_eq(row, pa, a, pb, b);
    default:
        return setting_number(row, a) == setting_number(row, b);
    }
}

static bool list_is_eq(const struct printer *p, const struct setting *row, const void *a, const void *b) {
    uint32_t count = setting_count(row, a);
    if (count != setting_count(row, b)) return false;
    if (row->item->type == SETTING_MAP) return count == 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = i * row->item_size;
        if (!setting_eq(row->item, p, setting_text(row, a) + at, p, setting_text(row, b) + at)) return false;
    }
    return true;
}

static bool is_default(const struct printer *p, const struct setting *row, const void *base, const void *defaults);

static bool map_is_default(const struct printer *p, const struct settings_table *table, const void *base,
                           const void *defaults) {
    for (size_t i = 0; i < table->count; i++)
        if (setting_is_set(p, &table->rows[i], base) && !is_default(p, &table->rows[i], base, defaults)) return false;
    return true;
}

/* Of a row that is set. A map that is there by a decision of its own is never left out. */
static bool is_default(const struct printer *p, const struct setting *row, const void *base, const void *defaults) {
    if (!setting_is_set(p, row, defaults)) return false;
    bool is_map = setting_is_map(row, base);
    if (is_map != setting_is_map(row, defaults)) return false;
    if (is_map) {
        bool is_off = setting_is_off(row, base);
        if (is_off || is_off != setting_is_off(row, defaults)) return is_off == setting_is_off(row, defaults);
        return !row->is_set && map_is_default(p, row->table, setting_at(row, base), setting_at(row, defaults));
    }
    if (!row->fallback) return false;
    if (row->type == SETTING_LIST) return list_is_eq(p, row, base, defaults);
    return setting_eq(row, p, base, p, defaults);
}

/* --- printing --------------------------------------------------------------------------------------------------- */

static void print_pairs(struct printer *p, const struct name_values *pairs) {
    fputc('{', p->out);
    for (uint32_t i = 0; i < pairs->count; i++) {
        fputs(i ? ", " : "", p->out);
        yaml_print_text(p->out, slice_of(pairs->v[i].name));
        fputs(": ", p->out);
        yaml_print_text(p->out, slice_of(pairs->v[i].value));
    }
    fputc('}', p->out);
}

void *schema_new_defaults(struct arena *a, const struct settings_table *table, size_t size) {
    struct loader l = {.arena = a};
    void *base = arena_calloc(a, size);
    schema_set_defaults(&l, table, base);
    return base;
}

static void print_list(struct printer *p, const struct setting *row, const void *base) {
    const struct setting *item = row->item;
    uint32_t count = setting_count(row, base);
    bool is_alone = row->flags & ONE_OR_LIST && count == 1;
    void *defaults =
        item->type == SETTING_MAP && count ? schema_new_defaults(p->scratch, item->table, row->item_size) : NULL;
    if (!is_alone) fputc('[', p->out);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i ? ", " : "", p->out);
        setting_print_flow(p, item, setting_text(row, base) + i * row->item_size, defaults);
    }
    if (!is_alone) fputc(']', p->out);
}

void setting_print_flow(struct printer *p, const struct setting *row, const void *base, const void *defaults) {
    if (row->type == SETTING_PAIRS)
        print_pairs(p, setting_at(row, base));
    else if (row->type == SETTING_LIST)
        print_list(p, row, base);
    else if (!setting_is_map(row, base))
        setting_print(p, row, base);
    else if (setting_is_off(row, base))
        fputs("off", p->out);
    else
        schema_print_flow(p, row->table, setting_at(row, base), setting_at(row, defaults));
}

void schema_print_flow(struct printer *p, const struct settings_table *table, const void *base, const void *defaults) {
    const struct setting *only = NULL;
    uint32_t shown = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (setting_is_set(p, row, base) && !is_default(p, row, base, defaults)) only = row, shown++;
    }
    if (shown == 1 && table->shorthand && strcmp(only->key, table->shorthand) == 0) {
        setting_print_flow(p, only, base, defaults);
        return;
    }
    fputc('{', p->out);
    for (size_t i = 0, done = 0; i < table->count && done < shown; i++) {
        const struct setting *row = &table->rows[i];
        if (!setting_is_set(p, row, base) || is_default(p, row, base, defaults)) continue;
        fputs(done++ ? ", " : "", p->out);
        yaml_print_text(p->out, slice_of(row->key));
        fputs(": ", p->out);
        setting_print_flow(p, row, base, defaults);
    }
    fputc('}', p->out);
}
