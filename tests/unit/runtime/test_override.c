/* test_override.c: what is set against the configuration: by whom, for how long, what comes back; workers that heed it
 * when the test reads their mail. */
#include "runtime_bed.h"

static unsigned dones;
static struct snapshot *before; /* the configuration before, NULL: there was none */

static const struct socket_peer bob = {.pid = 2, .uid = 200, .gid = 20};

static int set_up(void **state) {
    (void)state;
    bed_begin();
    dones = 0;
    before = NULL;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    bed_end(before);
    return 0;
}

static void on_done(void *arg) {
    assert_ptr_equal(arg, &dones);
    dones++;
}

static void set(struct server *s, enum override_setting setting, uint32_t value, const struct socket_peer *by,
                uint64_t for_us) {
    unsigned was = dones;
    runtime_override(&runtime, s, setting, value, by, for_us, on_done, &dones);
    assert_int_equal(dones, was);
    mailbox_deliver(&workers[0]->box);
    mailbox_deliver(&runtime.box);
    assert_int_equal(dones, was); /* not all of them heed it yet */
    read_mail();
    assert_int_equal(dones, was + 1);
}

static void restore(struct server *s, enum override_setting setting) {
    unsigned was = dones;
    runtime_restore(&runtime, s, setting, on_done, &dones);
    read_mail();
    assert_int_equal(dones, was + 1);
}

/* As the loop does it when the time has come. */
static void let_time_pass(struct server *s, enum override_setting setting) {
    const struct override *o = override_find(&runtime, s, setting);
    struct loop_timer *timer = (struct loop_timer *)(uintptr_t)&o->timer;
    assert_true(timer_is_set(timer));
    timer_cancel(timer);
    timer->on_expire(timer);
    read_mail();
}

static const struct override_mark *mark_of(const struct server *s, enum override_setting setting) {
    const struct override *o = override_find(&runtime, s, setting);
    return o ? override_mark(o) : NULL;
}

static unsigned count(void) {
    unsigned n = 0;
    for (const struct override *o = NULL; (o = override_next(&runtime, o));) n++;
    return n;
}

static uint32_t weight_of(const struct server *s) {
    return server_weight(s, 1);
}

/* --- what there is ---------------------------------------------------------------------------------------------- */

static void who_and_when(void **state) {
    (void)state;
    assert_null(override_next(&runtime, NULL));
    runtime.loop.unix_us = 5000;
    set(a1, OVERRIDE_WEIGHT, 250, &alice, 0);
    const struct override_mark *m = mark_of(a1, OVERRIDE_WEIGHT);
    assert_int_equal(m->value, 250);
    assert_int_equal(m->by.uid, 100);
    assert_int_equal(m->unix_us, 5000);
    assert_int_equal(m->until_unix_us, 0);
    assert_null(mark_of(a1, OVERRIDE_HEALTH));
    assert_null(mark_of(a2, OVERRIDE_WEIGHT));
    set(a1, OVERRIDE_WEIGHT, 300, &bob, 0);
    assert_int_equal(mark_of(a1, OVERRIDE_WEIGHT)->by.uid, 200);
    set(a2, OVERRIDE_WEIGHT, 100, &bob, 0);
    set(a1, OVERRIDE_HEALTH, SERVER_DOWN, &bob, 0);
    assert_int_equal(count(), 3);
    restore(a1, OVERRIDE_WEIGHT);
    restore(a1, OVERRIDE_WEIGHT); /* nothing left to do */
    assert_int_equal(count(), 2);
    assert_string_equal(override_next(&runtime, NULL)->server, "a2");
}

static void values_for_eyes(void **state) {
    char text[OVERRIDE_TEXT_MAX];
    static const struct {
        enum override_setting setting;
        uint32_t value;
        const char *name, *text;
    } rows[] = {
        {OVERRIDE_ADMIN, SERVER_MAINT, "admin", "maint"},
        {OVERRIDE_HEALTH, SERVER_DOWN, "health", "down"},
        {OVERRIDE_BREAKER, BREAKER_OPEN, "breaker", "open"},
        {OVERRIDE_WEIGHT, 0, "weight", "0"},
        {OVERRIDE_WEIGHT, 5, "weight", "0.05"},
        {OVERRIDE_WEIGHT, 25600, "weight", "256"},
        {OVERRIDE_WEIGHT, 25533, "weight", "255.33"},
    };
    (void)state;
    for (unsigned i = 0; i < LG_COUNT(rows); i++) {
        override_print(rows[i].setting, rows[i].value, text);
        assert_string_equal(text, rows[i].text);
        assert_string_equal(override_setting_name(rows[i].setting), rows[i].name);
    }
}

