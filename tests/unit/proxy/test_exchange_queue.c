/* test_exchange_queue.c: exchanges that wait for a place at a server, and what the breaker makes of them. */
#include "loomgate/proxy/exchange.h"

#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

enum { MS = 1000 };

static struct loop *loop(void) {
    return &pb.env.loop;
}
static struct server *server(void) {
    return pb.snapshot->backends[0].members[0].server;
}
static struct queue *queue(void) {
    return &pb.snapshot->backends[0].group->queue;
}
static uint64_t metric(enum metric m) {
    struct metrics *shard = &pb.env.metrics;
    return metrics_sum(&shard, 1, m);
}
static void answer(unsigned status) {
    fake_head(&pb.back, proxy_response(status, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
}

/* One place, which somebody else has. */
static void build_full(uint32_t queue_max, uint64_t timeout_us) {
    pb.s1->max_connections = 1;
    pb.app->queue_max = queue_max;
    pb.app->timeouts.queue_us = timeout_us;
    proxy_build();
    assert_true(server_acquire(server(), 1));
}

static void leave_place(void) {
    server_release(server());
    queue_pump(queue(), loop()->now_us);
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static void a_free_place_is_given_to_who_waits(void **state) {
    (void)state;
    build_full(1, 0);
    proxy_add_idle();
    proxy_get("/");
    assert_int_equal(pb.x->state, EXCHANGE_QUEUE);
    assert_int_equal(metric(METRIC_queued_active), 1);
    loop()->now_us += 5 * MS;
    leave_place();
    assert_int_equal(pb.x->state, EXCHANGE_QUEUE); /* by mail */
    LOOP_UNTIL(loop(), pb.x->state == EXCHANGE_FORWARD);
    assert_int_equal(atomic_load(&server()->shared.active), 1);
    answer(200);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(metric(METRIC_queued_total), 1);
    assert_int_equal(metric(METRIC_queued_active), 0);
    assert_true(proxy_last()->queue_us != UINT64_MAX);
}

static void the_wait_is_limited(void **state) {
    (void)state;
    build_full(1, 3 * MS);
    proxy_get("/");
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_queue_timeout);
    assert_int_equal(proxy_last()->status, 503);
    assert_int_equal(metric(METRIC_queue_timeouts_total), 1);
    assert_true(proxy_last()->queue_us >= 3 * MS);
    leave_place();
}

static void the_queue_is_limited(void **state) {
    (void)state;
    build_full(0, 0);
    proxy_get("/");
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_queue_full);
    fake_expect_field(&pb.front, "Retry-After: 1");
    assert_int_equal(metric(METRIC_queue_full_total), 1);
    leave_place();
}

static void who_leaves_gives_the_place_back(void **state) {
    (void)state;
    build_full(1, 0);
    proxy_get("/");
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_true(queue_is_empty(queue()));
    leave_place();
    assert_int_equal(atomic_load(&server()->shared.active), 0);
}

/* The place had been found, but word of it was still under way. */
static void who_leaves_too_late_gives_back_what_it_got(void **state) {
    (void)state;
    build_full(1, 0);
    proxy_get("/");
    leave_place();
    assert_int_equal(atomic_load(&server()->shared.active), 1);
    fake_close(&pb.front, FAILURE_client_closed);
    LOOP_UNTIL(loop(), pb.env.waiters.in_use == 0);
    assert_int_equal(atomic_load(&server()->shared.active), 0);
}

static void the_whole_request_is_limited(void **state) {
    (void)state;
    pb.web->timeouts.request_us = 3 * MS;
    build_full(1, 0);
    proxy_get("/");
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_request_timeout);
    leave_place();
}

static void a_body_waits_with_its_request(void **state) {
    (void)state;
    build_full(1, 0);
    proxy_add_idle();
    proxy_post("/", 2);
    assert_true(pb.front.paused);
    leave_place();
    LOOP_UNTIL(loop(), pb.x->state == EXCHANGE_FORWARD);
    assert_false(pb.front.paused);
    fake_body(&pb.front, "hi");
    fake_end(&pb.front);
    answer(200);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

/* What they wait for will not come any more: they are told at once. */
static void nobody_waits_for_nothing(void **state) {
    (void)state;
    build_full(1, 0);
    proxy_get("/");
    atomic_store(&server()->shared.health, SERVER_DOWN);
    queue_pump(queue(), loop()->now_us);
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_no_server);
    leave_place();
}

static void an_answer_keeps_its_place(void **state) {
    (void)state;
    pb.s1->max_connections = 1;
    pb.app->queue_max = 1;
    pb.app->breaker = (struct breaker_settings){
        .on = true, .error_rate = 0.5, .window_us = 10000 * MS, .min_requests = 1, .probes = 1, .open_us = 1};
    proxy_build();
    proxy_add_idle();
    proxy_get("/");
    assert_int_equal(atomic_load(&server()->shared.active), 1);
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    assert_true(pb.x->lease.told);
    assert_int_equal(atomic_load(&server()->shared.active), 1);
    fake_body(&pb.back, "ok");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(atomic_load(&server()->shared.active), 0);
}

/* --- the breaker ------------------------------------------------------------------------------------------------ */

