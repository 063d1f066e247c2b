/* yaml.h: YAML text to a tree of nodes that know where they were written. The only part that knows libyaml. */
#ifndef LOOMGATE_CONFIG_YAML_H
#define LOOMGATE_CONFIG_YAML_H

#include "loomgate/config/diagnose.h"

enum {
    YAML_DEPTH_MAX = 64,             /* maps and lists in each other */
    YAML_SCALAR_MAX = 256 * 1024,    /* bytes of one scalar, after ${...} */
    YAML_EXPANSION_MAX = 1024 * 1024 /* bytes that aliases and merges would add, and the same for ${...} */
};

enum node_kind {
    NODE_BAD, /* something was wrong with it and has been told: accept it quietly */
    NODE_SCALAR,
    NODE_MAP,
    NODE_LIST,
};

/* An alias is the very node that it names, so a node may hang in several places: never change one. */
struct node {
    enum node_kind kind;
    bool is_plain; /* a scalar without quotes */
    struct place place;
    struct slice text;        /* of a scalar; followed by a NUL */
    struct node_entry *first; /* of a map (key and value) or a list (value) */
    uint32_t count;
    size_t weight; /* bytes of the node and all below, aliases written out */
};

struct node_entry {
    struct node_entry *next;
    const struct node *key; /* a scalar; NULL in a list */
    const struct node *value;
};

/* The tree of a text that holds one YAML document: anchors and merge keys resolved, ${NAME} filled in from the
 * environment. NULL after an error that left no tree; all errors are in `d`. The tree lives in `a`. */
const struct node *yaml_parse(struct arena *a, struct diagnostics *d, const struct source *source);

/* The value under a key of a map; NULL when there is none. */
const struct node *node_find(const struct node *map, const char *key);
/* True for a plain empty scalar, ~ or null: a key that was left without a value. */
bool node_is_null(const struct node *n);
/* "a map", "a list", "a scalar" for messages. */
const char *node_kind_name(const struct node *n);
/* A scalar for the tree, as if it had been written in quotes at `place`. */
struct node *node_new_scalar(struct arena *a, struct place place, struct slice text);

#endif
