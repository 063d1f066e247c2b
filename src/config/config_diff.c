/* config_diff.c: walks two configurations side by side by the settings tables and notes where they differ.
 *
 *   table -> row -> set on one side only: added or removed, in one entry
 *                   map:        on both sides: the same one table further in; on and off: one entry
 *                   named list: items paired by their identity; each pair one table further in
 *                   list:       as a whole        pairs: by name        all else: by value */
#include "loomgate/config/config_diff.h"

#include "config_diff_internal.h"
#include "schema_internal.h"
#include "tables_internal.h"

#include <stdlib.h>

enum { SHOWN_MAX = 200 }; /* bytes of a value that are printed for eyes */

struct differ {
    struct config_diff *diff;
    struct printer before, after;
    struct arena scratch;
    struct root_settings *defaults;
    enum reload_class reload; /* of what is above, and so of all below it */
    char *path;
    size_t path_len, path_room;
};

/* --- texts and the path ----------------------------------------------------------------------------------------- */

static FILE *open_text(char **text, size_t *len) {
    *text = NULL;
    FILE *out = open_memstream(text, len);
    LG_ASSERT(out != NULL);
    return out;
}

/* All of it to be kept, from a stream that was opened on `*text`. */
static const char *keep(struct differ *d, FILE *out, char **text, const size_t *len) {
    fclose(out);
    const char *kept = arena_strndup(&d->diff->arena, *text, *len);
    free(*text);
    return kept;
}

static const char *quote(struct differ *d, const char *value) {
    char *text;
    size_t len;
    FILE *out = open_text(&text, &len);
    yaml_print_text(out, slice_of(value));
    return keep(d, out, &text, &len);
}

static void path_append(struct differ *d, struct slice text) {
    while (d->path_len + text.n + 2 > d->path_room) d->path = xrealloc(d->path, d->path_room *= 2);
    if (d->path_len) d->path[d->path_len++] = '.';
    memcpy(d->path + d->path_len, text.p, text.n);
    d->path[d->path_len += text.n] = '\0';
}

/* A name as it is, or in quotes where it could not be told from what is around it. */
static void path_push(struct differ *d, struct slice name) {
    bool is_plain = name.n > 0;
    for (size_t i = 0; i < name.n; i++) is_plain = is_plain && name.p[i] > ' ' && name.p[i] < 0x7f && name.p[i] != '"';
    path_append(d, is_plain ? name : slice_of(quote(d, name.p)));
}

static void path_cut(struct differ *d, size_t len) {
    d->path[d->path_len = len] = '\0';
}

/* --- noting a change -------------------------------------------------------------------------------------------- */

static void note(struct differ *d, enum change_kind kind, const char *before, const char *after) {
    struct config_diff *diff = d->diff;
    if (diff->count == diff->room) {
        diff->room = diff->room ? diff->room * 2 : 16;
        diff->v = xrealloc(diff->v, diff->room * sizeof *diff->v);
    }
    const char *path = arena_strndup(&diff->arena, d->path, d->path_len);
    diff->v[diff->count++] = (struct config_change){kind, d->reload, path, before, after};
    diff->restart_count += d->reload == RELOAD_RESTART;
}

/* The value of a row, or of a whole map, on one line. */
static const char *print_value(struct differ *d, struct printer *p, const struct setting *row,
                               const struct settings_table *table, const void *base, const void *defaults) {
    char *text;
    size_t len;
    p->out = open_text(&text, &len);
    if (row)
        setting_print_flow(p, row, base, defaults);
    else
        schema_print_flow(p, table, base, defaults);
    return keep(d, p->out, &text, &len);
}

/* A row whose value is another one; NULL where it is not set. */
static void note_row(struct differ *d, const struct setting *row, const void *before, const void *after,
                     const void *defaults) {
    enum change_kind kind = !before ? CHANGE_ADDED : !after ? CHANGE_REMOVED : CHANGE_VALUE;
    note(d, kind, before ? print_value(d, &d->before, row, NULL, before, defaults) : NULL,
         after ? print_value(d, &d->after, row, NULL, after, defaults) : NULL);
}

/* --- named items ------------------------------------------------------------------------------------------------ */

static void diff_table(struct differ *d, const struct settings_table *table, const void *before, const void *after,
                       const void *defaults);

/* A list of things that are told apart by a key. */
struct listing {
    const struct settings_table *table;
    const struct setting *key;
    size_t size; /* of an item */
    bool is_ordered;
    const void *defaults;
    unsigned (*hidden)(const void *item); /* flags of the rows that mean nothing in an item; may be NULL */
};
struct items {
    const char *v;
    uint32_t count;
};

