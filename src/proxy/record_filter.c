/* record_filter.c: a filter's expression to terms that lead to one another; a record's way through them.
 *
 *   a and (b or not c)       a -true-> b -true-> YES
 *                            |         | false
 *                            |         c -true-> NO
 *                            |         | false-> YES
 *                            false-> NO
 *
 * The parser makes a tree over terms; lead() then tells each term where it leads to, so that no tree, no stack and no
 * negation is left when a record is looked at. A term leads to later ones only. */
#include "record_filter_internal.h"

#include <stdlib.h>

/* Steps of the regular expression library for one text, and KiB of heap where it cannot generate code. */
enum { STEPS_MAX = 20000, HEAP_KIB_MAX = 1024 };

enum node_kind { NODE_TERM, NODE_AND, NODE_OR };
struct node {
    enum node_kind kind;
    bool negated;
    uint16_t left, right; /* NODE_TERM: `left` is the term */
};

/* Each term but the first is there by one `and` or `or`. */
struct tree {
    struct parser p;
    unsigned depth;
    uint16_t count;
    struct node nodes[2 * FILTER_TERMS_MAX];
};

static bool parse_or(struct tree *t, uint16_t *out);

static uint16_t add_node(struct tree *t, enum node_kind kind, uint16_t left, uint16_t right) {
    LG_ASSERT(t->count < LG_COUNT(t->nodes));
    t->nodes[t->count] = (struct node){kind, false, left, right};
    return t->count++;
}

static bool check_end(struct parser *p, bool may_go_on) {
    const struct token *t = &p->now;
    if (t->kind == TOKEN_END) return true;
    if (t->kind == TOKEN_CLOSE) return parser_fail(p, t->at, "there is no '(' for this ')'");
    if (token_is(t, "&&") || token_is(t, "||"))
        return parser_fail(p, t->at, "write '%s' for '%s'", token_is(t, "&&") ? "and" : "or", t->text.p);
    if (may_go_on && t->kind != TOKEN_OPERATOR && t->kind != TOKEN_OPEN) return true;
    return parser_fail(p, t->at, "'and', 'or' or the end is expected, not '%s'", show(t->shown).text);
}

static bool fail_depth(struct parser *p) {
    return parser_fail(p, p->now.at, "parentheses are nested more than %d deep", FILTER_DEPTH_MAX);
}

static bool expect_term(struct tree *t) {
    struct parser *p = &t->p;
    if (p->now.kind == TOKEN_WORD && !token_is(&p->now, "and") && !token_is(&p->now, "or")) return true;
    if (p->now.kind == TOKEN_END)
        return parser_fail(p, p->now.at, "a comparison is expected here, such as status>=500 or path~\"^/v1\"");
    return parser_fail(p, p->now.at, "a comparison is expected, such as status>=500, not '%s'",
                       show(p->now.shown).text);
}

static bool parse_comparison(struct parser *p, struct filter_term *term) {
    const struct token op = p->now;
    if (op.kind != TOKEN_OPERATOR && record_field_is_boolean(term->field)) {
        term->op = RELATION_EQ;
        term->value.number = true;
        return true;
    }
    if (op.kind != TOKEN_OPERATOR) return record_field_fail_operator(p, term->field);
    if (!record_field_takes(p, term->field, &op)) return false;
    term->op = op.op;
    return token_next(p) && term_take_value(p, term) && token_next(p);
}

static bool parse_term(struct tree *t, uint16_t *out) {
    struct parser *p = &t->p;
    struct record_filter *f = p->filter;
    if (!expect_term(t)) return false;
    if (f->count == FILTER_TERMS_MAX)
        return parser_fail(p, p->now.at, "an expression has at most %d comparisons", FILTER_TERMS_MAX);
    const struct token name = p->now;
    struct filter_term *term = &f->terms[f->count++];
    term->field = record_field_find(name.text);
    if (!term->field) return record_field_fail(p, &name);
    *out = add_node(t, NODE_TERM, (uint16_t)(f->count - 1), 0);
    return token_next(p) && parse_comparison(p, term);
}

/* Quoted as a whole: the text within is an expression of its own, and so are the columns of its errors. */
static bool parse_quoted(struct tree *t, uint16_t *out) {
    struct parser *p = &t->p, outer = *p;
    if (t->depth == FILTER_DEPTH_MAX) return fail_depth(p);
    t->depth++;
    p->text = p->now.text;
    p->at = 0;
    if (!token_next(p) || !parse_or(t, out) || !check_end(p, false)) return false;
    t->depth--;
    *p = outer;
    return token_next(p);
}

