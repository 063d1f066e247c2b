/* test_mem.c: arenas and slabs: sizes, alignment, reuse, nothing overlapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>

static bool is_aligned(const void *p) {
    return (uintptr_t)p % 16 == 0;
}

static void test_checked(void **state) {
    (void)state;
    char *p = xmalloc(0);
    assert_non_null(p);
    p = xrealloc(p, 3);
    memcpy(p, "ab", 3);
    char *copy = xstrdup(p);
    assert_string_equal(copy, "ab");
    assert_ptr_not_equal(copy, p);
    unsigned char *zero = xcalloc(7, 3);
    for (int i = 0; i < 21; i++) assert_int_equal(zero[i], 0);
    free(p);
    free(copy);
    free(zero);
}

/* Each piece is filled with its own byte; afterwards all are as they were written. */
static void test_arena_pieces(void **state) {
    (void)state;
    enum { PIECES = 400 };
    unsigned char *pieces[PIECES];
    struct arena a;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < PIECES; i++) {
        size_t size = i * i % 3000;
        pieces[i] = i % 2 ? arena_alloc(&a, size) : arena_calloc(&a, size);
        assert_non_null(pieces[i]);
        assert_true(is_aligned(pieces[i]));
        for (size_t k = 0; i % 2 == 0 && k < size; k++) assert_int_equal(pieces[i][k], 0);
        memset(pieces[i], (int)i & 255, size);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t k = 0; k < i * i % 3000; k++) assert_int_equal(pieces[i][k], i & 255);
    arena_fini(&a);
    assert_int_equal(a.total, 0);
}

static void test_arena_first(void **state) {
    (void)state;
    char memory[256 + 1];
    struct arena a;
    arena_init(&a, memory + 1, 256); /* not aligned: the arena has to see to it */
    char *p = arena_alloc(&a, 100), *q = arena_alloc(&a, 100);
    assert_true(is_aligned(p) && is_aligned(q));
    assert_true(p >= memory + 1 && q + 100 <= memory + sizeof memory && q >= p + 100);
    assert_int_equal(a.total, 0);
    char *far = arena_alloc(&a, 1000);
    assert_true(far + 1000 <= memory || far >= memory + sizeof memory);
    assert_true(a.total >= 1000);
    arena_fini(&a);
    arena_init(&a, memory + 1, 3); /* too small for anything */
    assert_non_null(arena_alloc(&a, 1));
    arena_fini(&a);
}

/* A large piece takes a block of its own; the block with room goes on serving. */
static void test_arena_large(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0);
    char *small = arena_alloc(&a, 16);
    size_t before = a.total;
    memset(arena_alloc(&a, 100000), 1, 100000);
    assert_true(a.total - before >= 100000);
    assert_ptr_equal((char *)arena_alloc(&a, 16), small + 16);
    size_t total = a.total;
    for (int i = 0; i < 100; i++) arena_alloc(&a, 16);
    assert_int_equal(a.total, total);
    arena_fini(&a);
}

static void test_arena_strndup(void **state) {
    (void)state;
    struct arena a;
    arena_init(&a, NULL, 0);
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    arena_fini(&a);
}

static void test_slab(void **state) {
    (void)state;
    enum { OBJECTS = 50, SIZE = 40 };
    unsigned char *objects[OBJECTS];
    struct slab s;
    slab_init(&s, SIZE, 8);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < OBJECTS; i++) {
            objects[i] = slab_get(&s);
            assert_true(is_aligned(objects[i]));
            memset(objects[i], i, SIZE);
        }
        assert_int_equal(s.in_use, OBJECTS);
        assert_in_range(s.reserved, OBJECTS, OBJECTS + 7); /* rounds after the first make none anew */
        for (int i = 0; i < OBJECTS; i++)
            for (int k = 0; k < SIZE; k++) assert_int_equal(objects[i][k], i);
        for (int i = 0; i < OBJECTS; i++) slab_put(&s, objects[i * 7 % OBJECTS]);
        assert_int_equal(s.in_use, 0);
    }
    slab_fini(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checked),     cmocka_unit_test(test_arena_pieces),  cmocka_unit_test(test_arena_first),
        cmocka_unit_test(test_arena_large), cmocka_unit_test(test_arena_strndup), cmocka_unit_test(test_slab),
    };
    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
