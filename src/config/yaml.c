/* yaml.c: libyaml's events to a tree of nodes, with anchors, merge keys and the limits of a configuration.
 *
 *   text -> yaml_text_is_sound -> libyaml -> event -> builder: a stack of open maps and lists -> tree
 *                                              scalar: ${NAME} filled in
 *                                              alias:  the anchor's node itself, its weight counted
 *                                              map's end: `<<` adds the entries that are not there
 *
 * Depth is bounded by the stack, and so is libyaml's own work: it is asked for no event past it. */
#include "yaml_internal.h"

#include "loomgate/base/map.h"

#include <yaml.h>

struct open_node { /* a map or list that has not ended yet */
    struct node *node;
    struct node_entry **last; /* where the next entry goes */
    const struct node *key;   /* of a map: a key that waits for its value */
    const struct node *merge; /* of a map: the value of `<<` */
    struct map keys;          /* of a map: text to the key's node */
};

struct builder {
    struct arena *arena;
    struct diagnostics *d;
    const struct source *source;
    yaml_parser_t parser;
    struct map anchors; /* name to node */
    struct yaml_budget budget;
    struct open_node stack[YAML_DEPTH_MAX];
    unsigned depth;
    const struct node *root;
    unsigned documents;
};

static struct place place_at(const struct builder *b, yaml_mark_t mark) {
    return (struct place){b->source, (uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

#define FAIL(b, place, hint, ...) diagnostics_add((b)->d, SEVERITY_ERROR, place, hint, __VA_ARGS__)

static struct node *new_node(struct builder *b, enum node_kind kind, struct place place) {
    struct node *n = arena_calloc(b->arena, sizeof *n);
    n->kind = kind;
    n->place = place;
    n->weight = sizeof *n;
    return n;
}

/* --- adding a finished or just opened node to what is open ------------------------------------------------------ */

static void append(struct builder *b, struct open_node *open, const struct node *key, const struct node *value) {
    struct node_entry *e = arena_alloc(b->arena, sizeof *e);
    *e = (struct node_entry){NULL, key, value};
    *open->last = e;
    open->last = &e->next;
    open->node->count++;
    open->node->weight += sizeof *e + value->weight + (key ? key->weight : 0);
}

static bool add_key(struct builder *b, struct open_node *open, const struct node *key) {
    if (key->kind != NODE_SCALAR && key->kind != NODE_BAD)
        return FAIL(b, key->place, NULL, "a key must be a scalar, not %s", node_kind_name(key));
    open->key = key;
    if (key->kind == NODE_BAD) return true;
    const struct node *first = map_put(&open->keys, key->text, (void *)(uintptr_t)key);
    if (first)
        FAIL(b, key->place, NULL, "'%.*s' is given twice in this map, first at line %u column %u",
             (int)(key->text.n < 100 ? key->text.n : 100), key->text.p, first->place.line, first->place.column);
    return true;
}

/* Puts a node where it belongs. A map or list is put there when it ends, so that its weight is known. */
static bool add_node(struct builder *b, const struct node *n) {
    if (b->depth == 0) {
        b->root = n;
        return true;
    }
    struct open_node *open = &b->stack[b->depth - 1];
    if (open->node->kind == NODE_LIST) {
        append(b, open, NULL, n);
        return true;
    }
    if (!open->key) return add_key(b, open, n);
    const struct node *key = open->key;
    open->key = NULL;
    if (key->kind == NODE_BAD) return true;
    if (key->is_plain && slice_is(key->text, "<<"))
        open->merge = n;
    else if (map_find(&open->keys, key->text) == key) /* not the second of a pair: told already */
        append(b, open, key, n);
    return true;
}

static bool add_anchor(struct builder *b, const yaml_char_t *anchor, const struct node *n) {
    if (!anchor) return true;
    struct slice name = slice_of((const char *)anchor);
    name = slice_from(arena_strndup(b->arena, name.p, name.n), name.n);
    map_remove(&b->anchors, name); /* a later anchor of the same name hides the earlier one */
    map_put(&b->anchors, name, (void *)(uintptr_t)n);
    return true;
}

static bool refuse_tag(struct builder *b, const yaml_char_t *tag, struct place place) {
    if (!tag || strcmp((const char *)tag, "!") == 0) return true;
    return FAIL(b, place, "leave the tag away", "YAML tags are not part of the language");
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static bool on_scalar(struct builder *b, const yaml_event_t *event, struct place place) {
    struct slice text = {(const char *)event->data.scalar.value, event->data.scalar.length};
    struct node *n = new_node(b, NODE_SCALAR, place);
    n->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!refuse_tag(b, event->data.scalar.tag, place)) n->kind = NODE_BAD;
    bool has_dollar = text.n && slice_find(text, '$') < text.n;
    if (!has_dollar)
        n->text = slice_from(arena_strndup(b->arena, text.p, text.n), text.n);
    else if (!yaml_substitute(b->arena, b->d, place, text, &b->budget, &n->text))
        n->kind = NODE_BAD;
    if (n->kind == NODE_SCALAR && n->text.n > YAML_SCALAR_MAX) {
        FAIL(b, place, NULL, "a scalar of %zu bytes; at most %d KiB are allowed", n->text.n, YAML_SCALAR_MAX / 1024);
        n->kind = NODE_BAD;
    }
    n->weight += n->text.n;
    add_anchor(b, event->data.scalar.anchor, n);
    return add_node(b, n);
}

static bool spend(struct builder *b, size_t weight, struct place place) {
    b->budget.aliases += weight;
    if (b->budget.aliases <= YAML_EXPANSION_MAX) return true;
    return FAIL(b, place, NULL, "aliases and merges would expand to more than 1 MiB");
}

static bool on_alias(struct builder *b, const yaml_event_t *event, struct place place) {
    const char *name = (const char *)event->data.alias.anchor;
    const struct node *n = map_find(&b->anchors, slice_of(name));
    if (!n) {
        FAIL(b, place, "an anchor '&NAME' must stand before its alias; quote a value that begins with *",
             "there is no anchor '%.100s'", name);
        return add_node(b, new_node(b, NODE_BAD, place));
    }
    for (unsigned i = 0; i < b->depth; i++)
        if (b->stack[i].node == n) return FAIL(b, place, NULL, "the anchor '%.100s' contains itself", name);
    return spend(b, n->weight, place) && add_node(b, n);
}

static bool on_start(struct builder *b, enum node_kind kind, const yaml_char_t *anchor, const yaml_char_t *tag,
                     struct place place) {
    if (b->depth == YAML_DEPTH_MAX)
        return FAIL(b, place, NULL, "maps and lists are nested more than %d deep", YAML_DEPTH_MAX);
    struct open_node *open = b->depth ? &b->stack[b->depth - 1] : NULL;
    if (open && open->node->kind == NODE_MAP && !open->key)
        return FAIL(b, place, NULL, "a key must be a scalar, not %s", kind == NODE_MAP ? "a map" : "a list");
    if (!refuse_tag(b, tag, place)) return false;
    struct node *n = new_node(b, kind, place);
    add_anchor(b, anchor, n);
    open = &b->stack[b->depth++];
    *open = (struct open_node){.node = n, .last = &n->first};
    map_init(&open->keys);
    return true;
}

/* Adds the entries of one map that are not in the open one yet. */
static bool merge_map(struct builder *b, struct open_node *open, const struct node *from) {
    if (from->kind == NODE_BAD) return true;
    if (from->kind != NODE_MAP)
        return FAIL(b, from->place, "write <<: *NAME or <<: [*ONE, *TWO]",
                    "a merge key takes a map or a list of maps, not %s", node_kind_name(from));
    for (const struct node_entry *e = from->first; e; e = e->next) {
        if (map_put(&open->keys, e->key->text, (void *)(uintptr_t)e->key)) continue;
        if (!spend(b, sizeof *e, from->place)) return false;
        append(b, open, e->key, e->value);
    }
    return true;
}

static bool merge(struct builder *b, struct open_node *open) {
    const struct node *from = open->merge;
    if (!from) return true;
    if (from->kind != NODE_LIST) return merge_map(b, open, from);
    for (const struct node_entry *e = from->first; e; e = e->next)
        if (!merge_map(b, open, e->value)) return false;
    return true;
}

static bool on_end(struct builder *b) {
    struct open_node *open = &b->stack[b->depth - 1];
    bool ok = merge(b, open);
    map_fini(&open->keys);
    b->depth--;
    return ok && add_node(b, open->node);
}

static bool on_document(struct builder *b, struct place place) {
    if (b->documents++ == 0) return true;
    return FAIL(b, place, "give each its own file and include them", "a file holds one YAML document, not several");
}

static bool on_event(struct builder *b, const yaml_event_t *event) {
    struct place place = place_at(b, event->start_mark);
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return on_document(b, place);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event, place);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event, place);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, NODE_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag, place);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, NODE_LIST, event->data.sequence_start.anchor, event->data.sequence_start.tag, place);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return on_end(b);
    default:
        return true;
    }
}

