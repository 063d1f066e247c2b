/* pick_key.c: what `balance: {hash: ...}` makes of a request. */
#include "loomgate/proxy/pick_key.h"

#include "loomgate/backend/balance_hash.h"
#include "loomgate/http/params.h"

static bool key_of(struct slice text, uint64_t *key) {
    *key = balance_key_add(BALANCE_KEY, text);
    return text.n > 0;
}

static bool key_of_source(const struct addr *client, uint64_t *key) {
    struct in6_addr ip;
    return addr_ip6(client, &ip) && key_of(slice_from((const char *)&ip, sizeof ip), key);
}

static bool key_of_host(struct slice authority, uint64_t *key) {
    size_t from = authority.n && authority.p[0] == '[' ? slice_find(authority, ']') : 0;
    size_t n = from + slice_find(slice_from(authority.p + from, authority.n - from), ':');
    *key = BALANCE_KEY;
    for (size_t i = 0; i < n; i++) {
        char low = ascii_lower(authority.p[i]);
        *key = balance_key_add(*key, slice_from(&low, 1));
    }
    return n > 0;
}

static bool key_of_header(const struct fields *fields, struct slice name, uint64_t *key) {
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->v[i];
        if (!f->drop && slice_eq_nocase(f->name, name) && key_of(f->value, key)) return true;
    }
    return false;
}

static bool key_of_cookie(const struct fields *fields, struct slice name, uint64_t *key) {
    for (uint32_t i = 0; i < fields->count; i++) {
        const struct field *f = &fields->v[i];
        struct slice rest = f->value, value;
        if (f->id != FIELD_COOKIE || f->drop) continue;
        while (cookie_next(&rest, name, &value))
            if (key_of(value, key)) return true;
    }
    return false;
}

static bool key_of_query(const struct message *request, struct slice name, uint64_t *key) {
    struct slice rest = request->has_query ? request->query : slice_from(NULL, 0), value;
    while (query_next(&rest, name, &value))
        if (key_of(value, key)) return true;
    return false;
}

bool pick_key(const struct balance_settings *settings, const struct message *request, const struct addr *client,
              uint64_t *key) {
    struct slice name = slice_of(settings->key_name);
    switch (settings->key) {
    case HASH_SOURCE:
        return key_of_source(client, key);
    case HASH_HOST:
        return key_of_host(request->host, key);
    case HASH_PATH:
        return key_of(request->path, key);
    case HASH_URI:
        return key_of(request->uri, key);
    case HASH_HEADER:
        return key_of_header(&request->fields, name, key);
    case HASH_COOKIE:
        return key_of_cookie(&request->fields, name, key);
    case HASH_QUERY:
        return key_of_query(request, name, key);
    }
    return false;
}
