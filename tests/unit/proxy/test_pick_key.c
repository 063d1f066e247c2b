/* test_pick_key.c: the key of a request: what makes the same key, what another one, what none. */
#include "loomgate/proxy/pick_key.h"

#include "../../support/addr_make.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A request with three fields at most, of the client. */
struct asked {
    const char *host, *uri, *name[3], *value[3], *ip;
};

static bool key_of(enum hash_key kind, const char *name, const struct asked *a, uint64_t *key) {
    struct field v[3];
    struct message m = {.host = slice_of(a->host), .uri = slice_of(a->uri), .fields = {.v = v, .room = 3}};
    size_t mark = slice_find(m.uri, '?');
    m.path = slice_from(m.uri.p, mark);
    m.has_query = mark < m.uri.n;
    if (m.has_query) m.query = slice_from(m.uri.p + mark + 1, m.uri.n - mark - 1);
    for (unsigned i = 0; i < 3 && a->name[i]; i++)
        v[m.fields.count++] = (struct field){.name = slice_of(a->name[i]),
                                             .value = slice_of(a->value[i]),
                                             .id = (uint16_t)field_id_find(slice_of(a->name[i]))};
    struct addr client = a->ip ? addr_make_ip(a->ip, 1234) : addr_make_unix("");
    struct balance_settings settings = {.kind = BALANCE_HASH, .key = kind, .key_name = name};
    return pick_key(&settings, &m, &client, key);
}

static void same(enum hash_key kind, const char *name, struct asked one, struct asked other) {
    uint64_t a, b;
    assert_true(key_of(kind, name, &one, &a));
    assert_true(key_of(kind, name, &other, &b));
    assert_true(a == b);
}

static void differ(enum hash_key kind, const char *name, struct asked one, struct asked other) {
    uint64_t a, b;
    assert_true(key_of(kind, name, &one, &a));
    assert_true(key_of(kind, name, &other, &b));
    assert_true(a != b);
}

static void none(enum hash_key kind, const char *name, struct asked one) {
    uint64_t key;
    assert_false(key_of(kind, name, &one, &key));
}

#define ASKED(...) ((struct asked){__VA_ARGS__})

static void by_source(void **state) {
    (void)state;
    same(HASH_SOURCE, NULL, ASKED(.ip = "192.0.2.1", .uri = "/a"), ASKED(.ip = "192.0.2.1", .uri = "/b"));
    same(HASH_SOURCE, NULL, ASKED(.ip = "192.0.2.1"), ASKED(.ip = "::ffff:192.0.2.1"));
    differ(HASH_SOURCE, NULL, ASKED(.ip = "192.0.2.1"), ASKED(.ip = "192.0.2.2"));
    differ(HASH_SOURCE, NULL, ASKED(.ip = "2001:db8::1"), ASKED(.ip = "2001:db8::2"));
    none(HASH_SOURCE, NULL, ASKED(.uri = "/"));
}

static void by_host(void **state) {
    (void)state;
    same(HASH_HOST, NULL, ASKED(.host = "Example.org:8080"), ASKED(.host = "example.ORG"));
    same(HASH_HOST, NULL, ASKED(.host = "[::1]:80"), ASKED(.host = "[::1]"));
    differ(HASH_HOST, NULL, ASKED(.host = "[::1]"), ASKED(.host = "[::2]"));
    differ(HASH_HOST, NULL, ASKED(.host = "a.example.org"), ASKED(.host = "b.example.org"));
    none(HASH_HOST, NULL, ASKED(.uri = "/"));
}

static void by_path_and_uri(void **state) {
    (void)state;
    same(HASH_PATH, NULL, ASKED(.uri = "/a?x=1"), ASKED(.uri = "/a?x=2"));
    differ(HASH_PATH, NULL, ASKED(.uri = "/a"), ASKED(.uri = "/A"));
    same(HASH_URI, NULL, ASKED(.uri = "/a?x=1"), ASKED(.uri = "/a?x=1"));
    differ(HASH_URI, NULL, ASKED(.uri = "/a?x=1"), ASKED(.uri = "/a?x=2"));
    none(HASH_URI, NULL, ASKED(.ip = "192.0.2.1")); /* a tunnel */
}

static void by_header(void **state) {
    (void)state;
    same(HASH_HEADER, "X-T", ASKED(.name = {"x-t"}, .value = {"a"}), ASKED(.name = {"B", "X-T"}, .value = {"b", "a"}));
    differ(HASH_HEADER, "X-T", ASKED(.name = {"x-t"}, .value = {"a"}), ASKED(.name = {"x-t"}, .value = {"A"}));
    same(HASH_HEADER, "X-T", ASKED(.name = {"x-t", "x-t"}, .value = {"", "a"}), ASKED(.name = {"x-t"}, .value = {"a"}));
    none(HASH_HEADER, "X-T", ASKED(.name = {"X-Tt"}, .value = {"a"}));
    none(HASH_HEADER, "X-T", ASKED(.name = {"X-T"}, .value = {""}));
}

static void by_cookie(void **state) {
    (void)state;
    same(HASH_COOKIE, "sid", ASKED(.name = {"Cookie"}, .value = {"a=b; sid=7"}),
         ASKED(.name = {"Cookie", "Cookie"}, .value = {"c=d", "sid=7; a=b"}));
    differ(HASH_COOKIE, "sid", ASKED(.name = {"Cookie"}, .value = {"sid=7"}),
           ASKED(.name = {"Cookie"}, .value = {"sid=8"}));
    none(HASH_COOKIE, "sid", ASKED(.name = {"Cookie", "X"}, .value = {"a=b; sid=", "sid=7"}));
}

static void by_query(void **state) {
    (void)state;
    same(HASH_QUERY, "user", ASKED(.uri = "/a?user=7&x"), ASKED(.uri = "/b?y&us%65r=7"));
    differ(HASH_QUERY, "user", ASKED(.uri = "/a?user=7"), ASKED(.uri = "/a?user=8"));
    none(HASH_QUERY, "user", ASKED(.uri = "/a"));
    none(HASH_QUERY, "user", ASKED(.uri = "/a?user"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_source), cmocka_unit_test(by_host),   cmocka_unit_test(by_path_and_uri),
        cmocka_unit_test(by_header), cmocka_unit_test(by_cookie), cmocka_unit_test(by_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
