/* test_event.c: state changes: kept in order, the oldest forgotten first, whole from many threads. */
#include "log_tools.h"

#include "loomgate/base/event.h"

#include <pthread.h>

enum { THREADS = 4, EACH = 500 };

static void test_kept(void **state) {
    struct event e;
    (void)state;
    uint64_t before = event_last();
    log_set_level(LEVEL_ERROR); /* kept even when it is not logged */
    event_info("server_up", "it answers again", LOG_STR("server", "a1"), LOG_INT("checks", 3));
    event_warn("server_down", NULL);
    assert_int_equal(event_last(), before + 2);
    assert_true(event_next(before, &e));
    assert_int_equal(e.number, before + 1);
    assert_int_equal(e.level, LEVEL_INFO);
    assert_string_equal(e.name, "server_up");
    assert_true(slice_is(event_message(&e), "it answers again"));
    assert_int_equal(e.field_count, 2);
    assert_string_equal(e.fields[0].name, "server");
    assert_true(slice_is(event_field_text(&e, &e.fields[0]), "a1"));
    assert_int_equal(e.fields[1].kind, LOG_NUMBER);
    assert_int_equal(e.fields[1].number, 3);
    assert_true(e.unix_us > 1600000000000000);
    assert_true(event_next(before + 1, &e));
    assert_string_equal(e.name, "server_down");
    assert_int_equal(e.message_len, 0);
    assert_int_equal(e.field_count, 0);
    assert_false(event_next(before + 2, &e));
}

static void test_logged(void **state) {
    struct log_sink *sink;
    struct error e;
    char path[128], *text;
    (void)state;
    snprintf(path, sizeof path, "%s/log", folder);
    log_init(64);
    sink = log_open(LOG_TO_FILE, path, &e);
    assert_non_null(sink);
    log_configure(sink, FORMAT_JSON, LEVEL_WARN);
    event_info("quiet", "not wanted");
    event_warn("loud", "wanted", LOG_STR("who", "me"));
    log_fini(PATIENCE_MS);
    text = read_file(path);
    assert_null(strstr(text, "quiet"));
    assert_non_null(strstr(text, "\"event\":\"loud\",\"message\":\"wanted\",\"who\":\"me\""));
    free(text);
}

static void test_too_large(void **state) {
    char large[EVENT_TEXT_MAX * 2];
    struct event e;
    (void)state;
    log_set_level(LEVEL_ERROR);
    memset(large, 'x', sizeof large);
    uint64_t before = event_last();
    event_info("large", "m", LOG_SLICE("a", slice_from(large, sizeof large)), LOG_STR("b", "y"), LOG_INT("c", 1),
               LOG_INT("d", 1), LOG_INT("e", 1), LOG_INT("f", 1), LOG_INT("g", 1), LOG_INT("h", 1), LOG_INT("i", 1));
    assert_true(event_next(before, &e));
    assert_int_equal(e.field_count, EVENT_FIELDS_MAX);
    assert_int_equal(e.fields[0].len, EVENT_TEXT_MAX - 1);
    assert_int_equal(e.fields[1].len, 0);
    assert_string_equal(e.fields[7].name, "h");
}

static void *record_many(void *arg) {
    for (int i = 0; i < EACH; i++)
        event_info("many", "from threads", LOG_INT("thread", (intptr_t)arg), LOG_INT("i", i));
    return NULL;
}

/* Numbers have no gaps, and those of one thread stay in order; the oldest are gone. */
static void test_threads(void **state) {
    pthread_t threads[THREADS];
    int64_t seen[THREADS] = {-1, -1, -1, -1};
    struct event e;
    (void)state;
    log_set_level(LEVEL_ERROR);
    uint64_t before = event_last(), at = before, count = 0;
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(event_last(), before + THREADS * EACH);
    while (event_next(at, &e)) {
        assert_true(count ? e.number == at + 1 : e.number == event_last() - EVENTS_KEPT + 1);
        assert_string_equal(e.name, "many");
        assert_true(seen[e.fields[0].number] < e.fields[1].number);
        seen[e.fields[0].number] = e.fields[1].number;
        at = e.number;
        count++;
    }
    assert_int_equal(count, EVENTS_KEPT);
}

/* --- who is told ------------------------------------------------------------------------------------------------ */

static void count_call(void *owner) {
    ++*(unsigned *)owner;
}

static void test_watched(void **state) {
    pthread_t threads[THREADS];
    unsigned first = 0, second = 0;
    (void)state;
    log_set_level(LEVEL_ERROR);
    event_watch(count_call, &first);
    event_info("one", NULL);
    event_watch(count_call, &second);
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, (void *)i), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    event_watch(NULL, NULL);
    event_info("another", NULL);
    assert_int_equal(first, 1);
    assert_int_equal(second, THREADS * EACH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),      cmocka_unit_test_setup_teardown(test_logged, folder_make, folder_remove),
        cmocka_unit_test(test_too_large), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
