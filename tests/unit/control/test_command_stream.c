/* test_command_stream.c: streams: frames that are whole, numbered, shared, dropped and told; events from any thread. */
#include "stream_bed.h"

#include "loomgate/base/event.h"

#include <pthread.h>

static struct reader a, b;

static struct loop *loop(void) {
    return &sb.runtime.loop;
}

static uint64_t number_of(struct slice line, const char *name) {
    uint64_t value = 0;
    struct slice text = json_member(line, name);
    if (text.n) assert_true(slice_to_u64(text, UINT64_MAX, &value));
    return value;
}

static void assert_usage(const char *line, const char *sentence) {
    bed_ask(&a, line);
    assert_int_equal(a.ends, 1);
    if (!strstr(a.text, sentence)) fail_msg("%s: %s", line, a.text);
    assert_ptr_equal(strstr(a.text, "error: "), a.text);
}

/* --- stats ------------------------------------------------------------------------------------------------------ */

static void a_count_of_frames(void **state) {
    (void)state;
    bed_exchange("a1", 100, FAILURE_NONE);
    struct call *c = bed_ask(&a, "stream stats every 50ms count 2");
    assert_true(c->is_finite && c->on_stop);
    assert_int_equal(a.len, 0); /* not before the command has returned */
    LOOP_UNTIL(loop(), a.ends == 1);
    static const char *const names[] = {"\"web\"", "\"app\"", "\"a1\"", "\"a/\\\"2\\\"\"", "\"web\""};
    for (unsigned i = 0; i < 10; i++) {
        struct slice line = bed_line(&a, i);
        assert_true(json_is_valid(line));
        assert_true(slice_is(json_member(line, "name"), names[i % 5]));
        assert_int_equal(number_of(line, "seq"), i / 5 + 1);
        assert_int_equal(json_member(line, "dropped").n, 0);
        assert_true(memcmp(line.p, "{\"time\":\"20", 11) == 0 && line.p[33] == '"');
    }
    assert_int_equal(number_of(bed_line(&a, 0), "requests_total"), 1);
    assert_int_equal(bed_line(&a, 10).n, 0);
    assert_int_equal(a.frames, 3); /* two of five lines each, and the end */
    loop_run_for(loop(), 120000);
    assert_int_equal(a.frames, 3);
}

static void names_narrow(void **state) {
    (void)state;
    bed_ask(&a, "stream stats every 50ms of app/a1 of web count 1 json");
    LOOP_UNTIL(loop(), a.ends == 1);
    assert_true(slice_is(json_member(bed_line(&a, 0), "kind"), "\"frontend\""));
    assert_true(slice_is(json_member(bed_line(&a, 1), "name"), "\"a1\""));
    assert_true(slice_is(json_member(bed_line(&a, 2), "kind"), "\"backend\""));
    assert_int_equal(bed_line(&a, 3).n, 0);
}

static void words_that_are_wrong(void **state) {
    (void)state;
    assert_usage("stream stats x", "usage: stream stats [every DURATION] [count N] [of NAME]...\n\n");
    assert_usage("stream stats every", "usage: stream stats [every");
    assert_usage("stream stats every 49ms", "usage: a period has 50ms to 24h");
    assert_usage("stream stats every 25h", "usage: a period has 50ms to 24h");
    assert_usage("stream stats every soon", "usage: ");
    assert_usage("stream stats count", "usage: stream stats [every");
    assert_usage("stream stats count 0", "usage: a stream of 0 lines");
    assert_usage("stream stats count x", "usage: 'x' is not a number");
    assert_usage("stream stats of", "usage: stream stats [every");
    assert_usage("stream stats of ap", "no_such_backend: there is no frontend or backend 'ap'; did you mean 'app'?");
    assert_usage("stream stats of app/a3", "no_such_server: the backend 'app' has no server 'a3'; did you mean 'a1'?");
    assert_usage("stream stats of ap/a1", "no_such_backend: there is no backend 'ap'");
    assert_usage("stream stats \"every\" 1s", "usage: stream stats [every");
    assert_usage("stream events x", "usage: stream events [count N]");
    assert_usage("stream events count", "usage: stream events [count N]");
    assert_usage("stream events count 0", "usage: a stream of 0 lines");
}

/* The head is each stream's own, what follows is the same. */
static void streams_of_a_period_share_frames(void **state) {
    (void)state;
    struct call *first = bed_ask(&a, "stream stats every 50ms of app/a1");
    LOOP_UNTIL(loop(), a.frames == 2);
    struct call *second = bed_ask(&b, "stream stats every 50ms of app");
    LOOP_UNTIL(loop(), b.frames == 2);
    assert_int_equal(a.frames, b.frames + 2);
    struct slice of_a = bed_line(&a, 2), of_b = bed_line(&b, 1);
    assert_int_equal(number_of(of_a, "seq"), 3);
    assert_int_equal(number_of(of_b, "seq"), 1);
    assert_true(slice_eq(json_member(of_a, "time"), json_member(of_b, "time")));
    assert_true(slice_is(json_member(of_b, "name"), "\"a1\""));
    first->on_stop(first);
    assert_int_equal(a.ends, 1);
    LOOP_UNTIL(loop(), b.frames == 4);
    call_abandon(second); /* it goes in the middle */
    assert_int_equal(b.ends, 0);
    loop_run_for(loop(), 120000);
    assert_int_equal(b.frames, 4);
}