static void with_breaker(uint32_t min_requests, uint64_t open_us) {
    pb.app->breaker = (struct breaker_settings){.on = true,
                                                .error_rate = 0.5,
                                                .window_us = 10000 * MS,
                                                .min_requests = min_requests,
                                                .open_us = open_us,
                                                .max_open_us = open_us,
                                                .probes = 1,
                                                .ramp_us = 1000 * MS};
    proxy_build();
}

static enum breaker_state breaker(void) {
    return breaker_state_get(&server()->shared.breaker);
}

static void failures_open_it(void **state) {
    (void)state;
    with_breaker(1, 2500 * MS);
    proxy_add_idle();
    proxy_get("/");
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_int_equal(breaker(), BREAKER_OPEN);
    assert_int_equal(metric(METRIC_breaker_opened_total), 1);
    assert_int_equal(proxy_cause(), FAILURE_reset_before_response);

    proxy_get("/");
    assert_int_equal(pb.ends, 2);
    assert_int_equal(proxy_cause(), FAILURE_breaker_open);
    fake_expect_field(&pb.front, "Retry-After: 3");
    assert_int_equal(metric(METRIC_breaker_refused_total), 1);
}

/* Half of eight: what the rest of them are is decided by the one status. */
static void status_decides(unsigned status, enum breaker_state then) {
    const struct backend *b = &pb.snapshot->backends[0];
    struct breaker_change change;
    struct lease lease;
    breaker_reset(&server()->shared.breaker, &server()->shared.window, loop()->now_us, &change);
    for (unsigned i = 0; i < 7; i++) {
        assert_true(backend_reacquire(&b->members[0], loop()->now_us, &lease, &change));
        backend_release(b, &lease, i % 2 ? BREAKER_FAILED : BREAKER_SUCCEEDED, loop()->now_us, &change);
    }
    assert_int_equal(breaker(), BREAKER_CLOSED);
    proxy_add_idle();
    proxy_get("/");
    answer(status);
    assert_int_equal(breaker(), then);
}

static void bad_answers_open_it_too(void **state) {
    with_breaker(8, 1000 * MS);
    status_decides(*(const unsigned *)*state, BREAKER_OPEN);
}

static void answers_about_the_request_do_not(void **state) {
    with_breaker(8, 1000 * MS);
    status_decides(*(const unsigned *)*state, BREAKER_CLOSED);
}

static void a_probe_brings_it_back(void **state) {
    (void)state;
    with_breaker(1, 1 * MS);
    struct breaker_change change;
    breaker_trip(&server()->shared.breaker, loop()->now_us, 1 * MS, &change);
    loop()->now_us += 10 * MS;
    proxy_add_idle();
    proxy_get("/");
    assert_int_equal(breaker(), BREAKER_HALF_OPEN);
    assert_int_equal(metric(METRIC_breaker_probes_total), 1);
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    assert_int_equal(breaker(), BREAKER_CLOSED); /* its head is enough */
    assert_int_equal(metric(METRIC_breaker_closed_total), 1);
    assert_true(server_share(server(), loop()->now_us) < SHARE_ONE);
    fake_body(&pb.back, "ok");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

static void a_client_that_leaves_says_nothing(void **state) {
    (void)state;
    with_breaker(1, 1 * MS);
    struct breaker_change change;
    breaker_trip(&server()->shared.breaker, loop()->now_us, 1 * MS, &change);
    loop()->now_us += 10 * MS;
    proxy_add_idle();
    proxy_get("/");
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(breaker(), BREAKER_HALF_OPEN);
    assert_true(breaker_may_take(&server()->shared.breaker, &pb.app->breaker, loop()->now_us));
}

/* The answer had begun well, so it was counted as a success: cut in the middle it is none. */
static void a_cut_answer_counts(void **state) {
    (void)state;
    with_breaker(1, 1000 * MS);
    proxy_add_idle();
    proxy_get("/");
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    assert_int_equal(breaker(), BREAKER_CLOSED);
    fake_close(&pb.back, FAILURE_response_cut);
    assert_int_equal(breaker(), BREAKER_OPEN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, proxy_set_up, proxy_tear_down)

#define STATUS(name, status)                                                      \
    {                                                                             \
#name "(" #status ")", name, proxy_set_up, proxy_tear_down, &(unsigned) { \
            status                                                                \
        }                                                                         \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_free_place_is_given_to_who_waits),
        TEST(the_wait_is_limited),
        TEST(the_queue_is_limited),
        TEST(who_leaves_gives_the_place_back),
        TEST(who_leaves_too_late_gives_back_what_it_got),
        TEST(the_whole_request_is_limited),
        TEST(a_body_waits_with_its_request),
        TEST(nobody_waits_for_nothing),
        TEST(an_answer_keeps_its_place),
        TEST(failures_open_it),
        STATUS(bad_answers_open_it_too, 500),
        STATUS(bad_answers_open_it_too, 503),
        STATUS(answers_about_the_request_do_not, 404),
        STATUS(answers_about_the_request_do_not, 501),
        STATUS(answers_about_the_request_do_not, 505),
        TEST(a_probe_brings_it_back),
        TEST(a_client_that_leaves_says_nothing),
        TEST(a_cut_answer_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