/* --- what libyaml finds wrong ----------------------------------------------------------------------------------- */

/* The bytes from a place on, to see what libyaml stumbled over. */
static struct slice text_at(const struct source *source, yaml_mark_t mark) {
    struct slice text = source->text;
    size_t line = 0;
    while (line < mark.line && text.n) {
        size_t at = slice_find(text, '\n');
        size_t skip = at < text.n ? at + 1 : at;
        text = slice_from(text.p + skip, text.n - skip);
        line++;
    }
    size_t skip = mark.column < text.n ? mark.column : text.n;
    return slice_from(text.p + skip, text.n - skip);
}

static const char *syntax_hint(struct slice at) {
    if (at.n == 0) return NULL;
    if (at.p[0] == '\t') return "YAML is indented with spaces; replace the tab";
    if (at.p[0] == '*' || at.p[0] == '&') return "quote a value that begins with * or &: \"*:80\"";
    if (strchr("@`%", at.p[0])) return "quote a value that begins with such a character";
    return NULL;
}

static void tell_syntax_error(struct builder *b) {
    const yaml_parser_t *p = &b->parser;
    yaml_mark_t mark = p->problem_mark;
    struct slice at = text_at(b->source, mark);
    const char *problem = p->problem ? p->problem : "this cannot be read as YAML";
    if (at.n && at.p[0] == '\t') problem = "a tab where YAML allows only spaces";
    const char *hint = syntax_hint(at), *context = p->context;
    if (context && strcmp(context, "while scanning for the next token") == 0) context = NULL; /* says nothing */
    /* An alias's own place is that of its star. */
    if (!hint && context && p->context_mark.line == mark.line) hint = syntax_hint(text_at(b->source, p->context_mark));
    if (context && p->context_mark.line != mark.line)
        FAIL(b, place_at(b, mark), hint, "%s (%s that began at line %zu)", problem, context, p->context_mark.line + 1);
    else
        FAIL(b, place_at(b, mark), hint, "%s%s%s", problem, context ? " " : "", context ? context : "");
}