static void who_does_not_read_is_told_how_many(void **state) {
    (void)state;
    bed_ask(&a, "stream stats every 50ms count 3 of app/a1");
    bed_ask(&b, "stream stats every 50ms count 8 of app/a1");
    LOOP_UNTIL(loop(), a.frames == 1);
    a.deaf = true;
    LOOP_UNTIL(loop(), b.frames == 5);
    assert_int_equal(a.frames, 1);
    a.deaf = false;
    LOOP_UNTIL(loop(), a.ends == 1 && b.ends == 1);
    assert_int_equal(number_of(bed_line(&a, 1), "dropped"), 4);
    assert_int_equal(number_of(bed_line(&a, 1), "seq"), 6);
    assert_int_equal(number_of(bed_line(&a, 2), "seq"), 7);
    assert_int_equal(json_member(bed_line(&a, 2), "dropped").n, 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(number_of(bed_line(&b, i), "seq"), i + 1);
        assert_int_equal(json_member(bed_line(&b, i), "dropped").n, 0);
    }
}

static void many_at_once(void **state) {
    enum { MANY = 64 };
    static struct reader readers[MANY];
    static const char *const lines[] = {"stream stats every 50ms count 4", "stream stats every 60ms count 4 of app",
                                        "stream stats every 70ms count 4 of web of app/a1"};
    (void)state;
    for (unsigned i = 0; i < MANY; i++) bed_ask(&readers[i], lines[i % 3]);
    for (unsigned i = 0; i < MANY; i++) LOOP_UNTIL(loop(), readers[i].ends == 1);
    static const unsigned each[] = {5, 3, 3};
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(readers[i].frames, 5);
        assert_int_equal(number_of(bed_line(&readers[i], 4 * each[i % 3] - 1), "seq"), 4);
    }
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void *record_one(void *arg) {
    event_warn("from_afar", "one", LOG_STR("who", arg), LOG_INT("n", -1));
    return NULL;
}

static void events_of_any_thread(void **state) {
    pthread_t thread;
    (void)state;
    event_info("before", NULL);
    struct call *c = bed_ask(&a, "stream events");
    assert_false(c->is_finite);
    assert_int_equal(pthread_create(&thread, NULL, record_one, "me"), 0);
    LOOP_UNTIL(loop(), a.frames == 1);
    pthread_join(thread, NULL);
    event_info("here", NULL);
    LOOP_UNTIL(loop(), a.frames == 2);
    assert_true(json_is_valid(bed_line(&a, 0)) && json_is_valid(bed_line(&a, 1)));
    assert_true(slice_is(json_member(bed_line(&a, 0), "event"), "\"from_afar\""));
    assert_true(slice_is(json_member(bed_line(&a, 0), "fields"), "{\"who\":\"me\",\"n\":-1}"));
    assert_true(slice_is(json_member(bed_line(&a, 1), "event"), "\"here\""));
    c->on_stop(c);
    assert_int_equal(a.ends, 1);
    event_info("after", NULL);
    loop_settle(loop());
    assert_int_equal(a.frames, 3);
}

static void a_count_of_events(void **state) {
    (void)state;
    bed_ask(&a, "stream events count 2");
    bed_ask(&b, "stream events count 3");
    for (unsigned i = 0; i < 5; i++) event_info("again", NULL, LOG_INT("i", i));
    LOOP_UNTIL(loop(), a.ends == 1 && b.ends == 1);
    assert_int_equal(a.frames, 3);
    assert_int_equal(b.frames, 4);
    assert_true(slice_is(json_member(bed_line(&b, 2), "fields"), "{\"i\":2}"));
}

/* More than are kept come before anybody looks; then some that the reader does not take. */
static void what_is_lost_is_counted(void **state) {
    (void)state;
    struct call *c = bed_ask(&a, "stream events");
    for (unsigned i = 0; i < EVENTS_KEPT + 10; i++) event_info("flood", NULL);
    LOOP_UNTIL(loop(), a.frames == EVENTS_KEPT);
    assert_int_equal(number_of(bed_line(&a, 0), "dropped"), 10);
    assert_int_equal(json_member(bed_line(&a, 1), "dropped").n, 0);
    a.deaf = true;
    for (unsigned i = 0; i < 3; i++) event_info("unheard", NULL);
    loop_settle(loop());
    assert_int_equal(a.frames, EVENTS_KEPT);
    a.deaf = false;
    a.len = 0;
    event_info("heard", NULL);
    LOOP_UNTIL(loop(), a.frames == EVENTS_KEPT + 1);
    assert_int_equal(number_of(bed_line(&a, 0), "dropped"), 3);
    assert_true(slice_is(json_member(bed_line(&a, 0), "event"), "\"heard\""));
    call_abandon(c);
}

static void *record_many(void *arg) {
    (void)arg;
    for (unsigned i = 0; i < 2000; i++) event_info("many", NULL);
    return NULL;
}

/* Streams come and go while events rain; nothing is told twice, and what was lost is counted. */
static void coming_and_going_while_it_rains(void **state) {
    pthread_t threads[2];
    (void)state;
    uint64_t before = event_last();
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&threads[i], NULL, record_many, NULL), 0);
    do {
        struct call *c = bed_ask(&a, "stream events");
        loop_step(loop(), 0);
        c->on_stop(c);
        assert_int_equal(a.ends, 1);
    } while (event_last() < before + 4000);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    bed_ask(&b, "stream events count 1");
    loop_settle(loop());
    assert_int_equal(b.frames, 0);
    event_info("last", NULL);
    LOOP_UNTIL(loop(), b.ends == 1);
    assert_true(slice_is(json_member(bed_line(&b, 0), "event"), "\"last\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(a_count_of_frames),
        BED_TEST(names_narrow),
        BED_TEST(words_that_are_wrong),
        BED_TEST(streams_of_a_period_share_frames),
        BED_TEST(who_does_not_read_is_told_how_many),
        BED_TEST(many_at_once),
        BED_TEST(events_of_any_thread),
        BED_TEST(a_count_of_events),
        BED_TEST(what_is_lost_is_counted),
        BED_TEST(coming_and_going_while_it_rains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
