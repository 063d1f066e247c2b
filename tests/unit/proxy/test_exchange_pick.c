/* test_exchange_pick.c: an exchange's server by its key, and what its answers and failures say of the latency. */
#include "loomgate/proxy/exchange.h"

#include "../../../src/proxy/exchange_internal.h"
#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#include <unistd.h>

enum { MS = 1000 };

static void build(enum balance_kind kind) {
    pb.app->balance = (struct balance_settings){.kind = kind, .key = HASH_URI, .bounded_load = 1.25};
    proxy_build();
}

static struct latency *latency(void) {
    return &pb.snapshot->backends[0].members[0].server->shared.latency;
}

static uint64_t latency_us(void) {
    return (uint64_t)(latency_at(latency(), pb.env.loop.now_us) + 0.5F);
}

static void answer(void) {
    fake_head(&pb.back, proxy_response(200, BODY_NONE, 0, NULL));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
}

static void the_first_byte_counts(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_get("/");
    assert_int_equal(latency_us(), 0);
    pb.env.loop.now_us += 30 * MS;
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 2, NULL));
    assert_int_equal(latency_us(), 30 * MS);
    pb.env.loop.now_us += 900 * MS; /* how long the body takes does not */
    fake_body(&pb.back, "ok");
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_true(latency_us() < 30 * MS);
}

/* What the client takes to send its request is not the server's time. */
static void a_body_is_sent_first(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_post("/", 2);
    pb.env.loop.now_us += 700 * MS;
    fake_body(&pb.front, "hi");
    fake_end(&pb.front);
    pb.env.loop.now_us += 20 * MS;
    answer();
    assert_int_equal(latency_us(), 20 * MS);
}

static void an_answer_before_the_request_has_ended_says_nothing(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_post("/", 2);
    pb.env.loop.now_us += 700 * MS;
    fake_head(&pb.back, proxy_response(200, BODY_NONE, 0, NULL));
    assert_int_equal(latency_us(), 0);
    fake_body(&pb.front, "hi");
    fake_end(&pb.front);
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
}

static void a_failure_counts_a_second(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_get("/");
    pb.env.loop.now_us += 2 * MS;
    fake_close(&pb.back, FAILURE_reset_before_response);
    assert_int_equal(latency_us(), 1000 * MS);
}

static void a_timeout_counts_as_long_as_it_was(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_get("/");
    pb.env.loop.now_us += 3000 * MS;
    fake_close(&pb.back, FAILURE_response_timeout);
    assert_int_equal(latency_us(), 3000 * MS);
}

static void a_server_that_refuses_counts_a_second(void **state) {
    (void)state;
    struct addr at;
    int port = port_refusing(&at);
    pb.s1->address = address_make(&pb.config->arena, &at);
    build(BALANCE_PEAK_EWMA);
    proxy_get("/");
    LOOP_UNTIL(&pb.env.loop, pb.ends == 1);
    assert_int_equal(proxy_cause(), FAILURE_connect_failed);
    assert_true(latency_us() > 990 * MS && latency_us() <= 1000 * MS);
    close(port);
}

static void a_client_that_leaves_says_nothing(void **state) {
    (void)state;
    build(BALANCE_PEAK_EWMA);
    proxy_add_idle();
    proxy_get("/");
    fake_close(&pb.front, FAILURE_client_closed);
    assert_int_equal(latency_us(), 0);
}

static void other_policies_measure_nothing(void **state) {
    (void)state;
    build(BALANCE_LEAST_REQUESTS);
    proxy_add_idle();
    proxy_get("/");
    pb.env.loop.now_us += 30 * MS;
    answer();
    assert_int_equal(latency_us(), 0);
}

/* Which of five servers a request goes to: one that cannot be reached, but it was picked. */
static const char *picked_for(const char *uri) {
    proxy_get(uri);
    const char *name = proxy_last()->picked->server->name;
    fake_close(&pb.front, FAILURE_client_closed);
    return name;
}

static void the_key_decides(void **state) {
    (void)state;
    static const char *const names[] = {"s2", "s3", "s4", "s5"};
    struct addr at = addr_make_ip("192.0.2.1", 9);
    unsigned others = 0;
    for (unsigned i = 0; i < LG_COUNT(names); i++) config_add_server(pb.config, pb.app, names[i], &at);
    build(BALANCE_HASH);
    const char *first = picked_for("/0");
    for (unsigned i = 1; i < 30; i++) {
        char uri[8];
        snprintf(uri, sizeof uri, "/%u", i);
        const char *name = picked_for(uri);
        assert_string_equal(picked_for(uri), name);
        others += strcmp(name, first) != 0;
    }
    assert_true(others > 10 && others < 29);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, proxy_set_up, proxy_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_first_byte_counts),
        TEST(a_body_is_sent_first),
        TEST(an_answer_before_the_request_has_ended_says_nothing),
        TEST(a_failure_counts_a_second),
        TEST(a_timeout_counts_as_long_as_it_was),
        TEST(a_server_that_refuses_counts_a_second),
        TEST(a_client_that_leaves_says_nothing),
        TEST(other_policies_measure_nothing),
        TEST(the_key_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
