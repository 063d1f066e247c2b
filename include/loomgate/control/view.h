/* view.h: what an answer says, described once by the command that knows it, and rendered in two ways.
 *
 *   a tree of objects, lists and values --view_print_text--> aligned columns with units, for eyes
 *                                       --view_print_json--> one line of JSON with base units: seconds, bytes, RFC 3339
 *
 * Names are literals, or live as long as the view; texts are copied. A name is the key in JSON and the label or the
 * column's head in text. Values of a list have no name (NULL). */
#ifndef LOOMGATE_CONTROL_VIEW_H
#define LOOMGATE_CONTROL_VIEW_H

#include "loomgate/base/macros.h"
#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum view_kind {
    VIEW_OBJECT,
    VIEW_LIST,
    VIEW_TEXT,
    VIEW_LINES, /* a document: as it is in text, without its name and without empty lines; a string in JSON */
    VIEW_NUMBER,
    VIEW_SIGNED,
    VIEW_REAL,
    VIEW_RATIO,    /* 0.125: "12.5%" */
    VIEW_DURATION, /* microseconds: "1m30s", seconds in JSON */
    VIEW_BYTES,    /* "1.4 MiB" */
    VIEW_TIME,     /* microseconds since 1970, UTC */
    VIEW_BOOL,     /* "yes", "no" */
    VIEW_NULL,     /* "-" */
};

struct view_node {
    struct view_node *next, *first, *last;
    struct arena *arena;
    const char *name;
    enum view_kind kind;
    uint32_t count; /* of children */
    union {
        struct slice text;
        uint64_t number; /* also durations, bytes, times, booleans */
        double real;
    } u;
};

struct view {
    struct arena arena;
    struct view_node root; /* an object until view_begin_list() */
};

void view_init(struct view *v);
void view_fini(struct view *v);
/* Makes the root, which must be empty, a list; returns it. */
struct view_node *view_begin_list(struct view *v);

/* Each adds to the end of an object or a list. The first two return what may be added to. */
struct view_node *view_object(struct view_node *in, const char *name);
struct view_node *view_list(struct view_node *in, const char *name);
void view_text(struct view_node *in, const char *name, const char *text); /* NULL: null */
void view_slice(struct view_node *in, const char *name, struct slice text);
void view_printf(struct view_node *in, const char *name, const char *format, ...) LG_PRINTF(3, 4);
void view_lines(struct view_node *in, const char *name, struct slice text);
void view_number(struct view_node *in, const char *name, uint64_t number);
void view_signed(struct view_node *in, const char *name, int64_t number);
void view_real(struct view_node *in, const char *name, double number);
void view_ratio(struct view_node *in, const char *name, double ratio);
void view_duration(struct view_node *in, const char *name, uint64_t us);
void view_bytes(struct view_node *in, const char *name, uint64_t bytes);
void view_time(struct view_node *in, const char *name, uint64_t unix_us);
void view_bool(struct view_node *in, const char *name, bool is);
void view_null(struct view_node *in, const char *name);
/* What is below another node, which must live as long. */
void view_graft(struct view_node *in, const char *name, const struct view_node *node);

/* Lines, the last one ended too, none of them empty; "none" for what is empty. Texts are escaped: no control
 * characters, no invalid UTF-8. */
void view_print_text(const struct view_node *node, FILE *out);
/* One value without line breaks. */
void view_print_json(const struct view_node *node, FILE *out);

/* As people read them: "250us", "1m30s"; "1.4 MiB". */
enum { VIEW_VALUE_MAX = 40 };
void view_format_duration(char out[VIEW_VALUE_MAX], uint64_t us);
void view_format_bytes(char out[VIEW_VALUE_MAX], uint64_t bytes);

#endif
