/* record_filter_value.c: the fields that a filter knows, and the values that each is compared with, as they are
 * written. */
#include "record_filter_internal.h"

#include "loomgate/config/schema.h"

#include <stddef.h>
#include <stdio.h>

/* --- fields ----------------------------------------------------------------------------------------------------- */

#define AT(member) offsetof(struct access_record, member)
static const struct record_field fields[] = {
    {"status", TYPE_STATUS, AT(status)},
    {"backend", TYPE_NAME, AT(backend)},
    {"server", TYPE_NAME, AT(server)},
    {"frontend", TYPE_NAME, AT(frontend)},
    {"route", TYPE_NAME, AT(route)},
    {"client", TYPE_CLIENT, AT(client)},
    {"method", TYPE_TEXT, AT(method)},
    {"host", TYPE_TEXT, AT(host)},
    {"path", TYPE_TEXT, AT(path)},
    {"protocol", TYPE_NAME, AT(protocol)},
    {"cause", TYPE_CAUSE, AT(cause)},
    {"blame", TYPE_BLAME, AT(cause)},
    {"bytes_in", TYPE_BYTES, AT(bytes_in)},
    {"bytes_out", TYPE_BYTES, AT(bytes_out)},
    {"queue", TYPE_DURATION, AT(queue_us)},
    {"connect", TYPE_DURATION, AT(connect_us)},
    {"first_byte", TYPE_DURATION, AT(first_byte_us)},
    {"total", TYPE_DURATION, AT(total_us)},
    {"queue_ms", TYPE_MS, AT(queue_us)},
    {"connect_ms", TYPE_MS, AT(connect_us)},
    {"first_byte_ms", TYPE_MS, AT(first_byte_us)},
    {"total_ms", TYPE_MS, AT(total_us)},
    {"tries", TYPE_COUNT, AT(try_count)},
    {"reused", TYPE_BOOLEAN, AT(reused)},
    {"tls", TYPE_TEXT, AT(tls)},
    {"traceparent", TYPE_TEXT, AT(traceparent)},
    {"id", TYPE_TEXT, AT(id)},
};
#undef AT

#define EQUALITY (1U << RELATION_EQ | 1U << RELATION_NE)
#define ORDER    (EQUALITY | 1U << RELATION_LT | 1U << RELATION_LE | 1U << RELATION_GT | 1U << RELATION_GE)
#define FINDING  (EQUALITY | 1U << RELATION_FINDS)

typedef bool take_value(struct parser *p, struct filter_term *t);
static take_value take_number, take_size, take_duration, take_ms, take_boolean, take_cause, take_blame, take_text,
    take_client;

static const struct {
    unsigned operators;
    const char *operators_text;
    const char *expected;
    take_value *take;
} types[] = {
    [TYPE_STATUS] = {ORDER, "== != < <= > >=", "a number", take_number},
    [TYPE_COUNT] = {ORDER, "== != < <= > >=", "a number", take_number},
    [TYPE_BYTES] = {ORDER, "== != < <= > >=", "a size such as 4096 or 16KiB", take_size},
    [TYPE_DURATION] = {ORDER, "== != < <= > >=", "a duration such as 200ms or 2s", take_duration},
    [TYPE_MS] = {ORDER, "== != < <= > >=", "a number of milliseconds, or a duration such as 200ms,", take_ms},
    [TYPE_BOOLEAN] = {EQUALITY, "== !=", "true or false", take_boolean},
    [TYPE_CAUSE] = {FINDING, "== != ~", "ok or the name of a failure", take_cause},
    [TYPE_BLAME] = {FINDING, "== != ~", "client, gateway or server", take_blame},
    [TYPE_NAME] = {FINDING, "== != ~", "a text", take_text},
    [TYPE_TEXT] = {FINDING, "== != ~", "a text", take_text},
    [TYPE_CLIENT] = {FINDING, "== != ~", "an address or a network such as 10.0.0.0/8", take_client},
};

const struct record_field *record_field_find(struct slice name) {
    for (size_t i = 0; i < LG_COUNT(fields); i++)
        if (slice_is(name, fields[i].name)) return &fields[i];
    return NULL;
}

bool record_field_is_boolean(const struct record_field *field) {
    return field->type == TYPE_BOOLEAN;
}

bool record_field_fail(struct parser *p, const struct token *name) {
    const char *names[LG_COUNT(fields)];
    char hint[400];
    size_t n = (size_t)snprintf(hint, sizeof hint, "there are");
    for (size_t i = 0; i < LG_COUNT(fields); i++) {
        names[i] = fields[i].name;
        n += (size_t)snprintf(hint + n, sizeof hint - n, "%s %s", i ? "," : "", names[i]);
    }
    nearest_word(name->text, names, LG_COUNT(names), hint, sizeof hint);
    return parser_fail(p, name->at, "no field is called '%s': %s", show(name->shown).text, hint);
}

bool record_field_takes(struct parser *p, const struct record_field *field, const struct token *op) {
    if (types[field->type].operators & 1U << op->op) return true;
    return parser_fail(p, op->at, "'%s' does not go with '%s', which takes %s", relation_text(op->op), field->name,
                       types[field->type].operators_text);
}

bool record_field_fail_operator(struct parser *p, const struct record_field *field) {
    return parser_fail(p, p->now.at, "an operator is expected after '%s': one of %s", field->name,
                       types[field->type].operators_text);
}

