/* rewrite.c: what a gateway changes in a head on its way (RFC 9110 section 7.6). */
#include "loomgate/http/rewrite.h"

#include "loomgate/base/macros.h"

/* What becomes of a known field: CUT is the connection's own business, or written anew by h1_print_head. */
enum fate { KEEP, CUT, CUT_IN_REQUESTS, FORWARDED };

static const uint8_t fates[FIELD_COUNT] = {
    [FIELD_HOST] = CUT_IN_REQUESTS,
    [FIELD_CONNECTION] = CUT,
    [FIELD_PROXY_CONNECTION] = CUT,
    [FIELD_KEEP_ALIVE] = CUT,
    [FIELD_TE] = CUT,
    [FIELD_UPGRADE] = CUT,
    [FIELD_HTTP2_SETTINGS] = CUT,
    [FIELD_TRANSFER_ENCODING] = CUT,
    [FIELD_CONTENT_LENGTH] = CUT,
    [FIELD_X_FORWARDED_FOR] = FORWARDED,
    [FIELD_X_FORWARDED_PROTO] = FORWARDED,
    [FIELD_X_FORWARDED_HOST] = FORWARDED,
    [FIELD_X_FORWARDED_PORT] = FORWARDED,
};

/* Fields that Connection need not remove, as they are cut anyhow, or never may: what routing, framing and LoomGate
 * itself rest on. */
static bool stays_as_it_is(struct slice name, struct slice id_name) {
    enum field_id id = field_id_find(name);
    return id == FIELD_HOST || fates[id] == CUT || fates[id] == FORWARDED || slice_eq_nocase(name, id_name);
}

/* RFC 9110 section 7.6.1. */
static void drop_connection_named(struct fields *f, struct slice id_name) {
    if (!fields_had(f, FIELD_CONNECTION)) return;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++) {
        if (at->id != FIELD_CONNECTION || at->drop) continue;
        struct slice list = at->value, option;
        while (slice_split(&list, ',', &option)) {
            option = slice_trim(option);
            if (option.n && !stays_as_it_is(option, id_name)) fields_drop_name(f, option);
        }
    }
}

static char plain(char c) {
    if (c == '_') return '-';
    return ascii_lower(c);
}

/* Whether `name` is `ours` in any case of letters, '_' being as good as '-': many a server sees them as one. */
static bool is_variant(struct slice name, struct slice ours) {
    if (name.n != ours.n) return false;
    for (size_t i = 0; i < name.n; i++)
        if (plain(name.p[i]) != plain(ours.p[i])) return false;
    return true;
}

static bool is_forwarded_variant(struct slice name) {
    if (name.n < 15 || name.n > 17 || ascii_lower(name.p[0]) != 'x') return false;
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++)
        if (fates[id] == FORWARDED && is_variant(name, field_id_name((enum field_id)id))) return true;
    return false;
}

/* Drops fields by their fate, and spelling variants of X-Forwarded-* where that is ours to write. */
static void drop_by_fate(struct fields *f, unsigned fates_to_drop, bool is_forwarded) {
    for (struct field *at = f->v, *end = f->v + f->count; at < end; at++) {
        at->drop |= fates_to_drop >> fates[at->id] & 1;
        if (is_forwarded && at->id == FIELD_OTHER && is_forwarded_variant(at->name)) at->drop = true;
    }
}

static void set_id(struct fields *f, struct slice name, struct slice id) {
    if (name.n == 0) return;
    for (struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (at->name.n == name.n && is_variant(at->name, name)) at->drop = true;
    if (id.n) LG_ASSERT(fields_add(f, name, id));
}

/* --- X-Forwarded-* */

static void add_unless_there(struct fields *f, enum field_id id, struct slice value) {
    if (value.n && !fields_find(f, id)) LG_ASSERT(fields_add_known(f, id, value));
}

/* All that came, as one list, and the client behind it. */
static struct slice forwarded_for(struct fields *f, struct slice client, struct arena *arena) {
    if (!fields_had(f, FIELD_X_FORWARDED_FOR)) return client;
    size_t n = client.n;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++)
        if (at->id == FIELD_X_FORWARDED_FOR && !at->drop && at->value.n) n += at->value.n + 2;
    if (n == client.n) return client;
    char *text = arena_alloc(arena, n), *to = text;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++) {
        if (at->id != FIELD_X_FORWARDED_FOR || at->drop || !at->value.n) continue;
        memcpy(to, at->value.p, at->value.n);
        to += at->value.n;
        *to++ = ',';
        *to++ = ' ';
    }
    if (client.n) memcpy(to, client.p, client.n);
    return slice_from(text, n);
}

static void set_forwarded(struct message *m, const struct request_rewrite *r, struct arena *arena) {
    struct fields *f = &m->fields;
    struct slice chain = forwarded_for(f, r->client_ip, arena);
    fields_drop(f, FIELD_X_FORWARDED_FOR);
    add_unless_there(f, FIELD_X_FORWARDED_FOR, chain);
    add_unless_there(f, FIELD_X_FORWARDED_PROTO, r->proto);
    add_unless_there(f, FIELD_X_FORWARDED_HOST, m->host);
    add_unless_there(f, FIELD_X_FORWARDED_PORT, r->port);
}

void request_rewrite(struct message *m, const struct request_rewrite *r, struct arena *arena) {
    drop_connection_named(&m->fields, r->id_name);
    const unsigned forwarded = r->forwarded && !r->trusted ? 1u << FORWARDED : 0;
    drop_by_fate(&m->fields, 1u << CUT | 1u << CUT_IN_REQUESTS | forwarded, r->forwarded);
    if (r->forwarded) set_forwarded(m, r, arena);
    set_id(&m->fields, r->id_name, r->id);
}

void response_rewrite(struct message *m, const struct response_rewrite *r) {
    drop_connection_named(&m->fields, r->id_name);
    drop_by_fate(&m->fields, 1u << CUT, false);
    if (m->status < 200 && m->status != 101) return; /* the final response says the rest */
    set_id(&m->fields, r->id_name, r->id);
    add_unless_there(&m->fields, FIELD_DATE, r->date);
}
