/* test_pool.c: sessions to servers: last used first, as many as asked for, only live ones. */
#include "loomgate/backend/pool.h"

#include "loomgate/stats/telemetry.h"

#include "../../support/conn_pair.h"

#include <unistd.h>

enum { PEERS = 8, TIME_US = 60000000 };

#define GET_TEXT "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_TEXT  "HTTP/1.1 204 No Content\r\n\r\n"

static struct loop loop;
static struct h1_scratch scratch;
static struct pools pools;
static struct server server, other;
static struct series series[] = {{.id = 3}, {.id = 4}};
static struct recorder recorder;
static struct pool_settings settings;
static struct session_timeouts timeouts;
static struct peer peers[PEERS];
static unsigned ended, rooms;
static enum failure cause;

/* --- one exchange ----------------------------------------------------------------------------------------------- */

static void on_head(struct stream *s, struct message *m) {
    (void)s, (void)m;
}

static void on_end(struct stream *s, const struct fields *trailers) {
    (void)s, (void)trailers;
}

static void on_close(struct stream *s, enum failure f) {
    (void)s;
    ended++;
    cause = f;
}

static const struct stream_events stream_events = {.on_head = on_head, .on_end = on_end, .on_close = on_close};

static void on_room(struct pools *p) {
    assert_ptr_equal(p, &pools);
    rooms++;
}

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    pools_init(&pools, &loop, &scratch);
    pools.on_room = on_room;
    recorder_init(&recorder);
    pools.recorder = &recorder;
    server = (struct server){.name = "s1", .id = 0, .series = &series[0]};
    other = (struct server){.name = "s2", .id = 40, .series = &series[1]}; /* pools are made as ids come */
    settings = (struct pool_settings){.max_idle = 4};
    timeouts = (struct session_timeouts){TIME_US, TIME_US, TIME_US};
    for (unsigned i = 0; i < PEERS; i++) peers[i] = (struct peer){.fd = -1};
    ended = rooms = 0;
    cause = FAILURE_NONE;
    return 0;
}

/* As others are told of it. */
static uint64_t idle_told(const struct server *s) {
    const struct shard *shard = recorder_find(&recorder, s->series->id);
    return shard ? atomic_load(&shard->gauges[GAUGE_IDLE]) : 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(idle_told(&server) + idle_told(&other), pools.idle);
    pools_close_idle(&pools);
    assert_int_equal(pools.idle, 0);
    assert_true(idle_told(&server) == 0 && idle_told(&other) == 0);
    recorder_fini(&recorder);
    pools.recorder = NULL;
    for (unsigned i = 0; i < PEERS; i++) peer_close(&peers[i]);
    loop_turns(&loop, 2);
    assert_int_equal(pools.sessions.in_use, 0);
    loop_finish(&loop);
    pools_fini(&pools);
    return 0;
}

static struct server_session *adopt_for(struct server *s, unsigned i) {
    struct conn *c = conn_adopt(&loop, peer_open(&peers[i]), NULL, NULL);
    return pool_adopt(&pools, s, c, &settings, &timeouts);
}

static struct server_session *adopt(unsigned i) {
    return adopt_for(&server, i);
}

static void send_get(struct server_session *s) {
    const struct message m = {.method = METHOD_GET,
                              .method_name = SLICE("GET"),
                              .uri = SLICE("/"),
                              .host = SLICE("h"),
                              .minor = 1,
                              .keep_alive = true};
    struct stream *stream = server_session_open(s, &timeouts, &stream_events, NULL);
    stream->ops->send_head(stream, &m, true);
}

static void answer(unsigned i) {
    unsigned before = ended;
    peer_expect(&peers[i], &loop, GET_TEXT);
    peer_say(&peers[i], OK_TEXT);
    LOOP_UNTIL(&loop, ended > before);
}

