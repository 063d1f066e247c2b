/* diagnose.h: what is wrong with a configuration, each at its place, printed with the line and a caret.
 *
 * A diagnostics collects all problems of a run; it owns the texts they were found in, so that lines can be shown. */
#ifndef LOOMGATE_CONFIG_DIAGNOSE_H
#define LOOMGATE_CONFIG_DIAGNOSE_H

#include "loomgate/base/macros.h"
#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"
#include "loomgate/config/config_files.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A text that was read: a file, or one `-D KEY=VALUE` (its text is empty: there are no lines to show). */
struct source {
    struct source *next;
    const char *name; /* as the user wrote it: "loomgate.yaml", "-D global.workers=x" */
    struct slice text;
    uint32_t order; /* sources are told in the order in which they were added */
};

/* Lines and columns count from 1, columns in characters; line 0 is the source as a whole. */
struct place {
    const struct source *source;
    uint32_t line, column;
};

enum severity { SEVERITY_ERROR, SEVERITY_WARNING };

struct diagnostic {
    enum severity severity;
    struct place place;
    const char *text; /* a sentence without a full stop, one line, no control characters */
    const char *hint; /* NULL: none */
    uint32_t order;   /* in which they were found */
};

enum {
    DIAGNOSTICS_SHOWN = 20,  /* errors that are printed a run; the same number of warnings */
    DIAGNOSTICS_KEPT = 1000, /* errors that are remembered, the same number of warnings; the rest is counted */
};

struct diagnostics {
    struct arena arena;
    struct source *sources, **last_source;
    uint32_t source_count;
    struct diagnostic *v; /* what is remembered, in the order of their places once sorted */
    size_t count, room;
    bool is_sorted;
    size_t kept[2], total[2];  /* by severity */
    struct config_files files; /* that the last run of reading looked at, also when it failed */
};

void diagnostics_init(struct diagnostics *d);
void diagnostics_fini(struct diagnostics *d);

/* Adds a text; takes over `text` (from malloc, NULL for none), without a byte-order mark. Valid until
 * diagnostics_fini. */
const struct source *diagnostics_add_source(struct diagnostics *d, const char *name, char *text, size_t len);

/* Notes a problem; the same sentence at the same place is noted once. `hint` (copied) may be NULL. Returns false, so
 * that a failing function ends in `return diagnostics_add(...)`. */
bool diagnostics_add(struct diagnostics *d, enum severity severity, struct place place, const char *hint,
                     const char *format, ...) LG_PRINTF(5, 6);

/* True when one more of this severity would only be counted: not worth the work of a good hint. */
bool diagnostics_is_full(const struct diagnostics *d, enum severity severity);

/* How many there are, those that are not remembered included. */
size_t diagnostics_count(const struct diagnostics *d, enum severity severity);

/* The remembered ones by place (source, line, column), for programs: from 0; NULL behind the last. */
const struct diagnostic *diagnostics_find(struct diagnostics *d, size_t index);

/* Prints `FILE:LINE:COLUMN: error: SENTENCE`, the line, a caret under the column and `  hint: ...`, by place; after
 * DIAGNOSTICS_SHOWN of a severity only how many more there are. */
void diagnostics_print(struct diagnostics *d, FILE *out);

#endif
