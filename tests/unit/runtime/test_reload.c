/* test_reload.c: configurations one after the other: refused, on trial, gone back from, compared, and in the middle of
 * a stop. The workers are set up, but never started: they are this thread's too. */
#include "../../../src/runtime/runtime_internal.h"

#include "loomgate/runtime/plan.h"
#include "loomgate/runtime/reload.h"

#include "../../support/loop_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS = 2, HOUR_US = 1800000000 };

static struct runtime *r;
static char dir[32], path[64];
static struct reload_result last;
static char why[256];
static unsigned dones, changes, restarts;

static void write_file(const char *text) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Servers of "app" are `servers`; the port of the frontend is any. */
static void write_config(const char *global, const char *servers) {
    char text[1024];
    snprintf(text, sizeof text,
             "version: 1\nglobal: {workers: 2, %s log: {level: error}}\n"
             "frontends: {web: {bind: ['127.0.0.1:0'], default_backend: app}}\nbackends: {app: {servers: [%s]}}\n",
             global, servers);
    write_file(text);
}

static struct config *load(void) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *c = config_load(path, NULL, 0, &d);
    assert_non_null(c);
    diagnostics_fini(&d);
    return c;
}

static void on_tenure_end(struct worker *w, struct tenure *t) {
    reload_release(w->owner, t->snapshot);
    free(t);
}

