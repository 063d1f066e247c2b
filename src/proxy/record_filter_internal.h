/* record_filter_internal.h: what the files of the filter share.
 *
 *   text --record_filter_token.c--> tokens --record_filter.c--> terms that lead to one another
 *                                             field and value of a term: record_filter_value.c
 *   record --record_filter.c, record_filter_compare.c--> yes or no */
#ifndef LOOMGATE_PROXY_RECORD_FILTER_INTERNAL_H
#define LOOMGATE_PROXY_RECORD_FILTER_INTERNAL_H

#include "loomgate/base/mem.h"
#include "loomgate/proxy/record_filter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* --- tokens ----------------------------------------------------------------------------------------------------- */

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_OPERATOR };
enum relation {
    RELATION_EQ,
    RELATION_NE,
    RELATION_LT,
    RELATION_LE,
    RELATION_GT,
    RELATION_GE,
    RELATION_FINDS,
    RELATION_IS_NULL, /* the rest is not written like this: == null */
    RELATION_IS_SET,
};

struct token {
    enum token_kind kind;
    enum relation op;
    size_t at;          /* where it begins in the text */
    struct slice shown; /* as it was written */
    struct slice text;  /* of a word or what was quoted */
};

struct parser {
    struct slice text;
    size_t at; /* behind `now` */
    struct token now;
    struct record_filter *filter;
    struct error *e;
};

/* The next token to p->now; false with an error when there is none. */
LG_MUST_CHECK bool token_next(struct parser *p);
bool token_is(const struct token *t, const char *keyword);
const char *relation_text(enum relation op);
/* "column N: ", the sentence; returns false. */
bool parser_fail(struct parser *p, size_t at, const char *format, ...) LG_PRINTF(3, 4);

/* For "%s": a part of what was written, without controls, not more than a line bears. */
enum { SHOWN_MAX = 60 };
struct shown {
    char text[SHOWN_MAX + 4];
};
struct shown show(struct slice s);

/* --- terms ------------------------------------------------------------------------------------------------------ */

enum field_type {
    TYPE_STATUS,   /* unsigned, 0: none */
    TYPE_COUNT,    /* unsigned */
    TYPE_BYTES,    /* uint64_t, ACCESS_NONE: none; so are the next two */
    TYPE_DURATION, /* us; written with a unit */
    TYPE_MS,       /* us; written as ms, or with a unit */
    TYPE_BOOLEAN,  /* bool */
    TYPE_CAUSE,    /* enum failure */
    TYPE_BLAME,    /* of the cause; BLAME_NONE: none */
    TYPE_NAME,     /* const char *, NULL: none */
    TYPE_TEXT,     /* struct slice, empty: none */
    TYPE_CLIENT,   /* const struct addr *, NULL or unknown: none */
};

struct record_field {
    const char *name;
    enum field_type type;
    size_t offset;
};

struct client_value {
    bool is_network;
    struct cidr network;
    struct addr addr;
};

/* A comparison, and where it leads to: another, later one, or FILTER_YES or FILTER_NO. */
enum { FILTER_YES = 0xfffe, FILTER_NO = 0xffff };
struct filter_term {
    const struct record_field *field;
    enum relation op;
    uint16_t on_true, on_false;
    union {
        uint64_t number;
        struct slice text;
        pcre2_code *regex; /* of RELATION_FINDS */
        struct client_value *client;
    } value;
};

struct record_filter {
    struct arena arena;
    pcre2_match_context *limits;
    uint16_t first, count; /* `first`: a term, or FILTER_YES or FILTER_NO */
    struct filter_term terms[FILTER_TERMS_MAX];
};

struct record_filter_scratch {
    pcre2_match_data *match;
};

/* record_filter_value.c. NULL: none of that name. */
const struct record_field *record_field_find(struct slice name);
/* Says which there are. */
bool record_field_fail(struct parser *p, const struct token *name);
bool record_field_is_boolean(const struct record_field *field);
/* Whether the operator goes with it; false with an error. */
LG_MUST_CHECK bool record_field_takes(struct parser *p, const struct record_field *field, const struct token *op);
/* Says which operators go with it. */
bool record_field_fail_operator(struct parser *p, const struct record_field *field);
/* The value of the term, whose field and operator are set, from p->now; false with an error. */
LG_MUST_CHECK bool term_take_value(struct parser *p, struct filter_term *t);

/* record_filter_compare.c */
bool term_holds(const struct record_filter *f, const struct filter_term *t, struct record_filter_scratch *s,
                const struct access_record *r);

#endif
