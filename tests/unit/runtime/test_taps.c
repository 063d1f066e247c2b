/* test_taps.c: live records of all workers while they serve: opened, closed and followed by many at once (runs under
 * ThreadSanitizer). */
#include "loomgate/runtime/taps.h"

#include "../../../src/runtime/runtime_internal.h"
#include "../../support/config_make.h"
#include "../../support/conn_pair.h"
#include "../../support/json_check.h"
#include "../../support/random.h"

#include "loomgate/proxy/tap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

enum { WORKERS = 2, PATIENCE_S = 20 };

/* --- a runtime whose control thread is this one ----------------------------------------------------------------- */

static struct runtime rt;
static struct listener_settings listener = {.backlog = 64};
static struct addr at[WORKERS];

static void on_gate_left(struct worker *w) {
    (void)w;
}

static void on_drained(struct worker *w) {
    (void)w;
}

static void on_tenure_end(struct worker *w, struct tenure *t) {
    (void)w;
    free(t);
}

/* One listener. */
static void obey(struct worker *w) {
    int fds[WORKERS];
    struct tenure *tenures[WORKERS];
    struct order_listener l = {.bind = w->index + 1,
                               .frontend = &rt.snapshot->frontends[0],
                               .settings = &listener,
                               .fds = fds,
                               .fd_count = WORKERS};
    struct order o = {.tenures = tenures, .listeners = &l, .listener_count = 1, .workers = WORKERS};
    tenures[w->index] = xcalloc(1, sizeof(struct tenure));
    tenures[w->index]->snapshot = rt.snapshot;
    fds[w->index] = listener_open(&at[w->index]);
    l.port = addr_port(&at[w->index]);
    worker_switch(w, &o);
}

static struct worker *make_worker(unsigned i) {
    size_t size = (sizeof(struct worker) + LG_CACHE_LINE - 1) / LG_CACHE_LINE * LG_CACHE_LINE;
    struct worker *w = aligned_alloc(LG_CACHE_LINE, size);
    assert_non_null(w);
    memset(w, 0, size);
    w->owner = &rt;
    w->on_drained = on_drained;
    w->on_gate_left = on_gate_left;
    w->on_tenure_end = on_tenure_end;
    worker_init(w, i, &rt.gate, &rt.box);
    obey(w);
    return w;
}

/* "/own" and "/two" are answered "mine"; there is no access log. Each worker has a port of its own. */
static int set_up(void **state) {
    (void)state;
    struct error e;
    memset(&rt, 0, sizeof rt);
    loop_init(&rt.loop);
    mailbox_init(&rt.box, &rt.loop, &rt);
    registry_init(&rt.registry);
    list_init(&rt.taps);
    struct config *c = config_make();
    struct frontend_settings *f = config_add_frontend(c, "web");
    config_add_route(c, f, "own", "/own")->respond.body = SLICE("mine");
    config_add_route(c, f, "two", "/two")->respond.body = SLICE("mine");
    rt.snapshot = snapshot_build(c, &rt.registry, &e);
    assert_non_null(rt.snapshot);
    rt.worker_count = WORKERS;
    rt.workers = xcalloc(WORKERS, sizeof(struct worker *));
    for (unsigned i = 0; i < WORKERS; i++) rt.workers[i] = make_worker(i);
    for (unsigned i = 0; i < WORKERS; i++) assert_true(worker_start(rt.workers[i], &e));
    return 0;
}

static void stop(void) {
    for (unsigned i = 0; i < WORKERS; i++) worker_stop(rt.workers[i]);
    for (unsigned i = 0; i < WORKERS; i++) worker_fini(rt.workers[i]);
    mailbox_deliver(&rt.box);
    runtime_taps_fini(&rt);
    rt.state = RUNTIME_STOPPED;
}

static int tear_down(void **state) {
    (void)state;
    if (rt.state != RUNTIME_STOPPED) stop();
    for (unsigned i = 0; i < WORKERS; i++) free(rt.workers[i]);
    free(rt.workers);
    snapshot_free(rt.snapshot, &rt.registry);
    registry_fini(&rt.registry);
    mailbox_fini(&rt.box);
    loop_finish(&rt.loop);
    return 0;
}

/* --- a client --------------------------------------------------------------------------------------------------- */

static int connect_to(unsigned worker) {
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(at[worker].u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, &at[worker].u.sa, at[worker].len) != 0) return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* One request and its answer, without the loop of the control thread. */
static bool get(int fd, const char *path) {
    char text[1024];
    int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n) return false;
    size_t got = 0;
    while (got < 4 || memcmp(text + got - 4, "mine", 4) != 0) {
        ssize_t some = read(fd, text + got, sizeof text - got);
        if (some <= 0) return false;
        got += (size_t)some;
    }
    return true;
}