/* A connection that has served one exchange. */
static void use(unsigned i) {
    send_get(adopt(i));
    answer(i);
    assert_int_equal(cause, FAILURE_NONE);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static void an_empty_pool_has_nothing(void **state) {
    (void)state;
    assert_null(pool_take(&pools, &server, false));
    assert_null(pool_take(&pools, &other, true));
}

static void the_last_used_comes_first(void **state) {
    (void)state;
    struct server_session *s[3];
    for (unsigned i = 0; i < 3; i++) send_get(s[i] = adopt(i));
    answer(1);
    answer(2);
    answer(0);
    assert_int_equal(pools.idle, 3);
    assert_ptr_equal(pool_take(&pools, &server, false), s[0]);
    assert_ptr_equal(pool_take(&pools, &server, true), s[2]);
    assert_int_equal(pools.idle, 1);
    send_get(s[0]);
    answer(0);
    send_get(s[2]);
    answer(2);
    assert_ptr_equal(pool_take(&pools, &server, false), s[2]);
    send_get(s[2]);
    answer(2);
    assert_int_equal(pools.idle, 3);
}

static void servers_do_not_share(void **state) {
    (void)state;
    send_get(adopt_for(&other, 0));
    answer(0);
    use(1);
    assert_int_equal(pools.idle, 2);
    assert_true(idle_told(&server) == 1 && idle_told(&other) == 1);
    struct server_session *s = pool_take(&pools, &other, false);
    assert_non_null(s);
    assert_ptr_equal(s->server, &other);
    assert_null(pool_take(&pools, &other, false));
    send_get(s);
    answer(0);
}

static void a_taken_one_is_reused(void **state) {
    (void)state;
    use(0);
    struct server_session *s = pool_take(&pools, &server, false);
    struct stream *stream = server_session_open(s, &timeouts, &stream_events, NULL);
    assert_true(stream->reused);
    stream->ops->reset(stream);
    assert_int_equal(pools.idle, 0);
}

/* --- not kept --------------------------------------------------------------------------------------------------- */

static void worn_ones_are_closed(void **state) {
    (void)state;
    settings.max_requests = 2;
    use(0);
    assert_int_equal(pools.idle, 1);
    send_get(pool_take(&pools, &server, false));
    answer(0);
    assert_int_equal(pools.idle, 0);
    peer_expect_eof(&peers[0], &loop);
}

static void private_ones_are_closed(void **state) {
    (void)state;
    struct server_session *s = adopt(0);
    s->is_private = true;
    send_get(s);
    answer(0);
    assert_int_equal(pools.idle, 0);
    peer_expect_eof(&peers[0], &loop);
}

static void a_pool_of_none(void **state) {
    (void)state;
    settings.max_idle = 0;
    use(0);
    assert_int_equal(pools.idle, 0);
    peer_expect_eof(&peers[0], &loop);
}

static void a_server_in_maintenance_keeps_none(void **state) {
    (void)state;
    struct server_session *s = adopt(0);
    send_get(s);
    atomic_store(&server.shared.admin, SERVER_MAINT);
    answer(0);
    assert_int_equal(pools.idle, 0);
    peer_expect_eof(&peers[0], &loop);
}

static void a_server_that_says_close_is_not_kept(void **state) {
    (void)state;
    send_get(adopt(0));
    peer_expect(&peers[0], &loop, GET_TEXT);
    peer_say(&peers[0], "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    LOOP_UNTIL(&loop, ended == 1);
    assert_int_equal(pools.idle, 0);
}

/* More than max_idle stay for a moment in case that the burst goes on; then the longest idle ones go. */
static void what_is_too_much_goes_after_a_while(void **state) {
    (void)state;
    settings.max_idle = 2;
    for (unsigned i = 0; i < 4; i++) send_get(adopt(i));
    for (unsigned i = 0; i < 4; i++) answer(i);
    assert_int_equal(pools.idle, 4);
    struct deadline *trim = &pools.v[server.id]->trim;
    assert_true(deadline_is_set(trim));
    deadline_set(&loop, trim, 1000); /* sooner, for the test */
    LOOP_UNTIL(&loop, pools.idle == 2);
    peer_expect_eof(&peers[0], &loop);
    peer_expect_eof(&peers[1], &loop);
    peer_expect_nothing(&peers[2], &loop);
    peer_expect_nothing(&peers[3], &loop);
}

/* --- gone ------------------------------------------------------------------------------------------------------- */

static void one_that_closes_leaves_by_itself(void **state) {
    (void)state;
    use(0);
    use(1);
    rooms = 0;
    peer_shut(&peers[1]);
    LOOP_UNTIL(&loop, pools.idle == 1);
    assert_true(rooms > 0); /* a descriptor is free */
    LOOP_UNTIL(&loop, pools.sessions.in_use == 1);
    send_get(pool_take(&pools, &server, false));
    answer(0);
}

static void the_idle_timeout_closes(void **state) {
    (void)state;
    timeouts.idle_us = 5000;
    use(0);
    LOOP_UNTIL(&loop, pools.idle == 0);
    LOOP_UNTIL(&loop, (peer_read(&peers[0]), peers[0].eof || peers[0].error));
}

/* Closed, but not heard of yet: only who asks for certainty pays the system call. */
static void certain_ones_are_alive(void **state) {
    (void)state;
    use(0);
    use(1);
    use(2);
    peer_shut(&peers[2]);
    peer_say(&peers[1], "HTTP/1.1 408 Request Timeout\r\n\r\n");
    struct server_session *s = pool_take(&pools, &server, true);
    assert_non_null(s);
    assert_int_equal(pools.idle, 0);
    send_get(s);
    answer(0);
    assert_int_equal(cause, FAILURE_NONE);
}

static void a_reset_one_is_not_certain(void **state) {
    (void)state;
    struct conn *c = conn_adopt(&loop, peer_open_tcp(&peers[0]), NULL, NULL);
    send_get(pool_adopt(&pools, &server, c, &settings, &timeouts));
    answer(0);
    assert_int_equal(pools.idle, 1);
    peer_reset(&peers[0]);
    assert_null(pool_take(&pools, &server, true));
    assert_int_equal(pools.idle, 0);
}

static void an_uncertain_one_fails_and_says_so(void **state) {
    (void)state;
    use(0);
    peer_shut(&peers[0]);
    struct server_session *s = pool_take(&pools, &server, false);
    assert_non_null(s);
    send_get(s);
    LOOP_UNTIL(&loop, ended == 2);
    assert_int_equal(cause, FAILURE_closed_idle);
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

static void the_longest_idle_one_is_evicted(void **state) {
    (void)state;
    assert_false(pools_evict(&pools));
    use(0);
    use(1);
    assert_true(pools_evict(&pools));
    assert_int_equal(pools.idle, 1);
    peer_expect_eof(&peers[0], &loop);
    assert_true(pools_evict(&pools));
    assert_false(pools_evict(&pools));
}

static void all_idle_ones_can_be_closed(void **state) {
    (void)state;
    use(0);
    use(1);
    send_get(adopt_for(&other, 2));
    answer(2);
    send_get(adopt(3));
    pools_close_idle(&pools);
    assert_int_equal(pools.idle, 0);
    for (unsigned i = 0; i < 3; i++) peer_expect_eof(&peers[i], &loop);
    answer(3); /* busy ones go on */
    assert_int_equal(pools.idle, 1);
}

static void becoming_idle_makes_room(void **state) {
    (void)state;
    send_get(adopt(0));
    assert_int_equal(rooms, 0);
    answer(0);
    assert_int_equal(rooms, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* All of it, with so much effort in each turn; in how many turns. */
static unsigned sweep_all(uint32_t effort_a_turn) {
    uint32_t left = pools.size, effort = effort_a_turn;
    unsigned turns = 1;
    for (; !pools_sweep(&pools, &left, &effort); turns++) effort = effort_a_turn;
    assert_int_equal(left, 0);
    return turns;
}

static void a_sweep_spares_who_is_in_service(void **state) {
    (void)state;
    send_get(adopt(0));
    send_get(adopt_for(&other, 1));
    send_get(adopt_for(&other, 2));
    for (unsigned i = 0; i < 3; i++) answer(i);
    sweep_all(1000);
    assert_int_equal(pools.idle, 3);
    atomic_store(&other.shared.retired, true);
    sweep_all(1000);
    assert_int_equal(pools.idle, 1);
    assert_null(pool_take(&pools, &other, false));
    use(3);
    send_get(adopt_for(&other, 4)); /* for an exchange that began before */
    answer(4);
    assert_int_equal(pools.idle, 2);
}

/* However many are to be closed, and in whatever portions: also when it has to stop in the middle of a pool. */
static void a_sweep_goes_in_portions(void **state) {
    static const uint32_t efforts[] = {1, POOL_CLOSE_EFFORT, 3 * POOL_CLOSE_EFFORT, 1000};
    (void)state;
    for (unsigned i = 0; i < LG_COUNT(efforts); i++) {
        uint32_t left, nothing = 0;
        atomic_store(&other.shared.retired, false);
        send_get(adopt_for(&other, 2 * i));
        send_get(adopt_for(&other, 2 * i + 1));
        answer(2 * i);
        answer(2 * i + 1);
        assert_int_equal(pools.idle, 2);
        atomic_store(&other.shared.retired, true);
        left = pools.size;
        assert_false(pools_sweep(&pools, &left, &nothing));
        assert_int_equal(pools.idle, 2);
        unsigned turns = sweep_all(efforts[i]);
        assert_int_equal(pools.idle, 0);
        assert_true(efforts[i] > 2 * POOL_CLOSE_EFFORT ? turns == 1 : turns >= 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_empty_pool_has_nothing),
        TEST(the_last_used_comes_first),
        TEST(servers_do_not_share),
        TEST(a_taken_one_is_reused),
        TEST(worn_ones_are_closed),
        TEST(private_ones_are_closed),
        TEST(a_pool_of_none),
        TEST(a_server_in_maintenance_keeps_none),
        TEST(a_server_that_says_close_is_not_kept),
        TEST(what_is_too_much_goes_after_a_while),
        TEST(one_that_closes_leaves_by_itself),
        TEST(the_idle_timeout_closes),
        TEST(certain_ones_are_alive),
        TEST(a_reset_one_is_not_certain),
        TEST(an_uncertain_one_fails_and_says_so),
        TEST(the_longest_idle_one_is_evicted),
        TEST(all_idle_ones_can_be_closed),
        TEST(becoming_idle_makes_room),
        TEST(a_sweep_spares_who_is_in_service),
        TEST(a_sweep_goes_in_portions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
