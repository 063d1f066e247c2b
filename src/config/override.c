/* override.c: `-D KEY=VALUE`: sets one scalar of the tree by its path, such as frontends.web.bind.0.
 *
 * Nodes may hang in several places (aliases), so the nodes on the way are copied, not changed. */
#include "document_internal.h"

#include <stdio.h>

struct override {
    struct document *doc;
    struct place place;
    struct slice value;
    unsigned depth;
    bool failed;
};

static const struct node *set_below(struct override *o, const struct node *node, struct slice path);

static const struct node *fail(struct override *o, const struct node *node, const char *hint, const char *sentence,
                               struct slice what) {
    diagnostics_add(o->doc->d, SEVERITY_ERROR, o->place, hint, sentence, (int)(what.n < 100 ? what.n : 100), what.p);
    o->failed = true;
    return node;
}

/* Copies a map or list, with its entries. */
static struct node *copy(struct override *o, const struct node *from) {
    struct node *to = arena_calloc(o->doc->arena, sizeof *to);
    *to = *from;
    struct node_entry **last = &to->first;
    for (const struct node_entry *e = from->first; e; e = e->next) {
        struct node_entry *twin = arena_alloc(o->doc->arena, sizeof *twin);
        *twin = *e;
        *last = twin;
        last = &twin->next;
    }
    *last = NULL;
    return to;
}

static struct slice rest_behind(struct slice path, size_t n) {
    return n < path.n ? slice_from(path.p + n + 1, path.n - n - 1) : slice_from(NULL, 0);
}

/* Names may have dots, so the longest key that the path begins with is meant. */
static struct node_entry *find_key(struct node *map, struct slice path) {
    struct node_entry *best = NULL;
    for (struct node_entry *e = map->first; e; e = e->next) {
        struct slice key = e->key->text;
        bool fits = slice_has_prefix(path, key) && (path.n == key.n || path.p[key.n] == '.');
        if (fits && (!best || key.n > best->key->text.n)) best = e;
    }
    return best;
}

static struct node_entry *add_key(struct override *o, struct node *map, struct slice key) {
    struct node_entry *e = arena_calloc(o->doc->arena, sizeof *e), **last = &map->first;
    e->key = node_new_scalar(o->doc->arena, o->place, key);
    while (*last) last = &(*last)->next;
    *last = e;
    map->count++;
    return e;
}

static const struct node *set_in_map(struct override *o, const struct node *node, struct slice path) {
    struct node *map = copy(o, node);
    struct node_entry *e = find_key(map, path);
    if (!e) {
        struct slice part = slice_from(path.p, slice_find(path, '.'));
        if (part.n == 0)
            return fail(o, node, "write it like -D global.workers=1", "'%.*s' is not a path to a key", path);
        e = add_key(o, map, part);
    }
    e->value = set_below(o, e->value, rest_behind(path, e->key->text.n));
    return map;
}

static const struct node *set_in_list(struct override *o, const struct node *node, struct slice path) {
    size_t n = slice_find(path, '.');
    uint64_t index;
    if (!slice_to_u64(slice_from(path.p, n), UINT32_MAX, &index) || index >= node->count)
        return fail(o, node, "items count from 0", "there is no item '%.*s' in the list", slice_from(path.p, n));
    struct node *list = copy(o, node);
    struct node_entry *e = list->first;
    while (e && index-- > 0) e = e->next;
    LG_ASSERT(e != NULL);
    e->value = set_below(o, e->value, rest_behind(path, n));
    return list;
}

/* Sets what `path` means below `node`, which is NULL where there is nothing yet; returns what takes its place. */
static const struct node *set_below(struct override *o, const struct node *node, struct slice path) {
    if (!path.p) {
        if (node && (node->kind == NODE_MAP || node->kind == NODE_LIST))
            return fail(o, node, "name one of the keys below", "-D sets one scalar, and this is %.*s",
                        slice_of(node_kind_name(node)));
        struct node *scalar = node_new_scalar(o->doc->arena, o->place, o->value);
        scalar->is_plain = true;
        return scalar;
    }
    if (++o->depth > YAML_DEPTH_MAX) return fail(o, node, NULL, "the path '%.*s' is too deep", path);
    if (node && node->kind == NODE_LIST) return set_in_list(o, node, path);
    if (node && node->kind == NODE_MAP) return set_in_map(o, node, path);
    if (node && !node_is_null(node) && node->kind != NODE_BAD)
        return fail(o, node, NULL, "there is a scalar above '%.*s': it has no keys", path);
    struct node *map = arena_calloc(o->doc->arena, sizeof *map);
    map->kind = NODE_MAP;
    map->place = o->place;
    return set_in_map(o, map, path);
}

const struct node *document_override(struct document *doc, const struct node *root,
                                     const struct config_override *over) {
    char name[300];
    snprintf(name, sizeof name, "-D %.100s=%.150s", over->key, over->value);
    const struct source *source = diagnostics_add_source(doc->d, name, NULL, 0);
    struct override o = {.doc = doc, .place = {source, 0, 0}, .value = slice_of(over->value)};
    struct slice key = slice_of(over->key);
    if (slice_eq(key, slice_of("include")) || slice_has_prefix(key, SLICE("include.")))
        return fail(&o, root, NULL, "'%.*s' cannot be set from the command line", key);
    const struct node *changed = set_below(&o, root, key);
    return o.failed ? root : changed;
}
