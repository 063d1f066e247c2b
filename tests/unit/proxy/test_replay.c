/* test_replay.c: the body of a request, kept while it may have to be sent again. */
#include "loomgate/proxy/replay.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { REPLAY_MAX = 65536 };

static struct chunk_pool pool;
static struct replay replay;

static int set_up(void **state) {
    (void)state;
    chunk_pool_init(&pool);
    replay = (struct replay){.on = false};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    replay_stop(&replay, &pool);
    assert_int_equal(pool.bytes, 0);
    chunk_pool_fini(&pool);
    return 0;
}

static void nothing_is_kept_before_the_start(void **state) {
    (void)state;
    assert_false(replay_is_possible(&replay));
    replay_add(&replay, &pool, SLICE("lost"));
    assert_int_equal(replay.body.bytes, 0);
    assert_false(replay_is_possible(&replay));
}

static void pieces_are_kept_in_order(void **state) {
    (void)state;
    replay_start(&replay, REPLAY_MAX);
    assert_true(replay_is_possible(&replay));
    replay_add(&replay, &pool, SLICE("one "));
    replay_add(&replay, &pool, SLICE("two"));
    assert_true(replay_is_possible(&replay));
    assert_true(slice_is(buf_linear(&replay.body, &pool), "one two"));
}

static void after_the_stop_nothing_is_left(void **state) {
    (void)state;
    replay_start(&replay, REPLAY_MAX);
    replay_add(&replay, &pool, SLICE("abc"));
    replay_stop(&replay, &pool);
    assert_int_equal(pool.bytes, 0);
    assert_false(replay_is_possible(&replay));
    replay_add(&replay, &pool, SLICE("abc"));
    assert_int_equal(pool.bytes, 0);
}

static void the_limit_is_the_last_byte_kept(void **state) {
    (void)state;
    static char block[REPLAY_MAX];
    replay_start(&replay, REPLAY_MAX);
    replay_add(&replay, &pool, slice_from(block, REPLAY_MAX));
    assert_true(replay_is_possible(&replay));
    replay_add(&replay, &pool, slice_from(block, 0));
    assert_true(replay_is_possible(&replay));
    replay_add(&replay, &pool, slice_from(block, 1));
    assert_false(replay_is_possible(&replay));
    assert_int_equal(pool.bytes, 0); /* what is of no use is not kept */
    replay_add(&replay, &pool, SLICE("x"));
    assert_int_equal(pool.bytes, 0); /* nor is the rest, as if it were all */
    assert_false(replay_is_possible(&replay));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_kept_before_the_start),
        TEST(pieces_are_kept_in_order),
        TEST(after_the_stop_nothing_is_left),
        TEST(the_limit_is_the_last_byte_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
