/* test_env.c: what a worker lends: ids, the date, random numbers, and an orderly end. */
#include "loomgate/proxy/env.h"

#include "../../support/conn_pair.h"

#include <ctype.h>
#include <stdlib.h>

static struct gate gate;
static struct env *env;

static int set_up(void **state) {
    (void)state;
    env = aligned_alloc(LG_CACHE_LINE, (sizeof *env + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE);
    assert_non_null(env);
    memset(env, 0, sizeof *env);
    env_init(env, &gate);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    env_fini(env);
    free(env);
    return 0;
}

/* RFC 9562 section 5.7: 8-4-4-4-12 hexadecimal digits, version 7, variant 10. */
static void an_id_is_a_uuid_of_version_7(void **state) {
    (void)state;
    char id[ENV_ID_LEN];
    for (unsigned n = 0; n < 100; n++) {
        env_make_id(env, id);
        for (unsigned i = 0; i < ENV_ID_LEN; i++) {
            bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            assert_true(dash ? id[i] == '-' : isdigit((unsigned char)id[i]) || (id[i] >= 'a' && id[i] <= 'f'));
        }
        assert_int_equal(id[14], '7');
        assert_non_null(memchr("89ab", id[19], 4));
    }
}

static void an_id_begins_with_the_time(void **state) {
    (void)state;
    char id[ENV_ID_LEN], digits[13] = "";
    env->loop.unix_us = UINT64_C(1767225600123456); /* 2026-01-01T00:00:00.123456Z */
    env_make_id(env, id);
    memcpy(digits, id, 8);
    memcpy(digits + 8, id + 9, 4);
    assert_int_equal(strtoull(digits, NULL, 16), UINT64_C(1767225600123));
    char later[ENV_ID_LEN];
    env->loop.unix_us += 1000;
    env_make_id(env, later);
    assert_true(memcmp(later, id, ENV_ID_LEN) > 0);
}

static int compare_ids(const void *a, const void *b) {
    return memcmp(a, b, ENV_ID_LEN);
}

static void ids_are_unique(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    char(*ids)[ENV_ID_LEN] = xcalloc(COUNT, ENV_ID_LEN);
    for (unsigned i = 0; i < COUNT; i++) env_make_id(env, ids[i]);
    qsort(ids, COUNT, ENV_ID_LEN, compare_ids);
    for (unsigned i = 1; i < COUNT; i++) assert_memory_not_equal(ids[i - 1], ids[i], ENV_ID_LEN);
    free(ids);
}

/* Two workers' numbers have nothing to do with each other; one worker's have all bits. */
static void random_numbers_are_the_workers_own(void **state) {
    (void)state;
    struct env *first = env;
    set_up(NULL);
    uint64_t all_or = 0, all_and = UINT64_MAX;
    unsigned equal = 0;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t n = env_random(env);
        equal += n == env_random(first);
        all_or |= n;
        all_and &= n;
    }
    assert_int_equal(equal, 0);
    assert_true(all_or == UINT64_MAX);
    assert_true(all_and == 0);
    tear_down(NULL);
    env = first;
}

/* xoshiro256**: from the state 1, 2, 3, 4 its authors' code gives these. */
static void random_numbers_are_as_published(void **state) {
    (void)state;
    static const uint64_t expected[] = {UINT64_C(11520), UINT64_C(0), UINT64_C(1509978240),
                                        UINT64_C(1215971899390074240)};
    for (unsigned i = 0; i < 4; i++) env->random[i] = i + 1;
    for (unsigned i = 0; i < 4; i++) assert_true(env_random(env) == expected[i]);
}

static void assert_date(uint64_t unix_us, const char *text) {
    env->loop.unix_us = unix_us;
    struct slice date = env_date(env);
    if (!slice_is(date, text)) fail_msg("%.*s, not %s", SLICE_ARG(date), text);
}

static void the_date_is_an_imf_fixdate(void **state) {
    (void)state;
    assert_date(UINT64_C(784111777000000), "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 section 5.6.7 */
    assert_date(UINT64_C(784111777999999), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_date(UINT64_C(784111778000000), "Sun, 06 Nov 1994 08:49:38 GMT");
    assert_date(UINT64_C(951782400000000), "Tue, 29 Feb 2000 00:00:00 GMT");
    assert_date(UINT64_C(784111777000000), "Sun, 06 Nov 1994 08:49:37 GMT"); /* a clock may be set back */
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void ignore_head(struct stream *s, struct message *m) {
    (void)s, (void)m;
}

static void ignore_end(struct stream *s, const struct fields *trailers) {
    (void)s, (void)trailers;
}

static void ignore_close(struct stream *s, enum failure f) {
    (void)s, (void)f;
}

static const struct stream_events ignoring = {.on_head = ignore_head, .on_end = ignore_end, .on_close = ignore_close};

/* An idle session is closed by env_fini, and its memory given back before the slab goes. */
static void an_end_with_idle_sessions(void **state) {
    (void)state;
    static struct server server = {.name = "s1"};
    static const struct pool_settings settings = {.max_idle = 4};
    static const struct session_timeouts timeouts;
    const struct message m = {.method = METHOD_GET,
                              .method_name = SLICE("GET"),
                              .uri = SLICE("/"),
                              .host = SLICE("h"),
                              .minor = 1,
                              .keep_alive = true};
    struct peer peer;
    struct conn *c = conn_adopt(&env->loop, peer_open(&peer), NULL, NULL);
    struct server_session *s = pool_adopt(&env->pools, &server, c, &settings, &timeouts);
    struct stream *stream = server_session_open(s, &timeouts, &ignoring, NULL);
    stream->ops->send_head(stream, &m, true);
    peer_say(&peer, "HTTP/1.1 204 No Content\r\n\r\n");
    LOOP_UNTIL(&env->loop, env->pools.idle == 1);
    env_fini(env);
    peer_read(&peer);
    assert_true(peer.eof);
    peer_close(&peer);
    memset(env, 0, sizeof *env);
    env_init(env, &gate); /* for the tear-down */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_id_is_a_uuid_of_version_7),
        TEST(an_id_begins_with_the_time),
        TEST(ids_are_unique),
        TEST(random_numbers_are_the_workers_own),
        TEST(random_numbers_are_as_published),
        TEST(the_date_is_an_imf_fixdate),
        TEST(an_end_with_idle_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
