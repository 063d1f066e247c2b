/* test_server_state.c: what is known of a server goes over to another process, whose clock is the same and whose
 * configuration may be another; what is unknown, missing or broken does no harm. */
#include "loomgate/backend/health.h"

#include "../../support/addr_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#define NOW_US (1000 * UINT64_C(1000000))

static const struct breaker_settings settings = {.on = true,
                                                 .min_requests = 10,
                                                 .error_rate = 0.5,
                                                 .window_us = 10000000,
                                                 .open_us = 5000000,
                                                 .max_open_us = 60000000,
                                                 .probes = 1};
static struct server *before, *after;
static char *text;

static struct server *make(void) {
    size_t size = (sizeof(struct server) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE;
    struct server *s = memset(aligned_alloc(LG_CACHE_LINE, size), 0, size);
    s->backend = "app";
    s->name = "a1";
    s->addr = addr_make_ip("127.0.0.1", 80);
    return s;
}

static int set_up(void **state) {
    (void)state;
    before = make();
    after = make();
    text = NULL;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(before);
    free(after);
    free(text);
    return 0;
}

static bool take_line(const char *line, uint64_t now_us) {
    struct facts f;
    char *copy = strdup(line);
    bool ok = facts_read(&f, copy) && server_take(after, &settings, now_us, &f);
    free(copy);
    return ok;
}

/* A second passes between the two. */
static void carry(void) {
    size_t len;
    free(text);
    FILE *out = open_memstream(&text, &len);
    server_print(before, &settings, NOW_US, out);
    fclose(out);
    text[len - 1] = '\0';
    assert_true(take_line(text, NOW_US + 1000000));
}

static void count(unsigned good, unsigned bad) {
    struct breaker_ticket t;
    struct breaker_change change;
    struct breaker *b = &before->shared.breaker;
    for (unsigned i = 0; i < good + bad; i++)
        if (breaker_enter(b, &settings, NOW_US, &t, &change))
            breaker_leave(b, &before->shared.window, &settings, NOW_US, t,
                          i < good ? BREAKER_SUCCEEDED : BREAKER_FAILED, &change);
}

static void nothing_stays_nothing(void **state) {
    (void)state;
    carry();
    assert_string_equal(text, "server backend=app name=a1 address=127.0.0.1:80 breaker=closed breaker_level=0 "
                              "breaker_trips=0");
    assert_true(breaker_is_closed(&after->shared.breaker));
    assert_null(breaker_reason_name(&after->shared.breaker));
    assert_int_equal(server_health_get(after), SERVER_UP);
    assert_true(latency_at(&after->shared.latency, NOW_US) == 0);
}

static void an_open_breaker(void **state) {
    (void)state;
    struct breaker *b = &after->shared.breaker;
    uint32_t requests, errors;
    count(10, 10);
    assert_int_equal(breaker_state_get(&before->shared.breaker), BREAKER_OPEN);
    carry();
    assert_int_equal(breaker_state_get(b), BREAKER_OPEN);
    assert_true(breaker_wait_us(b, NOW_US + 1000000) > 4900000 && breaker_wait_us(b, NOW_US + 1000000) <= 5000000);
    assert_int_equal(atomic_load(&b->trips), 1);
    assert_string_equal(breaker_reason_name(b), "error_rate");
    assert_true(atomic_load(&b->changed_us) == NOW_US + 1000000);
    breaker_window_read(&after->shared.window, &settings, NOW_US + 1000000, &requests, &errors);
    assert_int_equal(requests, 20);
    assert_int_equal(errors, 10);
}

/* Its failures are still there for the one that is too many, and go by as the window does. */
static void a_window(void **state) {
    (void)state;
    struct breaker_ticket t;
    struct breaker_change change;
    uint32_t requests, errors;
    count(10, 8);
    carry();
    breaker_window_read(&after->shared.window, &settings, NOW_US + 12000000, &requests, &errors);
    assert_int_equal(requests, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(breaker_enter(&after->shared.breaker, &settings, NOW_US + 1000000, &t, &change));
        breaker_leave(&after->shared.breaker, &after->shared.window, &settings, NOW_US + 1000000, t, BREAKER_FAILED,
                      &change);
    }
    assert_true(change.happened && change.requests == 20 && change.errors == 10);
}

/* Whoever held it holds it again; what is under that comes from the old process. */
static void what_is_held_stays_held(void **state) {
    (void)state;
    struct breaker_change change;
    count(10, 10);
    breaker_hold(&after->shared.breaker, BREAKER_CLOSED, NOW_US, &change);
    carry();
    assert_true(breaker_is_held(&after->shared.breaker) && breaker_is_closed(&after->shared.breaker));
    assert_int_equal(atomic_load(&after->shared.breaker.trips), 1);
    breaker_hold(&before->shared.breaker, BREAKER_OPEN, NOW_US, &change);
    carry();
    assert_null(strstr(text, "breaker="));
}

static void probes_are_made_again(void **state) {
    (void)state;
    struct breaker_ticket t;
    struct breaker_change change;
    breaker_trip(&before->shared.breaker, NOW_US - 2000000, 1000000, &change);
    assert_true(breaker_enter(&before->shared.breaker, &settings, NOW_US, &t, &change) && t.is_probe);
    carry();
    assert_int_equal(breaker_state_get(&after->shared.breaker), BREAKER_OPEN);
    assert_true(breaker_enter(&after->shared.breaker, &settings, NOW_US + 1000000, &t, &change) && t.is_probe);
}

static void health_and_the_rest(void **state) {
    (void)state;
    before->health = (struct health_state){.checked = true,
                                           .found = SERVER_DOWN,
                                           .streak = 1,
                                           .checks = 100,
                                           .failed = 40,
                                           .since_us = NOW_US - 7000000,
                                           .last_us = NOW_US - 50,
                                           .latency_us = 1234,
                                           .last_status = 503,
                                           .reason = "status 503"};
    latency_add(&before->shared.latency, NOW_US, 250000);
    server_begin_ramp(before, NOW_US - 10000000, 100000000);
    after->health.checked = true;
    carry();
    const struct health_state *h = &after->health;
    assert_int_equal(server_health_get(after), SERVER_DOWN);
    assert_true(h->checks == 100 && h->failed == 40 && h->streak == 1 && !h->last_passed && h->last_status == 503);
    assert_true(h->since_us == NOW_US - 6000000 && h->latency_us == 1234);
    assert_string_equal(h->reason, "status 503");
    float latency = latency_at(&after->shared.latency, NOW_US + 1000000);
    assert_true(latency > 240000 && latency < 260000);
    uint32_t share = server_share(after, NOW_US + 1000000);
    assert_true(share >= SHARE_ONE / 10 && share < SHARE_ONE / 5);
}

static void health_that_is_not_wanted(void **state) {
    (void)state;
    before->health = (struct health_state){.checked = true, .found = SERVER_DOWN, .checks = 5};
    carry(); /* it is not checked any more */
    assert_int_equal(server_health_get(after), SERVER_UP);
    assert_int_equal(after->health.checks, 0);
    after->health.checked = true;
    health_pin(after, SERVER_UP);
    carry();
    assert_int_equal(server_health_get(after), SERVER_UP);
    health_unpin(after);
    assert_int_equal(server_health_get(after), SERVER_DOWN);
}

static void another_address_is_another_server(void **state) {
    (void)state;
    assert_false(take_line("server backend=app name=a1 address=127.0.0.1:81 breaker=open", NOW_US));
    assert_false(take_line("server backend=app name=a1 breaker=open", NOW_US));
    assert_true(breaker_is_closed(&after->shared.breaker));
}

static void what_is_broken_does_no_harm(void **state) {
    (void)state;
    uint32_t requests, errors;
    after->health.checked = true;
    assert_true(
        take_line("server address=127.0.0.1:80 breaker=closed breaker_level=99 breaker_trips=-1 "
                  "breaker_reason=bad breaker_changed_us=99999999999999999999 window_us=10000000 "
                  "window_requests=1,x,99999999999,4,,, window_errors= health=fine checks=many check_status=70000 "
                  "check_passed=2 health_since_us=18446744073709551615 ramp_us=5 latency_us=slow later=thing",
                  NOW_US));
    assert_true(breaker_is_closed(&after->shared.breaker));
    assert_null(breaker_reason_name(&after->shared.breaker));
    assert_int_equal(server_health_get(after), SERVER_UP);
    assert_true(after->health.checks == 0 && after->health.since_us == 0 && after->health.last_status == 0);
    assert_int_equal(server_share(after, NOW_US), SHARE_ONE);
    breaker_window_read(&after->shared.window, &settings, NOW_US, &requests, &errors);
    assert_true(requests == 5 && errors == 0);
    /* Nobody knows this state: it is no state in which requests may go there. */
    assert_true(take_line("server address=127.0.0.1:80 breaker=ajar breaker_open_us=18446744073709551615", NOW_US));
    assert_int_equal(breaker_state_get(&after->shared.breaker), BREAKER_OPEN);
    assert_false(breaker_is_held(&after->shared.breaker));
    assert_true(take_line("server address=127.0.0.1:80 window_us=5 window_requests=1000", NOW_US));
    breaker_window_read(&after->shared.window, &settings, NOW_US, &requests, &errors);
    assert_int_equal(requests, 5);
}

int main(void) {
#define SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SERVER(nothing_stays_nothing),
        SERVER(an_open_breaker),
        SERVER(a_window),
        SERVER(what_is_held_stays_held),
        SERVER(probes_are_made_again),
        SERVER(health_and_the_rest),
        SERVER(health_that_is_not_wanted),
        SERVER(another_address_is_another_server),
        SERVER(what_is_broken_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
