/* record_filter_compare.c: whether a term holds for a record. */
#include "record_filter_internal.h"

static uint64_t number_of(const struct access_record *r, const struct record_field *field) {
    const void *at = (const char *)r + field->offset;
    enum blame blame;
    switch (field->type) {
    case TYPE_STATUS:
        return *(const unsigned *)at ? *(const unsigned *)at : ACCESS_NONE;
    case TYPE_COUNT:
        return *(const unsigned *)at;
    case TYPE_BOOLEAN:
        return *(const bool *)at;
    case TYPE_CAUSE:
        return *(const enum failure *)at;
    case TYPE_BLAME:
        blame = (enum blame)failure_get(*(const enum failure *)at)->blame;
        return blame != BLAME_NONE ? blame : ACCESS_NONE;
    default:
        return *(const uint64_t *)at;
    }
}

/* `room` is for what is not there as a text; empty: none. */
static struct slice text_of(const struct access_record *r, const struct record_field *field, char room[ADDR_TEXT_MAX]) {
    const void *at = (const char *)r + field->offset;
    const struct addr *client;
    switch (field->type) {
    case TYPE_NAME:
        return slice_of(*(const char *const *)at);
    case TYPE_TEXT:
        return *(const struct slice *)at;
    case TYPE_CAUSE:
        return slice_of(failure_get(*(const enum failure *)at)->name);
    case TYPE_BLAME:
        return slice_of(blame_name((enum blame)failure_get(*(const enum failure *)at)->blame));
    default:
        client = *(const struct addr *const *)at;
        return slice_from(room, client && client->len ? addr_print(client, room) : 0);
    }
}

static bool number_holds(enum relation op, uint64_t a, uint64_t b) {
    switch (op) {
    case RELATION_EQ:
        return a == b;
    case RELATION_NE:
        return a != b;
    case RELATION_LT:
        return a < b;
    case RELATION_LE:
        return a <= b;
    case RELATION_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static bool is_found(const struct record_filter *f, const struct filter_term *t, struct record_filter_scratch *s,
                     struct slice text) {
    return text.n && pcre2_match(t->value.regex, (PCRE2_SPTR)text.p, text.n, 0, 0, s->match, f->limits) >= 0;
}

static bool client_is(const struct client_value *v, const struct addr *a) {
    return v->is_network ? cidr_list_has(&(struct cidr_list){&v->network, 1}, a) : addr_eq(&v->addr, a);
}

static bool text_holds(const struct record_filter *f, const struct filter_term *t, struct record_filter_scratch *s,
                       const struct access_record *r) {
    char room[ADDR_TEXT_MAX];
    if (t->field->type == TYPE_CLIENT && t->op <= RELATION_NE) {
        const struct addr *a = *(const struct addr *const *)(const void *)((const char *)r + t->field->offset);
        return (a && a->len && client_is(t->value.client, a)) == (t->op == RELATION_EQ);
    }
    struct slice text = text_of(r, t->field, room);
    switch (t->op) {
    case RELATION_IS_NULL:
        return text.n == 0;
    case RELATION_IS_SET:
        return text.n > 0;
    case RELATION_FINDS:
        return is_found(f, t, s, text);
    default:
        return slice_eq(text, t->value.text) == (t->op == RELATION_EQ);
    }
}

bool term_holds(const struct record_filter *f, const struct filter_term *t, struct record_filter_scratch *s,
                const struct access_record *r) {
    if (t->field->type >= TYPE_NAME || t->op == RELATION_FINDS) return text_holds(f, t, s, r);
    uint64_t number = number_of(r, t->field);
    if (t->op == RELATION_IS_NULL) return number == ACCESS_NONE;
    if (t->op == RELATION_IS_SET) return number != ACCESS_NONE;
    if (number == ACCESS_NONE) return t->op == RELATION_NE;
    return number_holds(t->op, number, t->value.number);
}