static bool run(struct builder *b) {
    for (bool is_end = false; !is_end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event)) {
            tell_syntax_error(b);
            return false;
        }
        is_end = event.type == YAML_STREAM_END_EVENT;
        bool ok = on_event(b, &event);
        yaml_event_delete(&event);
        if (!ok) return false;
    }
    return true;
}

const struct node *yaml_parse(struct arena *a, struct diagnostics *d, const struct source *source) {
    if (!yaml_text_is_sound(d, source)) return NULL;
    struct builder b = {.arena = a, .d = d, .source = source};
    LG_ASSERT(yaml_parser_initialize(&b.parser));
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)source->text.p, source->text.n);
    map_init(&b.anchors);
    bool ok = run(&b);
    while (b.depth > 0) map_fini(&b.stack[--b.depth].keys);
    map_fini(&b.anchors);
    yaml_parser_delete(&b.parser);
    return ok ? b.root : NULL;
}

/* --- nodes ------------------------------------------------------------------------------------------------------ */

const struct node *node_find(const struct node *map, const char *key) {
    if (map->kind != NODE_MAP) return NULL;
    for (const struct node_entry *e = map->first; e; e = e->next)
        if (slice_is(e->key->text, key)) return e->value;
    return NULL;
}

bool node_is_null(const struct node *n) {
    if (n->kind != NODE_SCALAR || !n->is_plain) return false;
    return n->text.n == 0 || slice_is(n->text, "~") || slice_is(n->text, "null");
}

const char *node_kind_name(const struct node *n) {
    static const char *const names[] = {"something wrong", "a scalar", "a map", "a list"};
    return names[n->kind];
}

struct node *node_new_scalar(struct arena *a, struct place place, struct slice text) {
    struct node *n = arena_calloc(a, sizeof *n);
    *n = (struct node){.kind = NODE_SCALAR, .place = place, .weight = sizeof *n + text.n};
    n->text = slice_from(arena_strndup(a, text.p, text.n), text.n);
    return n;
}
