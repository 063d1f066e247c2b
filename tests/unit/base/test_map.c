/* test_map.c: the map against a naive model: puts, clashes, removals, walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/macros.h"
#include "loomgate/base/map.h"

#include <stdio.h>
#include <string.h>

enum { KEYS = 300, STEPS = 60000 };

static char keys[KEYS][12];
static int values[KEYS][2];
static void *model[KEYS];

/* xorshift32 (Marsaglia 2003), fixed seed: a failure repeats. */
static uint32_t next_random(void) {
    static uint32_t x = 2463534242U;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

static void check_walk(const struct map *m) {
    bool seen[KEYS] = {false};
    size_t at = 0, count = 0;
    for (struct map_entry *e; (e = map_next(m, &at)) != NULL; count++) {
        unsigned k;
        assert_int_equal(sscanf(e->key.p, "key-%u", &k), 1);
        assert_false(seen[k]);
        seen[k] = true;
        assert_ptr_equal(e->value, model[k]);
    }
    assert_int_equal(count, m->count);
    for (int k = 0; k < KEYS; k++) assert_int_equal(seen[k], model[k] != NULL);
}

static void test_against_model(void **state) {
    (void)state;
    struct map m;
    size_t count = 0;
    map_init(&m);
    for (unsigned k = 0; k < KEYS; k++) snprintf(keys[k], sizeof keys[k], "key-%u", k);
    for (int step = 0; step < STEPS; step++) {
        /* Some phases grow the map, some empty it. */
        unsigned k = next_random() % KEYS;
        bool puts = next_random() % 100 < (step / 5000 % 2 ? 20U : 70U);
        struct slice key = slice_of(keys[k]);
        if (puts) {
            void *value = &values[k][next_random() & 1];
            assert_ptr_equal(map_put(&m, key, value), model[k]);
            if (!model[k]) model[k] = value, count++;
        } else {
            assert_ptr_equal(map_remove(&m, key), model[k]);
            if (model[k]) model[k] = NULL, count--;
        }
        assert_int_equal(m.count, count);
        unsigned probe = next_random() % KEYS;
        assert_ptr_equal(map_find(&m, slice_of(keys[probe])), model[probe]);
        if (step % 1000 == 0) check_walk(&m);
    }
    for (int k = 0; k < KEYS; k++) assert_ptr_equal(map_find(&m, slice_of(keys[k])), model[k]);
    check_walk(&m);
    map_fini(&m);
}

static void test_empty(void **state) {
    (void)state;
    struct map m;
    size_t at = 0;
    map_init(&m);
    assert_null(map_find(&m, SLICE("a")));
    assert_null(map_remove(&m, SLICE("a")));
    assert_null(map_next(&m, &at));
    assert_null(map_put(&m, SLICE(""), values));
    assert_ptr_equal(map_find(&m, slice_from(NULL, 0)), values);
    assert_ptr_equal(map_remove(&m, SLICE("")), values);
    assert_null(map_find(&m, SLICE("")));
    map_fini(&m);
    map_fini(&m);
}

/* Keys may hold any bytes, and one may be the beginning of another. */
static void test_keys_are_bytes(void **state) {
    (void)state;
    struct map m;
    map_init(&m);
    assert_null(map_put(&m, SLICE("a"), &values[0][0]));
    assert_null(map_put(&m, SLICE("a\0b"), &values[1][0]));
    assert_null(map_put(&m, SLICE("a\0c"), &values[2][0]));
    assert_ptr_equal(map_find(&m, SLICE("a")), &values[0][0]);
    assert_ptr_equal(map_find(&m, SLICE("a\0b")), &values[1][0]);
    assert_null(map_find(&m, SLICE("a\0d")));
    map_fini(&m);
}

/* Low bits choose the place: short keys that differ in one byte spread over them. */
static void test_hash_spreads(void **state) {
    (void)state;
    unsigned used[64] = {0}, most = 0;
    for (unsigned k = 0; k < 1024; k++) {
        char key[12];
        int n = snprintf(key, sizeof key, "s%u", k);
        unsigned place = map_hash(slice_from(key, (size_t)n)) & 63;
        if (++used[place] > most) most = used[place];
    }
    assert_true(most < 48); /* 16 on average */
    assert_int_equal(map_hash(SLICE("abc")), map_hash(slice_from("abcd", 3)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_hash_spreads),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