static const void *item_at(const struct listing *l, const struct items *items, uint32_t i) {
    return items->v + i * l->size;
}

static struct keys item_keys(struct differ *d, const struct listing *l, const struct items *items) {
    struct slice *keys = arena_calloc(&d->scratch, (items->count + 1) * sizeof *keys);
    char text[ADDRESS_KEY_MAX];
    for (uint32_t i = 0; i < items->count; i++) {
        const void *item = item_at(l, items, i);
        if (l->key->type == SETTING_ADDRESS) {
            size_t len = address_key(setting_at(l->key, item), text);
            keys[i] = slice_from(arena_strndup(&d->scratch, text, len), len);
        } else {
            keys[i] = slice_of(setting_text(l->key, item));
        }
    }
    return (struct keys){keys, items->count};
}

/* What an item is called in a path: its key, an address as it was written. */
static void push_item(struct differ *d, const struct listing *l, const void *item) {
    const struct address_setting *address = setting_at(l->key, item);
    bool is_address = l->key->type == SETTING_ADDRESS;
    path_push(d, slice_of(is_address ? address->text : setting_text(l->key, item)));
}

static void hide(struct differ *d, const struct listing *l, const void *before, const void *after) {
    if (!l->hidden) return;
    unsigned flags = l->hidden(before) & l->hidden(after);
    d->before.skip_flags = d->after.skip_flags = flags;
}

/* An item as a whole that is on one side only. */
static void note_item(struct differ *d, const struct listing *l, enum change_kind kind, const void *item) {
    size_t len = d->path_len;
    bool is_added = kind == CHANGE_ADDED;
    push_item(d, l, item);
    hide(d, l, item, item);
    const char *text = print_value(d, is_added ? &d->after : &d->before, NULL, l->table, item, l->defaults);
    note(d, kind, is_added ? NULL : text, is_added ? text : NULL);
    path_cut(d, len);
}

static void note_move(struct differ *d, uint32_t from, uint32_t to) {
    char before[16], after[16];
    int n = snprintf(before, sizeof before, "%u", from + 1), m = snprintf(after, sizeof after, "%u", to + 1);
    note(d, CHANGE_MOVED, arena_strndup(&d->diff->arena, before, (size_t)n),
         arena_strndup(&d->diff->arena, after, (size_t)m));
}

/* An item of both lists. */
static void diff_pair(struct differ *d, const struct listing *l, const void *before, const void *after) {
    hide(d, l, before, after);
    diff_table(d, l->table, before, after, l->defaults);
}

static void diff_items(struct differ *d, const struct listing *l, const struct items *before,
                       const struct items *after) {
    struct keys old_keys = item_keys(d, l, before), new_keys = item_keys(d, l, after);
    struct pairing p;
    pairing_init(&p, &old_keys, &new_keys);
    bool *stays = l->is_ordered ? pairing_find_staying(&p, after->count) : NULL;
    uint32_t at = 0; /* the first old one that has not been passed */
    for (uint32_t i = 0; i <= after->count; i++) {
        uint32_t old = i < after->count ? p.old_of[i] : before->count;
        for (; old != NOBODY && at < old; at++)
            if (p.new_of[at] == NOBODY) note_item(d, l, CHANGE_REMOVED, item_at(l, before, at));
        if (i == after->count) break;
        if (old == NOBODY) {
            note_item(d, l, CHANGE_ADDED, item_at(l, after, i));
            continue;
        }
        size_t len = d->path_len;
        push_item(d, l, item_at(l, after, i));
        if (stays && !stays[i]) note_move(d, old, i);
        diff_pair(d, l, item_at(l, before, old), item_at(l, after, i));
        path_cut(d, len);
    }
    free(stays);
    pairing_fini(&p);
}

static void diff_named_list(struct differ *d, const struct setting *row, const void *before, const void *after) {
    const struct settings_table *table = row->item->table;
    struct items old = {setting_text(row, before), setting_count(row, before)};
    struct items new = {setting_text(row, after), setting_count(row, after)};
    if (!old.count && !new.count) return;
    struct listing l = {.table = table,
                        .key = schema_find(table, slice_of(table->identity)),
                        .size = row->item_size,
                        .is_ordered = row->flags & ORDERED,
                        .defaults = schema_new_defaults(&d->scratch, table, row->item_size)};
    diff_items(d, &l, &old, &new);
}