/* --- each setting ----------------------------------------------------------------------------------------------- */

static void weights(void **state) {
    (void)state;
    set(a1, OVERRIDE_WEIGHT, 50, &alice, 0);
    assert_int_equal(weight_of(a1), 50);
    assert_int_equal(weight_of(a2), 100);
    restore(a1, OVERRIDE_WEIGHT);
    assert_int_equal(weight_of(a1), 100);
}

static void admin_states(void **state) {
    (void)state;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, &alice, 0);
    assert_int_equal(server_admin_get(a1), SERVER_DRAIN);
    set(a1, OVERRIDE_ADMIN, SERVER_READY, &bob, 0); /* as in the configuration */
    assert_int_equal(server_admin_get(a1), SERVER_READY);
    assert_int_equal(count(), 0);
    assert_in_range(server_share(a1, runtime.loop.now_us), 1, SHARE_ONE / 2);
    set(a2, OVERRIDE_ADMIN, SERVER_READY, &bob, 0); /* not so */
    assert_int_equal(server_admin_get(a2), SERVER_READY);
    assert_int_equal(mark_of(a2, OVERRIDE_ADMIN)->by.uid, 200);
    set(a2, OVERRIDE_ADMIN, SERVER_MAINT, &bob, 0);
    assert_int_equal(server_admin_get(a2), SERVER_MAINT);
    assert_int_equal(count(), 0);
}

static void health_and_breaker(void **state) {
    (void)state;
    set(a1, OVERRIDE_HEALTH, SERVER_DOWN, &alice, 0);
    assert_int_equal(server_health_get(a1), SERVER_DOWN);
    restore(a1, OVERRIDE_HEALTH);
    assert_int_equal(server_health_get(a1), SERVER_UP);
    assert_in_range(server_share(a1, runtime.loop.now_us), 1, SHARE_ONE / 2); /* of slow_start */
    set(a1, OVERRIDE_BREAKER, BREAKER_OPEN, &alice, 0);
    assert_true(breaker_is_held(&a1->shared.breaker));
    assert_int_equal(breaker_state_get(&a1->shared.breaker), BREAKER_OPEN);
    set(a1, OVERRIDE_BREAKER, BREAKER_CLOSED, &alice, 0);
    assert_int_equal(breaker_state_get(&a1->shared.breaker), BREAKER_CLOSED);
    restore(a1, OVERRIDE_BREAKER);
    assert_false(breaker_is_held(&a1->shared.breaker));
}

/* --- for a time ------------------------------------------------------------------------------------------------- */

static void time_undoes_it(void **state) {
    (void)state;
    runtime.loop.unix_us = 7000;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, &alice, 60000000);
    assert_int_equal(mark_of(a1, OVERRIDE_ADMIN)->until_unix_us, 60007000);
    let_time_pass(a1, OVERRIDE_ADMIN);
    assert_int_equal(server_admin_get(a1), SERVER_READY);
    assert_int_equal(count(), 0);
    set(a2, OVERRIDE_ADMIN, SERVER_READY, &alice, 60000000);
    let_time_pass(a2, OVERRIDE_ADMIN);
    assert_int_equal(server_admin_get(a2), SERVER_MAINT);
}

static void below_it_is_what_lasts(void **state) {
    (void)state;
    set(a1, OVERRIDE_WEIGHT, 200, &alice, 0);
    set(a1, OVERRIDE_WEIGHT, 300, &bob, 60000000);
    set(a1, OVERRIDE_WEIGHT, 400, &bob, 30000000); /* instead */
    assert_int_equal(weight_of(a1), 400);
    assert_int_equal(mark_of(a1, OVERRIDE_WEIGHT)->by.uid, 200);
    let_time_pass(a1, OVERRIDE_WEIGHT);
    assert_int_equal(weight_of(a1), 200);
    assert_int_equal(mark_of(a1, OVERRIDE_WEIGHT)->by.uid, 100);
    assert_int_equal(mark_of(a1, OVERRIDE_WEIGHT)->until_unix_us, 0);
    assert_int_equal(count(), 1);
}

static void what_lasts_ends_the_time(void **state) {
    (void)state;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, &alice, 60000000);
    set(a1, OVERRIDE_ADMIN, SERVER_MAINT, &bob, 0);
    assert_false(timer_is_set(&override_find(&runtime, a1, OVERRIDE_ADMIN)->timer));
    assert_int_equal(server_admin_get(a1), SERVER_MAINT);
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, &alice, 60000000);
    restore(a1, OVERRIDE_ADMIN);
    assert_int_equal(server_admin_get(a1), SERVER_READY);
    assert_int_equal(count(), 0);
}