static bool parse_group(struct tree *t, uint16_t *out) {
    struct parser *p = &t->p;
    size_t at = p->now.at;
    if (t->depth == FILTER_DEPTH_MAX) return fail_depth(p);
    t->depth++;
    if (!token_next(p) || !parse_or(t, out)) return false;
    t->depth--;
    if (p->now.kind == TOKEN_END) return parser_fail(p, at, "the parenthesis is not closed");
    if (p->now.kind != TOKEN_CLOSE)
        return parser_fail(p, p->now.at, "'and', 'or' or ')' is expected, not '%s'", show(p->now.shown).text);
    return token_next(p);
}

static bool parse_not(struct tree *t, uint16_t *out) {
    bool negated = false;
    while (token_is(&t->p.now, "not")) {
        negated = !negated;
        if (!token_next(&t->p)) return false;
    }
    enum token_kind kind = t->p.now.kind;
    if (!(kind == TOKEN_OPEN ? parse_group(t, out) : kind == TOKEN_QUOTED ? parse_quoted(t, out) : parse_term(t, out)))
        return false;
    t->nodes[*out].negated ^= negated;
    return true;
}

static bool parse_and(struct tree *t, uint16_t *out) {
    if (!parse_not(t, out)) return false;
    while (token_is(&t->p.now, "and")) {
        uint16_t right = 0;
        if (!token_next(&t->p) || !parse_not(t, &right)) return false;
        *out = add_node(t, NODE_AND, *out, right);
    }
    return true;
}

static bool parse_or(struct tree *t, uint16_t *out) {
    if (!parse_and(t, out)) return false;
    while (token_is(&t->p.now, "or")) {
        uint16_t right = 0;
        if (!token_next(&t->p) || !parse_and(t, &right)) return false;
        *out = add_node(t, NODE_OR, *out, right);
    }
    return true;
}

/* Tells all terms below where they lead to; returns the first of them. */
static uint16_t lead(struct tree *t, uint16_t at, uint16_t yes, uint16_t no) {
    const struct node *node = &t->nodes[at];
    uint16_t on_true = node->negated ? no : yes, on_false = node->negated ? yes : no;
    if (node->kind == NODE_AND) return lead(t, node->left, lead(t, node->right, on_true, on_false), on_false);
    if (node->kind == NODE_OR) return lead(t, node->left, on_true, lead(t, node->right, on_true, on_false));
    t->p.filter->terms[node->left].on_true = on_true;
    t->p.filter->terms[node->left].on_false = on_false;
    return node->left;
}

static pcre2_match_context *make_limits(void) {
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    LG_ASSERT(limits != NULL);
    pcre2_set_match_limit(limits, STEPS_MAX);
    pcre2_set_heap_limit(limits, HEAP_KIB_MAX);
    return limits;
}

struct record_filter *record_filter_compile(struct slice text, size_t *used, struct error *e) {
    struct tree t = {.p = {.text = text, .e = e}};
    uint16_t root = 0;
    if (text.n > FILTER_TEXT_MAX) {
        error_set(e, "column %d: an expression has at most %d bytes", FILTER_TEXT_MAX + 1, FILTER_TEXT_MAX);
        return NULL;
    }
    struct record_filter *f = t.p.filter = xcalloc(1, sizeof *f);
    arena_init(&f->arena, NULL, 0);
    f->limits = make_limits();
    if (!token_next(&t.p) || !parse_or(&t, &root) || !check_end(&t.p, used != NULL)) {
        record_filter_free(f);
        return NULL;
    }
    if (used) *used = t.p.now.at;
    f->first = lead(&t, root, FILTER_YES, FILTER_NO);
    return f;
}

void record_filter_free(struct record_filter *f) {
    if (!f) return;
    for (unsigned i = 0; i < f->count; i++)
        if (f->terms[i].op == RELATION_FINDS) pcre2_code_free(f->terms[i].value.regex);
    pcre2_match_context_free(f->limits);
    arena_fini(&f->arena);
    free(f);
}

struct record_filter_scratch *record_filter_scratch_new(void) {
    struct record_filter_scratch *s = xcalloc(1, sizeof *s);
    s->match = pcre2_match_data_create(1, NULL);
    LG_ASSERT(s->match != NULL);
    return s;
}

void record_filter_scratch_free(struct record_filter_scratch *s) {
    if (!s) return;
    pcre2_match_data_free(s->match);
    free(s);
}

bool record_filter_matches(const struct record_filter *f, struct record_filter_scratch *s,
                           const struct access_record *r) {
    uint16_t at = f->first;
    while (at < f->count) at = term_holds(f, &f->terms[at], s, r) ? f->terms[at].on_true : f->terms[at].on_false;
    return at == FILTER_YES;
}