/* --- pairs and lists -------------------------------------------------------------------------------------------- */

static void note_pair(struct differ *d, const struct name_value *before, const struct name_value *after) {
    size_t len = d->path_len;
    path_push(d, slice_of(before ? before->name : after->name));
    note(d,
         !before  ? CHANGE_ADDED
         : !after ? CHANGE_REMOVED
                  : CHANGE_VALUE,
         before ? quote(d, before->value) : NULL, after ? quote(d, after->value) : NULL);
    path_cut(d, len);
}

static void diff_pairs(struct differ *d, const struct name_values *before, const struct name_values *after) {
    struct map old, new;
    map_init(&old);
    map_init(&new);
    for (uint32_t i = 0; i < before->count; i++)
        map_put(&old, slice_of(before->v[i].name), (void *)(uintptr_t)&before->v[i]);
    for (uint32_t i = 0; i < after->count; i++)
        map_put(&new, slice_of(after->v[i].name), (void *)(uintptr_t)&after->v[i]);
    for (uint32_t i = 0; i < before->count; i++)
        if (!map_find(&new, slice_of(before->v[i].name))) note_pair(d, &before->v[i], NULL);
    for (uint32_t i = 0; i < after->count; i++) {
        const struct name_value *found = map_find(&old, slice_of(after->v[i].name));
        if (!found || strcmp(found->value, after->v[i].value) != 0) note_pair(d, found, &after->v[i]);
    }
    map_fini(&old);
    map_fini(&new);
}

static bool list_is_eq(struct differ *d, const struct setting *row, const void *before, const void *after) {
    uint32_t count = setting_count(row, before);
    if (count != setting_count(row, after)) return false;
    if (row->item->type == SETTING_MAP) /* no identity: nothing but the whole to compare */
        return strcmp(print_value(d, &d->before, row, NULL, before, NULL),
                      print_value(d, &d->after, row, NULL, after, NULL)) == 0;
    for (uint32_t i = 0; i < count; i++)
        if (!setting_eq(row->item, &d->before, setting_text(row, before) + i * row->item_size, &d->after,
                        setting_text(row, after) + i * row->item_size))
            return false;
    return true;
}

/* --- rows and tables -------------------------------------------------------------------------------------------- */

/* A row that is set on both sides. */
static void diff_value(struct differ *d, const struct setting *row, const void *before, const void *after,
                       const void *defaults) {
    bool is_map = setting_is_map(row, after), is_off = is_map && setting_is_off(row, after);
    bool was_map = setting_is_map(row, before), was_off = was_map && setting_is_off(row, before);
    bool same;
    if (was_map && is_map && !was_off && !is_off) {
        diff_table(d, row->table, setting_at(row, before), setting_at(row, after), setting_at(row, defaults));
        return;
    }
    if (row->type == SETTING_PAIRS) {
        diff_pairs(d, setting_at(row, before), setting_at(row, after));
        return;
    }
    if (was_map || is_map)
        same = was_off && is_off;
    else if (row->type == SETTING_LIST)
        same = list_is_eq(d, row, before, after);
    else
        same = setting_eq(row, &d->before, before, &d->after, after);
    if (!same) note_row(d, row, before, after, defaults);
}

static void diff_row(struct differ *d, const struct setting *row, const void *before, const void *after,
                     const void *defaults) {
    size_t len = d->path_len;
    enum reload_class above = d->reload;
    bool is_named = row->type == SETTING_LIST && row->item->type == SETTING_MAP && row->item->table->identity;
    bool was_set = setting_is_set(&d->before, row, before), is_set = setting_is_set(&d->after, row, after);
    if (!was_set && !is_set) return;
    path_push(d, slice_of(row->key));
    if (row->reload == RELOAD_RESTART) d->reload = RELOAD_RESTART;
    if (is_named)
        diff_named_list(d, row, before, after);
    else if (was_set && is_set)
        diff_value(d, row, before, after, defaults);
    else
        note_row(d, row, was_set ? before : NULL, is_set ? after : NULL, defaults);
    d->reload = above;
    path_cut(d, len);
}

