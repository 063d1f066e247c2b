/* test_exchange_metrics.c: a route that answers with the metrics: who asks waits, is answered piece by piece, and may
 * leave at any time. */
#include "loomgate/proxy/exchange.h"

#include "../../support/proxy_bed.h"
#include "loomgate/stats/exposition.h"

#include <stdlib.h>

enum { MS = 1000 };

static unsigned asked;
static struct exposition *text;

static struct loop *loop(void) {
    return &pb.env.loop;
}

static void on_collect(struct env *env) {
    assert_ptr_equal(env, &pb.env);
    asked++;
}

static int set_up(void **state) {
    proxy_set_up(state);
    config_add_route(pb.config, pb.web, "metrics", "/metrics")->action = ROUTE_METRICS;
    pb.env.on_collect = on_collect;
    asked = 0;
    text = exposition_new();
    return 0;
}

/* Nobody holds the text any more. */
static int tear_down(void **state) {
    assert_int_equal(atomic_load(&text->refs), 1);
    assert_true(list_is_empty(&pb.env.collecting));
    exposition_unref(text);
    return proxy_tear_down(state);
}

/* So many pieces, the last one not full. */
static void write_text(unsigned pieces) {
    static const struct exposition_labels none;
    exposition_family(text, "", "t", "T", EXPOSITION_GAUGE);
    exposition_put(text, &none, 1);
    for (struct exposition_piece *last = text->last; --pieces; last = last->next) {
        struct exposition_piece *p = calloc(1, sizeof *p);
        assert_non_null(p);
        p->size = 1000;
        last->next = p;
        text->bytes += p->size;
    }
}

static const char one_piece[] = "head:200/57 +# HELP loomgate_t T\n# TYPE loomgate_t gauge\nloomgate_t 1\n end";

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static void the_answer_comes_when_the_text_does(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/metrics");
    assert_int_equal(pb.x->state, EXCHANGE_COLLECT);
    assert_int_equal(asked, 1);
    fake_expect(&pb.front, "");
    write_text(1);
    exchanges_take_metrics(&pb.env, text);
    assert_int_equal(pb.ends, 1);
    fake_expect(&pb.front, one_piece);
    fake_expect_field(&pb.front, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
    fake_expect_field(&pb.front, "Cache-Control: no-store");
    assert_true(pb.front.keep_alive);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
    assert_int_equal(proxy_last()->status, 200);
    assert_string_equal(proxy_last()->route->name, "metrics");
}

static void head_is_the_same_without_the_text(void **state) {
    (void)state;
    proxy_build();
    proxy_start(proxy_request("HEAD", "/metrics", BODY_NONE, 0, NULL));
    fake_end(&pb.front);
    write_text(9);
    exchanges_take_metrics(&pb.env, text);
    assert_int_equal(pb.ends, 1);
    fake_expect(&pb.front, "head:200/8057 end");
}

static void a_body_is_thrown_away(void **state) {
    (void)state;
    proxy_build();
    proxy_post("/metrics", 4);
    fake_body(&pb.front, "ab");
    write_text(1);
    exchanges_take_metrics(&pb.env, text);
    fake_expect(&pb.front, one_piece);
    assert_int_equal(pb.ends, 0);
    fake_body(&pb.front, "cd");
    fake_end(&pb.front);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_NONE);
}

/* All who wait cost one question. */
static void all_who_wait_are_answered(void **state) {
    (void)state;
    struct fake_stream first, second;
    proxy_build();
    proxy_get("/metrics");
    first = pb.front;
    first.stream.owner = pb.x;
    pb.x->front = &first.stream;
    proxy_get("/metrics");
    second = pb.front;
    pb.x->front = &second.stream;
    assert_int_equal(asked, 1);
    write_text(1);
    exchanges_take_metrics(&pb.env, text);
    assert_int_equal(pb.ends, 2);
    fake_expect(&first, one_piece);
    fake_expect(&second, one_piece);
    proxy_get("/metrics");
    assert_int_equal(asked, 2);
    exchanges_take_metrics(&pb.env, text);
}

