/* test_buf.c: buffers against a flat model: append, reserve, consume, vectors, one piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/buf.h"
#include "loomgate/base/macros.h"

#include <stdlib.h>

enum { MODEL_ROOM = 1 << 20, STEPS = 4000 };

static struct chunk_pool pool;
static struct buf b;
static char *model;
static size_t model_start, model_end;

static int set_up(void **state) {
    (void)state;
    chunk_pool_init(&pool);
    buf_init(&b);
    model = xmalloc(MODEL_ROOM);
    model_start = model_end = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    buf_clear(&b, &pool);
    assert_int_equal(pool.bytes, 0);
    assert_int_equal(pool.small.in_use + pool.large.in_use, 0);
    chunk_pool_fini(&pool);
    free(model);
    return 0;
}

/* xorshift32 (Marsaglia 2003), fixed seed: a failure repeats. */
static uint32_t next_random(void) {
    static uint32_t x = 2463534242U;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return x;
}

static struct slice model_add(size_t n) {
    if (model_end + n > MODEL_ROOM) {
        memmove(model, model + model_start, model_end - model_start);
        model_end -= model_start;
        model_start = 0;
    }
    char *at = model + model_end;
    for (size_t i = 0; i < n; i++) at[i] = (char)next_random();
    model_end += n;
    return slice_from(at, n);
}

static void check(void) {
    struct iovec iov[2048];
    int pieces = buf_iov(&b, iov, 2048);
    size_t at = model_start;
    assert_int_equal(b.bytes, model_end - model_start);
    assert_true(pieces < 2048);
    for (int i = 0; i < pieces; i++) {
        assert_true(iov[i].iov_len > 0 && iov[i].iov_len <= model_end - at);
        assert_memory_equal(iov[i].iov_base, model + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, model_end);
    struct slice front = buf_front(&b);
    assert_int_equal(front.n, pieces ? iov[0].iov_len : 0);
    if (pieces) assert_ptr_equal(front.p, iov[0].iov_base);
    assert_true(pool.bytes >= b.bytes);
}

static void add_reserved(size_t n) {
    char *room = buf_reserve(&b, &pool, n);
    size_t taken = n ? next_random() % (n + 1) : 0;
    struct slice bytes = model_add(taken);
    memcpy(room, bytes.p, taken);
    memset(room + taken, '#', n - taken); /* all of it may be written */
    buf_commit(&b, taken);
}

static void check_linear(void) {
    struct slice all = buf_linear(&b, &pool);
    assert_int_equal(all.n, model_end - model_start);
    if (all.n) assert_memory_equal(all.p, model + model_start, all.n);
}

static void test_against_model(void **state) {
    (void)state;
    static const size_t sizes[] = {10, 300, 3000, 40000};
    for (int step = 0; step < STEPS; step++) {
        size_t size = next_random() % sizes[next_random() % LG_COUNT(sizes)];
        switch (next_random() % 8) {
        case 0:
        case 1:
            buf_append(&b, &pool, model_add(size));
            break;
        case 2:
        case 3:
            add_reserved(size);
            break;
        case 4:
            check_linear();
            break;
        default:
            if (b.bytes < size || next_random() % 50 == 0) size = b.bytes;
            buf_consume(&b, &pool, size);
            model_start += size;
        }
        if (model_end - model_start > MODEL_ROOM / 2) {
            buf_clear(&b, &pool);
            model_start = model_end;
        }
        check();
    }
}

/* An empty buffer holds no memory, whichever way it became empty. */
static void test_empty_holds_nothing(void **state) {
    (void)state;
    buf_append(&b, &pool, SLICE(""));
    assert_int_equal(pool.bytes, 0);
    buf_append(&b, &pool, SLICE("abc"));
    assert_true(pool.bytes > 0 && pool.bytes < CHUNK_SMALL);
    buf_consume(&b, &pool, 3);
    assert_int_equal(pool.bytes, 0);
    buf_reserve(&b, &pool, 100);
    buf_clear(&b, &pool);
    assert_int_equal(pool.bytes, 0);
    assert_int_equal(buf_front(&b).n, 0);
}

/* Room that was reserved and not used stands before a larger piece and must not hide it. */
static void test_front_after_unused_room(void **state) {
    (void)state;
    buf_reserve(&b, &pool, 10);
    memcpy(buf_reserve(&b, &pool, 5000), "xyz", 3);
    buf_commit(&b, 3);
    assert_true(slice_is(buf_front(&b), "xyz"));
    assert_true(slice_is(buf_linear(&b, &pool), "xyz"));
    buf_consume(&b, &pool, 1);
    assert_true(slice_is(buf_front(&b), "yz"));
}

/* Made linear again and again while it grows, bytes are copied a constant number of times each. */
static void test_linear_grows(void **state) {
    (void)state;
    const char *last = NULL;
    int moves = 0;
    for (int i = 0; i < 2000; i++) {
        buf_append(&b, &pool, model_add(50));
        struct slice all = buf_linear(&b, &pool);
        if (all.p != last) moves++;
        last = all.p;
    }
    check();
    assert_true(moves < 20);
}

static void test_iov_max(void **state) {
    (void)state;
    struct iovec iov[3];
    buf_append(&b, &pool, model_add(100000));
    assert_int_equal(buf_iov(&b, iov, 3), 3);
    assert_int_equal(buf_iov(&b, iov, 0), 0);
    check();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_against_model, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_holds_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_front_after_unused_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_linear_grows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_iov_max, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