static void diff_table(struct differ *d, const struct settings_table *table, const void *before, const void *after,
                       const void *defaults) {
    for (size_t i = 0; i < table->count; i++) diff_row(d, &table->rows[i], before, after, defaults);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static unsigned hidden_in_frontend(const void *item) {
    return ((const struct frontend_settings *)item)->mode == MODE_TCP ? HTTP_ONLY : 0;
}

static void diff_section(struct differ *d, const char *name, const struct listing *l, struct items before,
                         struct items after) {
    path_push(d, slice_of(name));
    diff_items(d, l, &before, &after);
    path_cut(d, 0);
    d->before.skip_flags = d->after.skip_flags = 0;
}

static void diff_all(struct differ *d, const struct config *before, const struct config *after) {
    static const struct setting frontend_key = {.type = SETTING_NAME, SETTING_AT(struct frontend_settings, name)};
    static const struct setting backend_key = {.type = SETTING_NAME, SETTING_AT(struct backend_settings, name)};
    const struct listing frontends = {.table = &table_frontend,
                                      .key = &frontend_key,
                                      .size = sizeof(struct frontend_settings),
                                      .defaults = &d->defaults->defaults.frontend,
                                      .hidden = hidden_in_frontend};
    const struct listing backends = {.table = &table_backend,
                                     .key = &backend_key,
                                     .size = sizeof(struct backend_settings),
                                     .defaults = &d->defaults->defaults.backend};
    path_push(d, SLICE("global"));
    diff_table(d, &table_global, &before->global, &after->global, &d->defaults->global);
    path_cut(d, 0);
    diff_section(d, "frontends", &frontends, (struct items){(const char *)before->frontends, before->frontend_count},
                 (struct items){(const char *)after->frontends, after->frontend_count});
    diff_section(d, "backends", &backends, (struct items){(const char *)before->backends, before->backend_count},
                 (struct items){(const char *)after->backends, after->backend_count});
}

void config_diff_init(struct config_diff *diff, const struct config *before, const struct config *after) {
    *diff = (struct config_diff){0};
    arena_init(&diff->arena, NULL, 0);
    struct differ d = {.diff = diff, .path = xmalloc(256), .path_room = 256};
    arena_init(&d.scratch, NULL, 0);
    d.before = (struct printer){.backends = before->backends, .scratch = &d.scratch};
    d.after = (struct printer){.backends = after->backends, .scratch = &d.scratch};
    struct loader l = {.arena = &d.scratch};
    d.defaults = arena_calloc(&d.scratch, sizeof *d.defaults);
    root_set_defaults(&l, d.defaults);
    diff_all(&d, before, after);
    arena_fini(&d.scratch);
    free(d.path);
}

void config_diff_fini(struct config_diff *d) {
    arena_fini(&d->arena);
    free(d->v);
    *d = (struct config_diff){0};
}

/* --- printing --------------------------------------------------------------------------------------------------- */

const char *change_kind_name(enum change_kind kind) {
    static const char *const names[] = {
        [CHANGE_ADDED] = "added", [CHANGE_REMOVED] = "removed", [CHANGE_VALUE] = "changed", [CHANGE_MOVED] = "moved"};
    return names[kind];
}

/* Cut in front of a character, not inside one. */
static void print_shown(FILE *out, const char *text) {
    size_t n = strlen(text), shown = n;
    if (n > SHOWN_MAX)
        for (shown = SHOWN_MAX; shown > 0 && ((unsigned char)text[shown] & 0xc0) == 0x80;) shown--;
    fprintf(out, "%.*s%s", (int)shown, text, shown < n ? "..." : "");
}

void config_diff_print(const struct config_diff *d, FILE *out) {
    for (uint32_t i = 0; i < d->count; i++) {
        const struct config_change *c = &d->v[i];
        fprintf(out, "%-7s ", change_kind_name(c->kind));
        print_shown(out, c->path);
        fputs(": ", out);
        if (c->before) print_shown(out, c->before);
        if (c->before && c->after) fputs(" -> ", out);
        if (c->after) print_shown(out, c->after);
        fputs(c->reload == RELOAD_RESTART ? " (needs a restart)\n" : "\n", out);
    }
}

/* --- what stays -------------------------------------------------------------------------------------------------- */

static void keep_fixed(const struct settings_table *table, void *to, const void *from) {
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (row->reload == RELOAD_RESTART) {
            setting_store(row, to, setting_at(row, from));
            if (row->type == SETTING_LIST)
                memcpy((char *)to + row->also, (const char *)from + row->also, sizeof(uint32_t));
        } else if (row->type == SETTING_MAP && row->width) {
            keep_fixed(row->table, (char *)to + row->offset, setting_at(row, from));
        }
    }
}

void config_keep_fixed(struct config *c, const struct config *running) {
    keep_fixed(&table_global, &c->global, &running->global);
}