static void who_leaves_is_not_waited_for(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/metrics");
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
    write_text(1);
    exchanges_take_metrics(&pb.env, text); /* it was under way */
    assert_int_equal(pb.ends, 1);
}

static void the_wait_is_limited(void **state) {
    (void)state;
    pb.web->timeouts.request_us = 3 * MS;
    proxy_build();
    proxy_get("/metrics");
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_request_timeout);
    assert_int_equal(proxy_last()->status, 504);
    exchanges_take_metrics(&pb.env, text);
}

static void it_may_be_killed_while_it_waits(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/metrics");
    exchange_kill(pb.x, FAILURE_shutting_down);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_shutting_down);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static void a_congested_client_is_waited_for(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/metrics");
    write_text(3);
    pb.front.stream.congested = true;
    exchanges_take_metrics(&pb.env, text);
    fake_expect(&pb.front, "head:200/2057");
    assert_int_equal(atomic_load(&text->refs), 2);
    loop_turns(loop(), 2);
    fake_expect(&pb.front, "");
    fake_writable(&pb.front);
    fake_expect(&pb.front, "+# HELP loomgate_t T\n# TYPE loomgate_t gauge\nloomgate_t 1\n~ +(1000)~ +(1000) end");
    assert_int_equal(pb.ends, 1);
}

/* A client that reads fast does not keep the others waiting. */
static void a_long_text_takes_several_turns(void **state) {
    (void)state;
    proxy_build();
    proxy_get("/metrics");
    write_text(6);
    pb.front.stream.congested = true;
    exchanges_take_metrics(&pb.env, text);
    fake_expect(&pb.front, "head:200/5057");
    fake_writable(&pb.front);
    fake_expect(&pb.front, "+# HELP loomgate_t T\n# TYPE loomgate_t gauge\nloomgate_t 1\n~ +(1000)~ +(1000)~ +(1000)~");
    assert_int_equal(pb.ends, 0);
    LOOP_UNTIL(loop(), pb.ends == 1);
    fake_expect(&pb.front, "+(1000)~ +(1000) end");
}

static void build_and_send_half(void) {
    proxy_build();
    proxy_get("/metrics");
    write_text(9);
    exchanges_take_metrics(&pb.env, text);
    assert_int_equal(pb.x->state, EXCHANGE_ANSWER);
    assert_int_equal(pb.ends, 0);
    assert_int_equal(atomic_load(&text->refs), 2);
}

static void who_leaves_in_the_middle_lets_go(void **state) {
    (void)state;
    build_and_send_half();
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_client_closed);
    loop_turns(loop(), 2);
}

static void the_whole_request_is_limited(void **state) {
    (void)state;
    pb.web->timeouts.request_us = 3 * MS;
    proxy_build();
    proxy_get("/metrics");
    write_text(2);
    pb.front.stream.congested = true;
    exchanges_take_metrics(&pb.env, text);
    LOOP_UNTIL(loop(), pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_request_timeout);
    fake_expect(&pb.front, "head:200/1057 reset");
}

static void it_may_be_killed_in_the_middle(void **state) {
    (void)state;
    build_and_send_half();
    exchange_kill(pb.x, FAILURE_shutting_down);
    assert_int_equal(pb.ends, 1);
    assert_int_equal(proxy_cause(), FAILURE_shutting_down);
    loop_turns(loop(), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_answer_comes_when_the_text_does),
        TEST(head_is_the_same_without_the_text),
        TEST(a_body_is_thrown_away),
        TEST(all_who_wait_are_answered),
        TEST(who_leaves_is_not_waited_for),
        TEST(the_wait_is_limited),
        TEST(it_may_be_killed_while_it_waits),
        TEST(a_congested_client_is_waited_for),
        TEST(a_long_text_takes_several_turns),
        TEST(who_leaves_in_the_middle_lets_go),
        TEST(the_whole_request_is_limited),
        TEST(it_may_be_killed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
