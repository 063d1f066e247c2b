/* test_scrape.c: workers ask for the metrics: one text for all who ask at once, kept for a moment, written in portions;
 * and what is left when the process stops meanwhile. */
#include "../../../src/runtime/runtime_internal.h"

#include "loomgate/runtime/reload.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/loop_run.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 2, SECOND = 1000000, SERVERS_MANY = 20000 };

/* The control thread's side; the workers are set up, but never started: they are this thread's too. */
static struct runtime *r;
static struct config *config;

static int set_up(void **state) {
    (void)state;
    r = calloc(1, sizeof *r);
    assert_non_null(r);
    loop_init(&r->loop);
    mailbox_init(&r->box, &r->loop, r);
    registry_init(&r->registry);
    list_init(&r->snapshots);
    list_init(&r->drains);
    scrapes_init(r);
    config = config_make();
    config_add_frontend(config, "web");
    return 0;
}

static void build(void) {
    struct error e;
    r->snapshot = snapshot_build(config, &r->registry, &e);
    assert_non_null(r->snapshot);
    list_push_back(&r->snapshots, &r->snapshot->node);
    r->worker_count = WORKERS;
    r->workers = xcalloc(WORKERS, sizeof(struct worker *));
    for (unsigned i = 0; i < WORKERS; i++) {
        size_t size = (sizeof(struct worker) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE;
        struct worker *w = r->workers[i] = aligned_alloc(LG_CACHE_LINE, size);
        assert_non_null(w);
        memset(w, 0, size);
        w->owner = r;
        w->on_collect = scrapes_ask;
        worker_init(w, i, &r->gate, &r->box);
    }
}

static int tear_down(void **state) {
    (void)state;
    r->state = RUNTIME_STOPPED;
    for (unsigned i = 0; i < WORKERS; i++) worker_fini(r->workers[i]);
    mailbox_deliver(&r->box);
    scrapes_fini(r);
    for (unsigned i = 0; i < WORKERS; i++) free(r->workers[i]);
    free(r->workers);
    assert_int_equal(r->snapshot->refs, 1);
    snapshot_free(r->snapshot, &r->registry);
    registry_fini(&r->registry);
    mailbox_fini(&r->box);
    loop_fini(&r->loop);
    free(r);
    return 0;
}

/* What an exchange of that worker would do; the letter is then on its way to the control thread. */
static void ask(unsigned worker) {
    struct env *env = &r->workers[worker]->env;
    env->on_collect(env);
}

static bool is_answered(unsigned worker) {
    return r->workers[worker]->metrics != NULL;
}

/* The worker opens its letter: what came is looked at by its size only, since nobody waits there. */
static void open_letter(unsigned worker) {
    mailbox_deliver(&r->workers[worker]->box);
    r->workers[worker]->metrics = NULL;
}

static void ask_and_wait(unsigned worker) {
    ask(worker);
    LOOP_UNTIL(&r->loop, is_answered(worker));
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static void a_text_is_written_and_kept(void **state) {
    (void)state;
    build();
    ask_and_wait(0);
    struct exposition *first = r->workers[0]->metrics;
    deadline_cancel(&r->scrapes.stale); /* however slow this machine is */
    assert_true(first->bytes > 1000);
    assert_int_equal(atomic_load(&first->refs), 2);
    open_letter(0);
    assert_int_equal(atomic_load(&first->refs), 1);
    assert_int_equal(r->snapshot->refs, 1);
    ask_and_wait(1);
    assert_ptr_equal(r->workers[1]->metrics, first);
    open_letter(1);
}

static void a_kept_text_is_not_kept_for_long(void **state) {
    (void)state;
    build();
    ask_and_wait(0);
    open_letter(0);
    assert_non_null(r->scrapes.text);
    LOOP_UNTIL(&r->loop, !r->scrapes.text);
    ask_and_wait(0);
    open_letter(0);
}

/* The letter is one; whoever comes while it is under way is served by it. */
static void a_worker_asks_once(void **state) {
    (void)state;
    build();
    ask(0);
    ask(0);
    LOOP_UNTIL(&r->loop, is_answered(0));
    assert_true(r->workers[0]->collect_posted);
    ask(0);
    open_letter(0);
    assert_false(r->workers[0]->collect_posted);
    loop_turns(&r->loop, 2);
    assert_false(is_answered(0));
    ask_and_wait(0);
    open_letter(0);
}

static void add_many_servers(void) {
    static char names[SERVERS_MANY][8];
    struct backend_settings *b = config_add_backend(config, "app");
    struct server_settings *servers = arena_calloc(&config->arena, SERVERS_MANY * sizeof *servers);
    struct addr at = addr_make_ip("127.0.0.1", 9001);
    for (unsigned i = 0; i < SERVERS_MANY; i++) {
        snprintf(names[i], sizeof names[i], "s%u", i);
        servers[i] = (struct server_settings){names[i], address_make(&config->arena, &at), 1, 0, false, false, 0};
    }
    b->servers = servers;
    b->server_count = SERVERS_MANY;
}

/* A long text is written bit by bit; who asks meanwhile is given the same. */
static void all_who_ask_meanwhile_are_given_the_same(void **state) {
    (void)state;
    add_many_servers();
    build();
    ask(0);
    mailbox_deliver(&r->box);
    assert_true(r->scrapes.draft && task_is_waiting(&r->scrapes.go_on));
    assert_int_equal(r->snapshot->refs, 2);
    ask(1);
    LOOP_UNTIL(&r->loop, is_answered(0) && is_answered(1));
    struct exposition *text = r->workers[0]->metrics;
    assert_ptr_equal(r->workers[1]->metrics, text);
    assert_int_equal(atomic_load(&text->refs), 3);
    assert_true(text->bytes > SERVERS_MANY * 200);
    open_letter(0);
    open_letter(1);
    assert_int_equal(r->snapshot->refs, 1);
}

/* What is being written is of the configuration that was in force; that lives on until it is done. */
static void a_reload_may_come_in_between(void **state) {
    (void)state;
    struct error e;
    add_many_servers();
    build();
    ask(0);
    mailbox_deliver(&r->box);
    struct snapshot *before = r->snapshot;
    assert_ptr_equal(r->scrapes.snapshot, before);
    config = config_make();
    config_add_frontend(config, "other");
    r->snapshot = snapshot_build(config, &r->registry, &e);
    assert_non_null(r->snapshot);
    list_push_back(&r->snapshots, &r->snapshot->node);
    reload_release(r, before);
    assert_int_equal(runtime_snapshots_alive(r), 2);
    LOOP_UNTIL(&r->loop, is_answered(0));
    assert_true(r->workers[0]->metrics->bytes > SERVERS_MANY * 200);
    open_letter(0);
    while (runtime_snapshots_alive(r) == 2) { /* the workers' pools are looked through */
        for (unsigned i = 0; i < WORKERS; i++) mailbox_deliver(&r->workers[i]->box);
        mailbox_deliver(&r->box);
    }
    deadline_cancel(&r->scrapes.stale);
    exposition_unref(r->scrapes.text);
    r->scrapes.text = NULL;
    ask_and_wait(0);
    assert_true(r->workers[0]->metrics->bytes < SERVERS_MANY);
    open_letter(0);
}

/* --- stopping: the tear-down finds what is left --------------------------------------------------------------------
 */

static void it_may_stop_before_the_question_comes(void **state) {
    (void)state;
    build();
    ask(0);
}

static void it_may_stop_while_it_writes(void **state) {
    (void)state;
    add_many_servers();
    build();
    ask(0);
    mailbox_deliver(&r->box);
    assert_non_null(r->scrapes.draft);
    ask(1);
}

static void it_may_stop_before_the_answer_is_read(void **state) {
    (void)state;
    build();
    ask_and_wait(1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_text_is_written_and_kept),   TEST(a_kept_text_is_not_kept_for_long),
        TEST(a_worker_asks_once),           TEST(all_who_ask_meanwhile_are_given_the_same),
        TEST(a_reload_may_come_in_between), TEST(it_may_stop_before_the_question_comes),
        TEST(it_may_stop_while_it_writes),  TEST(it_may_stop_before_the_answer_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
