/* document_internal.h: a file with what it includes and what -D changes, as one tree. */
#ifndef LOOMGATE_CONFIG_DOCUMENT_INTERNAL_H
#define LOOMGATE_CONFIG_DOCUMENT_INTERNAL_H

#include "loomgate/config/config.h"
#include "loomgate/config/yaml.h"

enum {
    FILES_SIZE_MAX = 16 * 1024 * 1024, /* of all that are included */
};

struct document {
    struct arena *arena; /* of the tree */
    struct diagnostics *d;
    const char *path;            /* of the main file; NULL: from memory */
    const struct source *source; /* the main text */
    size_t included;             /* bytes of included files */
};

/* Reads a file and notes that it was; NULL after an error. */
const struct source *document_read(struct diagnostics *d, const char *path);
/* The tree of the main text; NULL after an error that left none. */
const struct node *document_parse(struct document *doc);
/* Adds what the files that `include` names hold; returns a new root. */
const struct node *document_include(struct document *doc, const struct node *root);
/* Sets one scalar; returns a new root, or the old one after an error. */
const struct node *document_override(struct document *doc, const struct node *root, const struct config_override *o);

#endif
