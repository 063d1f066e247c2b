/* test_upgrade_state.c: what goes from one process to the next, all of it in one text; a text that is cut, strange or
 * of another version. */
#include "runtime_bed.h"

static char *text;

static int begin(void **state) {
    (void)state;
    bed_begin();
    runtime.start_us = 1;
    return 0;
}

static int finish(void **state) {
    (void)state;
    bed_end(NULL);
    return 0;
}

static int tear_down(void **state) {
    free(text);
    text = NULL;
    return finish(state);
}

static void print(void) {
    size_t len;
    free(text);
    FILE *out = open_memstream(&text, &len);
    upgrade_print(&runtime, out);
    fclose(out);
}

static bool take(const char *from) {
    FILE *in = fmemopen((void *)(uintptr_t)from, strlen(from), "r");
    bool ok = upgrade_take(&runtime, in);
    fclose(in);
    read_mail();
    return ok;
}

/* The next process. */
static void begin_anew(void) {
    void *none = NULL;
    finish(&none);
    begin(&none);
}

static void set(struct server *s, enum override_setting setting, uint32_t value, uint64_t for_us) {
    runtime_override(&runtime, s, setting, value, &alice, for_us, NULL, NULL);
    read_mail();
}

static void all_of_it(void **state) {
    (void)state;
    struct breaker_change change;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, 0);
    set(a1, OVERRIDE_WEIGHT, 250, 0);
    set(a1, OVERRIDE_WEIGHT, 50, 3600000000);
    set(a1, OVERRIDE_BREAKER, BREAKER_OPEN, 0);
    set(a2, OVERRIDE_HEALTH, SERVER_DOWN, 0);
    set(a2, OVERRIDE_ADMIN, SERVER_READY, 0);
    breaker_trip(&a2->shared.breaker, runtime.loop.now_us, 60000000, &change);
    metrics_add(&runtime.metrics, METRIC_exchanges_total, 7);
    metrics_add(&runtime.metrics, METRIC_exchanges_active, 3);
    runtime.snapshot->number = 5;
    runtime.reloads_failed = 2;
    print();
    begin_anew();
    assert_true(take(text));
    assert_int_equal(server_admin_get(a1), SERVER_DRAIN);
    assert_int_equal(server_weight(a1, 1), 50);
    assert_true(breaker_is_held(&a1->shared.breaker));
    assert_int_equal(breaker_state_get(&a1->shared.breaker), BREAKER_OPEN);
    assert_int_equal(atomic_load(&a1->shared.breaker.trips), 1);
    assert_int_equal(server_health_get(a2), SERVER_DOWN);
    assert_int_equal(server_admin_get(a2), SERVER_READY);
    assert_int_equal(breaker_state_get(&a2->shared.breaker), BREAKER_OPEN);
    const struct override *o = override_find(&runtime, a1, OVERRIDE_WEIGHT);
    assert_true(o && o->has_lasting && o->lasting.value == 250 && override_mark(o) == &o->limited);
    assert_true(o->lasting.by.uid == alice.uid && o->lasting.by.gid == alice.gid && o->lasting.by.pid == alice.pid);
    assert_true(o->limited.until_unix_us > runtime.loop.unix_us + 3500000000);
    assert_int_equal(runtime_metric(&runtime, METRIC_exchanges_total), 7);
    assert_int_equal(runtime_metric(&runtime, METRIC_exchanges_active), 0); /* those are not here */
    assert_true(runtime.snapshot->number == 5 && runtime.reloads_failed == 2 && runtime.upgrades == 1);
    assert_true(runtime.start_us >= 1 && runtime.start_us < 1000000);
}

/* What is kept by name waits for a configuration that has it. */
static void servers_that_are_gone(void **state) {
    (void)state;
    assert_true(
        take("loomgate-state version=1\n"
             "override backend=app server=gone setting=weight lasts=for-ever value=3 uid=1 gid=1 pid=1 unix_us=5\n"
             "server backend=app name=gone address=127.0.0.1:9 breaker=open\n"
             "server backend=gone name=a1 address=127.0.0.1:9 breaker=open\nserver name=a1\nend\n"));
    assert_true(breaker_is_closed(&a1->shared.breaker));
    const struct override *o = override_next(&runtime, NULL);
    assert_true(o && strcmp(o->server, "gone") == 0 && o->lasting.value == 3);
}

/* The order of lines does not matter, and a later version may say more. */
static void a_version_to_come(void **state) {
    (void)state;
    assert_true(
        take("loomgate-state version=9 shape=round\nmood good\n\nserver backend=app name=a1 address=127.0.0.1:9 "
             "breaker=open breaker_open_us=1000000 breaker_trips=4 wind=north\n"
             "override backend=app server=a1 setting=breaker lasts=for-ever value=closed colour=red\n"
             "process uptime_us=1 later=2\nend\n"));
    assert_true(breaker_is_held(&a1->shared.breaker) && breaker_is_closed(&a1->shared.breaker));
    assert_int_equal(atomic_load(&a1->shared.breaker.trips), 4);
}

static void broken_marks(void **state) {
    (void)state;
    assert_true(
        take("loomgate-state version=1\noverride\noverride backend=app server=a1\n"
             "override backend=app server=a1 setting=mood lasts=for-ever value=1\n"
             "override backend=app server=a1 setting=weight value=9999999\n"
             "override backend=app server=a1 setting=weight value=drain\n"
             "override backend=app server=a1 setting=admin value=1\n"
             "override backend=app server=a1 setting=health value=sideways\ncounter\ncounter name=none value=5\n"
             "counter name=exchanges_active value=5\nprocess uptime_us=x\nend\n"));
    assert_null(override_next(&runtime, NULL));
    assert_int_equal(runtime_metric(&runtime, METRIC_exchanges_active), 0);
}

static void what_is_not_whole_is_not_taken(void **state) {
    (void)state;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, 0);
    print();
    begin_anew();
    size_t len = strlen(text);
    for (size_t cut = 1; cut < len - 1; cut += 7) {
        char *part = strndup(text, cut);
        assert_false(take(part));
        free(part);
    }
    assert_false(take("something else\nend\n"));
    assert_false(take("\n"));
    assert_null(override_next(&runtime, NULL));
    assert_int_equal(server_admin_get(a1), SERVER_READY);
}

int main(void) {
#define STATE(test) cmocka_unit_test_setup_teardown(test, begin, tear_down)
    const struct CMUnitTest tests[] = {
        STATE(all_of_it),    STATE(servers_that_are_gone),          STATE(a_version_to_come),
        STATE(broken_marks), STATE(what_is_not_whole_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