/* --- another configuration -------------------------------------------------------------------------------------- */

/* a1 at another address, a2 not in maintenance any more, a3 new and in maintenance. */
static void replace_configuration(void) {
    struct config *c = config_make();
    struct addr moved = addr_make_ip("127.0.0.1", 10), at = addr_make_ip("127.0.0.1", 9);
    struct error e;
    struct backend_settings *app = config_add_backend(c, "app");
    config_add_server(c, app, "a1", &moved);
    config_add_server(c, app, "a2", &at);
    config_add_server(c, app, "a3", &at)->maint = true;
    before = runtime.snapshot;
    runtime.snapshot = snapshot_build(c, &runtime.registry, &e);
    assert_non_null(runtime.snapshot);
    overrides_apply(&runtime);
    read_mail();
    assert_ptr_not_equal(a1, runtime.snapshot->backends[0].members[0].server);
    assert_ptr_equal(a2, runtime.snapshot->backends[0].members[1].server);
    a1 = runtime.snapshot->backends[0].members[0].server;
}

static void a_server_that_moved_heeds_it_too(void **state) {
    (void)state;
    set(a1, OVERRIDE_ADMIN, SERVER_DRAIN, &alice, 60000000);
    set(a1, OVERRIDE_HEALTH, SERVER_DOWN, &alice, 0);
    set(a1, OVERRIDE_BREAKER, BREAKER_OPEN, &alice, 0);
    set(a1, OVERRIDE_WEIGHT, 0, &alice, 0);
    replace_configuration();
    assert_int_equal(server_admin_get(a1), SERVER_DRAIN);
    assert_int_equal(server_health_get(a1), SERVER_DOWN);
    assert_true(breaker_is_held(&a1->shared.breaker));
    assert_int_equal(breaker_state_get(&a1->shared.breaker), BREAKER_OPEN);
    assert_int_equal(weight_of(a1), 0);
    assert_int_equal(count(), 4);
    let_time_pass(a1, OVERRIDE_ADMIN);
    assert_int_equal(server_admin_get(a1), SERVER_READY);
    restore(a1, OVERRIDE_WEIGHT);
    assert_int_equal(weight_of(a1), 100);
}

static void what_the_file_says_counts_where_nothing_is_set(void **state) {
    (void)state;
    replace_configuration();
    assert_int_equal(server_admin_get(a2), SERVER_READY);
    assert_int_equal(server_admin_get(runtime.snapshot->backends[0].members[2].server), SERVER_MAINT);
    assert_int_equal(weight_of(a2), 100);
    assert_int_equal(count(), 0);
}

static void what_the_file_says_too_is_no_override(void **state) {
    (void)state;
    set(a2, OVERRIDE_ADMIN, SERVER_READY, &alice, 0);
    set(a1, OVERRIDE_ADMIN, SERVER_READY, &alice, 60000000); /* as it is, but said so */
    replace_configuration();
    assert_int_equal(server_admin_get(a2), SERVER_READY);
    assert_null(mark_of(a2, OVERRIDE_ADMIN));
    assert_int_equal(count(), 1);
}

/* Its time is over while no configuration has it. */
static void a_server_that_is_gone(void **state) {
    struct snapshot *with;
    (void)state;
    set(a2, OVERRIDE_WEIGHT, 300, &alice, 60000000);
    with = runtime.snapshot;
    struct config *c = config_make();
    struct error e;
    config_add_backend(c, "other");
    runtime.snapshot = snapshot_build(c, &runtime.registry, &e);
    overrides_apply(&runtime);
    let_time_pass(a2, OVERRIDE_WEIGHT);
    assert_int_equal(count(), 0);
    snapshot_free(runtime.snapshot, &runtime.registry);
    runtime.snapshot = with; /* back, the same server */
    assert_int_equal(weight_of(a2), 300);
    overrides_apply(&runtime);
    assert_int_equal(weight_of(a2), 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(who_and_when),
        TEST(values_for_eyes),
        TEST(weights),
        TEST(admin_states),
        TEST(health_and_breaker),
        TEST(time_undoes_it),
        TEST(below_it_is_what_lasts),
        TEST(what_lasts_ends_the_time),
        TEST(a_server_that_moved_heeds_it_too),
        TEST(what_the_file_says_counts_where_nothing_is_set),
        TEST(what_the_file_says_too_is_no_override),
        TEST(a_server_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