/* --- values as they are written --------------------------------------------------------------------------------- */

static bool take_number(struct parser *p, struct filter_term *t) {
    struct complaint c;
    return number_parse(p->now.text, &t->value.number, &c) && t->value.number != ACCESS_NONE;
}

static bool take_size(struct parser *p, struct filter_term *t) {
    struct complaint c;
    return size_parse(p->now.text, &t->value.number, &c) && t->value.number != ACCESS_NONE;
}

static bool take_duration(struct parser *p, struct filter_term *t) {
    struct complaint c;
    return duration_parse(p->now.text, &t->value.number, &c);
}

/* 200, 0.5, 12.345 */
static bool take_ms(struct parser *p, struct filter_term *t) {
    struct slice s = p->now.text;
    size_t point = slice_find(s, '.');
    uint64_t ms, fraction = 0;
    if (!slice_to_u64(slice_from(s.p, point), UINT64_MAX / 1000 - 1, &ms)) return take_duration(p, t);
    if (point < s.n) {
        size_t digits = s.n - point - 1;
        if (digits > 3 || !slice_to_u64(slice_from(s.p + point + 1, digits), 999, &fraction)) return false;
        for (; digits < 3; digits++) fraction *= 10;
    }
    t->value.number = ms * 1000 + fraction;
    return true;
}

static bool take_boolean(struct parser *p, struct filter_term *t) {
    t->value.number = slice_is(p->now.text, "true");
    return t->value.number || slice_is(p->now.text, "false");
}

static bool take_cause(struct parser *p, struct filter_term *t) {
    uint64_t f = 0;
    while (f < FAILURE_COUNT && !slice_is(p->now.text, failure_get((enum failure)f)->name)) f++;
    t->value.number = f;
    return f < FAILURE_COUNT;
}

static bool take_blame(struct parser *p, struct filter_term *t) {
    uint64_t b = BLAME_CLIENT;
    while (b <= BLAME_SERVER && !slice_is(p->now.text, blame_name((enum blame)b))) b++;
    t->value.number = b;
    return b <= BLAME_SERVER;
}

static bool take_text(struct parser *p, struct filter_term *t) {
    t->value.text = p->now.text;
    return true;
}

static bool take_client(struct parser *p, struct filter_term *t) {
    struct client_value *v = arena_calloc(&p->filter->arena, sizeof *v);
    struct address_setting setting;
    struct complaint c;
    struct error e;
    t->value.client = v;
    v->is_network = cidr_parse(p->now.text, &v->network, &c);
    if (v->is_network) return true;
    if (slice_is(p->now.text, "unix:")) { /* they have no path */
        v->addr.u.sa.sa_family = AF_UNIX;
        v->addr.len = sizeof v->addr.u.sa.sa_family;
        return true;
    }
    return address_parse(p->now.text, false, &p->filter->arena, &setting, &c) && setting.kind == ADDRESS_IP &&
           addr_resolve(&v->addr, &setting, &e);
}

static bool take_regex(struct parser *p, struct filter_term *t) {
    PCRE2_UCHAR why[120];
    PCRE2_SIZE at;
    int error;
    struct slice s = p->now.text;
    if (s.n > FILTER_REGEX_MAX)
        return parser_fail(p, p->now.at, "a regular expression has at most %d bytes", FILTER_REGEX_MAX);
    /* Texts are bytes, whatever they claim to be. */
    t->value.regex = pcre2_compile((PCRE2_SPTR)s.p, s.n, PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (!t->value.regex) {
        pcre2_get_error_message(error, why, LG_COUNT(why));
        return parser_fail(p, p->now.at, "the regular expression is wrong at its character %zu: %s", at ? at : 1,
                           (const char *)why); /* `at` is behind it */
    }
    pcre2_jit_compile(t->value.regex, PCRE2_JIT_COMPLETE); /* where it cannot, it is interpreted */
    return true;
}

static bool take_null(struct parser *p, struct filter_term *t) {
    if (t->op != RELATION_EQ && t->op != RELATION_NE) return parser_fail(p, p->now.at, "null goes with == and != only");
    t->op = t->op == RELATION_EQ ? RELATION_IS_NULL : RELATION_IS_SET;
    return true;
}

bool term_take_value(struct parser *p, struct filter_term *t) {
    const struct token *v = &p->now;
    bool is_regex = t->op == RELATION_FINDS;
    const char *expected = is_regex ? "a regular expression" : types[t->field->type].expected;
    const char *op = relation_text(t->op);
    bool is_keyword = token_is(v, "and") || token_is(v, "or") || token_is(v, "not");
    bool is_there = (v->kind == TOKEN_WORD && !is_keyword) || v->kind == TOKEN_QUOTED;
    if (!is_there) return parser_fail(p, v->at, "%s is expected after '%s%s'", expected, t->field->name, op);
    if (token_is(v, "null")) return take_null(p, t);
    if (v->text.n == 0)
        return parser_fail(p, v->at, "there are no empty texts: write %s%snull", t->field->name,
                           t->op == RELATION_NE ? "!=" : "==");
    if (is_regex) return take_regex(p, t);
    if (types[t->field->type].take(p, t)) return true;
    return parser_fail(p, v->at, "%s is expected after '%s%s', not '%s'", expected, t->field->name, op,
                       show(v->shown).text);
}