static void get_from(unsigned worker, const char *path, unsigned count) {
    int fd = connect_to(worker);
    while (count--) assert_true(get(fd, path));
    close(fd);
}

/* --- who follows ------------------------------------------------------------------------------------------------ */

struct follower {
    struct runtime_tap *tap; /* NULL: not open */
    bool is_open;            /* on all workers */
    bool closes_when_open;
    uint64_t lines, limit; /* closes after so many; 0: never */
};

static void follower_close(struct follower *f) {
    runtime_tap_close(f->tap);
    f->tap = NULL;
    f->is_open = false;
}

static void on_open(void *owner) {
    struct follower *f = owner;
    assert_non_null(f->tap);
    assert_false(f->is_open);
    f->is_open = true;
    if (f->closes_when_open) follower_close(f);
}

static void on_line(void *owner, struct slice line) {
    struct follower *f = owner;
    assert_non_null(f->tap);
    assert_true(json_is_valid(line));
    assert_true(slice_is(json_member(line, "frontend"), "\"web\""));
    if (++f->lines == f->limit) follower_close(f);
}

static bool follower_open(struct follower *f, const char *filter, uint32_t sample_per_s) {
    struct error e;
    struct runtime_tap_options options = {
        .filter = filter ? record_filter_compile(slice_of(filter), NULL, &e) : NULL,
        .sample_per_s = sample_per_s,
        .owner = f,
        .on_open = on_open,
        .on_line = on_line,
    };
    f->tap = runtime_tap_open(&rt, &options);
    return f->tap != NULL;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void what_ends_on_any_worker_is_told(void **state) {
    (void)state;
    struct follower all = {0}, own = {0}, none = {0};
    follower_open(&all, NULL, 0);
    follower_open(&own, "status==200 and route==own", 0);
    follower_open(&none, "status>=500", 0);
    assert_false(all.is_open);
    LOOP_UNTIL(&rt.loop, all.is_open && own.is_open && none.is_open);
    for (unsigned i = 0; i < WORKERS; i++) {
        get_from(i, "/own", 5);
        get_from(i, "/two", 3);
    }
    LOOP_UNTIL(&rt.loop, all.lines == 8 * WORKERS);
    LOOP_UNTIL(&rt.loop, own.lines == 5 * WORKERS);
    assert_int_equal(none.lines, 0);
    follower_close(&own);
    get_from(0, "/own", 1);
    LOOP_UNTIL(&rt.loop, all.lines == 8 * WORKERS + 1);
    loop_settle(&rt.loop);
    assert_int_equal(own.lines, 5 * WORKERS);
    assert_int_equal(runtime_tap_dropped(all.tap), 0);
    follower_close(&all);
    follower_close(&none);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
}

static void sixty_four_and_no_more(void **state) {
    (void)state;
    struct follower many[RUNTIME_TAPS_MAX] = {{0}}, more = {0};
    for (unsigned i = 0; i < RUNTIME_TAPS_MAX; i++) assert_true(follower_open(&many[i], i % 2 ? "reused" : NULL, 0));
    assert_false(follower_open(&more, "status==200", 0));
    for (unsigned i = 0; i < RUNTIME_TAPS_MAX; i++) LOOP_UNTIL(&rt.loop, many[i].is_open);
    get_from(0, "/own", 3);
    get_from(1, "/own", 4);
    for (unsigned i = 0; i < RUNTIME_TAPS_MAX; i += 2) LOOP_UNTIL(&rt.loop, many[i].lines == 7);
    follower_close(&many[5]);
    assert_true(follower_open(&more, NULL, 0)); /* although the closed one is still known to workers */
    for (unsigned i = 0; i < RUNTIME_TAPS_MAX; i++)
        if (many[i].tap) follower_close(&many[i]);
    follower_close(&more);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
    assert_int_equal(more.lines, 0);
    assert_int_equal(many[1].lines, 0);
}

/* What nobody reads meanwhile is kept as far as there is room, and counted otherwise. */
static void a_control_thread_that_is_busy(void **state) {
    (void)state;
    enum { REQUESTS = 1500 };
    struct follower f = {0}, closed = {0};
    follower_open(&f, NULL, 0);
    follower_open(&closed, NULL, 0);
    LOOP_UNTIL(&rt.loop, f.is_open && closed.is_open);
    get_from(0, "/own", REQUESTS);
    follower_close(&closed); /* with a full ring */
    LOOP_UNTIL(&rt.loop, f.lines + runtime_tap_dropped(f.tap) == REQUESTS);
    assert_true(f.lines > 0 && runtime_tap_dropped(f.tap) > 0);
    uint64_t lines = f.lines;
    get_from(0, "/own", 1);
    LOOP_UNTIL(&rt.loop, f.lines == lines + 1);
    assert_int_equal(closed.lines, 0);
    follower_close(&f);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
}

static void closed_by_who_is_told(void **state) {
    (void)state;
    struct follower counts = {.limit = 3}, at_once = {0}, when_open = {.closes_when_open = true}, stays = {0};
    follower_open(&counts, NULL, 0);
    follower_open(&at_once, NULL, 0);
    follower_open(&when_open, NULL, 0);
    follower_open(&stays, NULL, 0);
    follower_close(&at_once);
    LOOP_UNTIL(&rt.loop, stays.is_open);
    get_from(0, "/own", 10);
    LOOP_UNTIL(&rt.loop, stays.lines == 10);
    assert_int_equal(counts.lines, 3);
    assert_int_equal(at_once.lines, 0);
    assert_false(at_once.is_open);
    assert_null(when_open.tap);
    assert_int_equal(when_open.lines, 0);
    follower_close(&stays);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
}

static void a_sample_is_of_all_workers(void **state) {
    (void)state;
    struct follower f = {0}, all = {0};
    follower_open(&f, NULL, 1);
    follower_open(&all, NULL, 0);
    LOOP_UNTIL(&rt.loop, f.is_open && all.is_open);
    uint64_t began_us = loop_clock_us();
    for (unsigned i = 0; i < 2 * WORKERS; i++) get_from(i % WORKERS, "/own", 20);
    LOOP_UNTIL(&rt.loop, all.lines == 40 * WORKERS);
    loop_settle(&rt.loop);
    assert_in_range(f.lines, 1, 2 + (loop_clock_us() - began_us) / 1000000);
    follower_close(&f);
    follower_close(&all);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
}

/* --- under load ------------------------------------------------------------------------------------------------- */

enum { LOAD_REQUESTS = 2000, CHURNERS = 8 };

static _Atomic unsigned finished, failed;

static void *load(void *arg) {
    int fd = connect_to(*(const unsigned *)arg);
    for (unsigned i = 0; i < LOAD_REQUESTS; i++)
        if (!get(fd, i % 2 ? "/own" : "/two")) atomic_fetch_add(&failed, 1);
    close(fd);
    atomic_fetch_add(&finished, 1);
    return NULL;
}

static void churn(struct follower *v, struct random *random) {
    static const char *const filters[] = {NULL, "route==own", "path~^/t", "status>=500", "total<1h and not route==two"};
    struct follower *f = &v[random_below(random, CHURNERS)];
    if (f->tap) {
        follower_close(f);
        return;
    }
    *f = (struct follower){.limit = random_below(random, 50)};
    assert_true(follower_open(f, filters[random_below(random, LG_COUNT(filters))], random_below(random, 3) * 1000));
}

static void opening_and_closing_under_load(void **state) {
    (void)state;
    static const unsigned numbers[WORKERS] = {0, 1};
    struct follower stays = {0}, churners[CHURNERS] = {{0}};
    struct random random = {11};
    pthread_t threads[WORKERS];
    atomic_store(&finished, 0);
    atomic_store(&failed, 0);
    follower_open(&stays, NULL, 0);
    LOOP_UNTIL(&rt.loop, stays.is_open);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load, (void *)&numbers[i]), 0);
    while (atomic_load(&finished) < WORKERS) {
        churn(churners, &random);
        loop_step(&rt.loop, 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&failed), 0);
    LOOP_UNTIL(&rt.loop, stays.lines + runtime_tap_dropped(stays.tap) == WORKERS * LOAD_REQUESTS);
    for (unsigned i = 0; i < CHURNERS; i++)
        if (churners[i].tap) follower_close(&churners[i]);
    follower_close(&stays);
    LOOP_UNTIL(&rt.loop, list_is_empty(&rt.taps));
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* The process stops while one opens, one is open and full, and one closes: all of it is given back. */
static void a_stop_at_any_time(void **state) {
    (void)state;
    struct follower opens = {0}, full = {0}, closes = {0};
    follower_open(&full, NULL, 0);
    follower_open(&closes, NULL, 0);
    LOOP_UNTIL(&rt.loop, full.is_open && closes.is_open);
    get_from(0, "/own", 1000);
    follower_close(&closes);
    follower_open(&opens, NULL, 0);
    int fd = connect_to(1);
    stop();
    close(fd);
    assert_int_equal(closes.lines, 0);
    assert_true(list_is_empty(&rt.taps));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_ends_on_any_worker_is_told),
        TEST(sixty_four_and_no_more),
        TEST(a_control_thread_that_is_busy),
        TEST(closed_by_who_is_told),
        TEST(a_sample_is_of_all_workers),
        TEST(opening_and_closing_under_load),
        TEST(a_stop_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