static void make_worker(unsigned i) {
    size_t size = (sizeof(struct worker) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE;
    struct worker *w = r->workers[i] = aligned_alloc(LG_CACHE_LINE, size);
    assert_non_null(w);
    memset(w, 0, size);
    w->owner = r;
    w->on_tenure_end = on_tenure_end;
    worker_init(w, i, &r->gate, &r->box);
}

static void begin(void) {
    struct order o = {0};
    struct bind_changes sockets;
    struct error e;
    r->first = load();
    r->snapshot = snapshot_build(config_ref(r->first), &r->registry, &e);
    assert_non_null(r->snapshot);
    list_push_back(&r->snapshots, &r->snapshot->node);
    assert_true(binds_plan(&r->binds, r->snapshot, WORKERS, &o, &sockets, &e));
    reload_begin_order(r, &o, r->snapshot);
    for (unsigned i = 0; i < WORKERS; i++) worker_switch(r->workers[i], &o);
    binds_keep(&r->binds);
    order_fini(&o);
    free(o.tenures);
}

static int set_up(void **state) {
    (void)state;
    log_set_level(LEVEL_ERROR);
    strcpy(dir, "/tmp/lg-reload-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    write_config("", "{name: a1, address: '127.0.0.1:9'}");
    r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->source.path = path;
    r->notify.fd = -1;
    loop_init(&r->loop);
    mailbox_init(&r->box, &r->loop, r);
    registry_init(&r->registry);
    checks_init(&r->checks, &r->loop, &r->metrics);
    binds_init(&r->binds);
    reloads_init(r);
    reload_watch_init(r);
    list_init(&r->drains);
    list_init(&r->overrides);
    r->worker_count = WORKERS;
    r->workers = xcalloc(WORKERS, sizeof(struct worker *));
    for (unsigned i = 0; i < WORKERS; i++) make_worker(i);
    begin();
    dones = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    r->state = RUNTIME_STOPPED;
    for (unsigned i = 0; i < WORKERS; i++) {
        r->workers[i]->env.draining = true; /* as worker_stop() does */
        worker_fini(r->workers[i]);
    }
    mailbox_deliver(&r->box);
    for (unsigned i = 0; i < WORKERS; i++) free(r->workers[i]);
    free(r->workers);
    binds_fini(&r->binds);
    checks_fini(&r->checks);
    drains_fini(r);
    reloads_fini(r);
    registry_fini(&r->registry);
    mailbox_fini(&r->box);
    loop_fini(&r->loop);
    free(r);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* Letters to and fro, until all are read. */
static void deliver(void) {
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < WORKERS; i++) {
            mailbox_deliver(&r->workers[i]->box);
            loop_turns(&r->workers[i]->env.loop, 1);
        }
        mailbox_deliver(&r->box);
    }
}

static void on_done(void *arg, const struct reload_result *result) {
    (void)arg;
    dones++;
    last = *result;
    snprintf(why, sizeof why, "%s", result->why ? result->why : "");
    changes = result->diff ? result->diff->count : 0;
    restarts = result->diff ? result->diff->restart_count : 0;
}

static void reload(uint64_t confirm_us) {
    unsigned before = dones;
    runtime_reload(r, &(struct reload_request){.confirm_us = confirm_us}, on_done, NULL);
    deliver();
    assert_int_equal(dones, before + 1);
}

static void go_back(void) {
    runtime_rollback(r, on_done, NULL);
    deliver();
}

/* "a1 a2" */
static const char *servers_in_force(void) {
    static char text[100];
    const struct backend *b = r->snapshot->backends;
    size_t n = 0;
    for (uint32_t i = 0; i < b->member_count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "", b->members[i].server->name);
    return text;
}

#define A1 "{name: a1, address: '127.0.0.1:9'}"
#define A2 "{name: a2, address: '127.0.0.1:9'}"
#define A3 "{name: a3, address: '127.0.0.1:9'}"

static struct reload_state reload_state(void) {
    struct reload_state s;
    runtime_reload_state(r, &s);
    return s;
}

static void a_file_is_put_in_force(void **state) {
    const struct server *a1 = r->snapshot->backends->members[0].server;
    (void)state;
    write_config("max_connections: 7, ", A1 ", " A2);
    reload(0);
    assert_int_equal(last.outcome, RELOAD_DONE);
    assert_true(last.number == 1 && changes == 2 && restarts == 0);
    assert_true(last.sockets.kept == 1 && !last.sockets.opened && !last.sockets.closed);
    assert_string_equal(servers_in_force(), "a1 a2");
    assert_ptr_equal(r->snapshot->backends->members[0].server, a1);
    assert_int_equal(gate_limit(&r->gate), 7);
    assert_int_equal(reload_state().alive, 1);
    write_config("", A2);
    reload(0);
    assert_int_equal(r->registry.servers.count, 1); /* a1 is forgotten */
    assert_int_equal(reload_state().total, 2);
}

static void what_only_a_restart_changes_stays(void **state) {
    (void)state;
    write_config("chroot: /x, user: nobody, ", A2);
    for (int i = 0; i < 2; i++) {
        reload(0);
        assert_int_equal(restarts, 2); /* each time */
        assert_true(!r->snapshot->config->global.chroot && !r->snapshot->config->global.user);
        assert_string_equal(servers_in_force(), "a2");
    }
    write_config("", A2);
    reload(0);
    assert_int_equal(changes, 0);
}

static void nothing_changes_when_it_is_refused(void **state) {
    const struct snapshot *before = r->snapshot;
    (void)state;
    log_set_level(LEVEL_COUNT - 1);
    write_file("version: 1\nnothing: [\n");
    reload(0);
    assert_int_equal(last.outcome, RELOAD_REFUSED);
    write_config("", "{name: a2, address: 'no.such.host.invalid:9'}");
    reload(HOUR_US);
    assert_int_equal(last.outcome, RELOAD_REFUSED);
    assert_true(*why && r->snapshot == before && last.number == 0);
    assert_true(reload_state().failed == 2 && !reload_state().confirm_us && !reload_state().last_us);
    assert_int_equal(r->registry.servers.count, 1);
    go_back();
    assert_int_equal(last.outcome, RELOAD_LATE);
}

static void it_goes_back_once(void **state) {
    (void)state;
    write_config("", A2);
    reload(0);
    write_config("", A3);
    reload(0);
    go_back();
    assert_true(last.outcome == RELOAD_DONE && last.number == 3);
    assert_string_equal(servers_in_force(), "a2");
    go_back();
    assert_int_equal(last.outcome, RELOAD_LATE);
    assert_false(runtime_confirm(r));
}

static void on_trial(void **state) {
    (void)state;
    write_config("", A2);
    reload(HOUR_US);
    assert_true(reload_state().confirm_us > 0 && !last.replaced);
    write_config("", A3);
    reload(HOUR_US);
    assert_true(last.replaced);
    r->confirm.on_expire(&r->confirm); /* nobody has confirmed: but it was renewed meanwhile */
    deliver();
    assert_string_equal(servers_in_force(), "a3");
    timer_cancel(&r->confirm);
    r->confirm.on_expire(&r->confirm);
    deliver();
    assert_string_equal(servers_in_force(), "a1");
    assert_true(!reload_state().confirm_us && !reload_state().can_roll_back);
    reload(HOUR_US);
    assert_true(runtime_confirm(r) && !runtime_confirm(r));
    go_back();
    assert_string_equal(servers_in_force(), "a1");
}

static void a_plain_one_ends_a_trial_and_the_watch_does_not(void **state) {
    (void)state;
    write_config("", A2);
    reload(HOUR_US);
    write_config("", A3);
    reload_by_watch(r, path);
    deliver();
    assert_string_equal(servers_in_force(), "a3");
    assert_true(reload_state().confirm_us > 0);
    reload(0);
    assert_true(last.replaced && !reload_state().confirm_us);
    go_back();
    assert_string_equal(servers_in_force(), "a1");
}

static void one_waits_for_the_other(void **state) {
    (void)state;
    write_config("", A2);
    runtime_reload(r, NULL, on_done, NULL);
    assert_int_equal(r->snapshot->number, 1); /* published, not taken up */
    write_config("", A3);
    runtime_reload(r, NULL, on_done, NULL);
    runtime_rollback(r, on_done, NULL);
    assert_true(dones == 0 && r->snapshot->number == 1);
    deliver();
    assert_int_equal(dones, 3);
    assert_string_equal(servers_in_force(), "a2");
    assert_int_equal(reload_state().alive, 1);
}

/* Its letters are read at the end, who waits is told that it is too late. */
static void the_process_stops_meanwhile(void **state) {
    (void)state;
    write_config("", A2 ", " A3);
    runtime_reload(r, NULL, on_done, NULL);
    runtime_reload(r, NULL, on_done, NULL);
    for (unsigned i = 0; i < WORKERS; i++) mailbox_deliver(&r->workers[i]->box);
    r->state = RUNTIME_DRAINING;
    assert_int_equal(dones, 0);
    mailbox_deliver(&r->box);
    assert_int_equal(dones, 2);
    assert_int_equal(last.outcome, RELOAD_LATE);
    write_config("", A1);
    r->state = RUNTIME_RUNNING;
    runtime_reload(r, NULL, on_done, NULL); /* the tear-down finds it under way */
}

static void on_plan(void *arg, const struct plan *p) {
    (void)arg;
    dones++;
    changes = p->diff.count;
    assert_true(p->kept_count == 1 && !p->opened_count && !p->closed_count && !p->exchanges);
}

static void a_plan_changes_nothing(void **state) {
    const struct snapshot *before = r->snapshot;
    (void)state;
    write_config("", A2);
    struct config *c = load();
    runtime_plan(r, c, on_plan, NULL);
    config_free(c);
    deliver();
    assert_true(dones == 1 && changes == 2 && r->snapshot == before);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_put_in_force),
        TEST(what_only_a_restart_changes_stays),
        TEST(nothing_changes_when_it_is_refused),
        TEST(it_goes_back_once),
        TEST(on_trial),
        TEST(a_plain_one_ends_a_trial_and_the_watch_does_not),
        TEST(one_waits_for_the_other),
        TEST(the_process_stops_meanwhile),
        TEST(a_plan_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
