/* balance_bed.h: a group of servers under one policy, with dice that always fall the same. */
#ifndef TESTS_UNIT_BACKEND_BALANCE_BED_H
#define TESTS_UNIT_BACKEND_BALANCE_BED_H

#include "loomgate/backend/balance.h"

#include "../../support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SERVERS = 48, RUNNING_MAX = 512, THREADS = 4, PICKS = 4000 };

static char names[SERVERS][8];
static struct server servers[SERVERS];
static struct server_settings server_settings[SERVERS];
static struct balance_member members[SERVERS];
static uint32_t member_count;
static unsigned got[SERVERS]; /* how often each was picked */
static struct balancer *balancer;
static struct balance_settings settings;
static const struct breaker_settings breaker = {
    .on = true, .error_rate = 0.5, .window_us = 10000000, .open_us = 1000000, .min_requests = 10, .probes = 1};
static struct random dice;
static uint64_t now_us;

static inline void make(const struct balance_ops *ops, const uint32_t *weights, uint32_t count) {
    memset(got, 0, sizeof got);
    dice.state = 88172645463325252U;
    now_us = 1000000000;
    member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "s%u", i % SERVERS);
        servers[i] = (struct server){.id = i, .name = names[i]};
        server_settings[i] = (struct server_settings){.name = names[i], .weight = weights[i]};
        members[i] = (struct balance_member){&servers[i], &server_settings[i], &breaker, weights[i]};
    }
    balancer = ops->make(members, count, &settings);
}

#define WEIGHTS(...) (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

static inline int tear_down(void **state) {
    (void)state;
    balancer->ops->free(balancer);
    return 0;
}

static inline const struct balance_member *pick_but(const struct tried *tried) {
    struct pick_request r = {.tried = tried, .now_us = now_us, .random = random_next(&dice)};
    const struct balance_member *m = balancer->ops->pick(balancer, &r);
    if (m) got[m - members]++;
    return m;
}

static inline void pick_idle(unsigned times) {
    for (unsigned i = 0; i < times; i++) assert_non_null(pick_but(NULL));
}

/* So many exchanges at a time; when one ends, whichever it is, the next begins. */
static inline void pick_busy(unsigned running, unsigned times) {
    struct server *busy[RUNNING_MAX] = {0};
    for (unsigned i = 0; i < times; i++) {
        struct server **place = &busy[random_below(&dice, running)];
        if (*place) server_release(*place);
        const struct balance_member *m = pick_but(NULL);
        assert_non_null(m);
        *place = m->server;
        assert_true(server_acquire(*place, 0));
    }
    for (unsigned i = 0; i < running; i++)
        if (busy[i]) server_release(busy[i]);
}

/* --- what servers are in ---------------------------------------------------------------------------------------- */

static inline void set_active(unsigned i, uint32_t n) {
    atomic_store(&servers[i].shared.active, n);
}

static inline void set_admin(unsigned i, enum server_admin admin) {
    atomic_store(&servers[i].shared.admin, admin);
}

static inline void set_health(unsigned i, enum server_health health) {
    atomic_store(&servers[i].shared.health, health);
}

/* It ramps up, and has this share of its weight now; one more each second. */
static inline void set_share(unsigned i, uint32_t share) {
    server_begin_ramp(&servers[i], now_us - share * 1000000, SHARE_ONE * 1000000);
    assert_int_equal(server_share(&servers[i], now_us), share);
}

static inline void begin_probe(unsigned i) {
    struct breaker_ticket ticket;
    struct breaker_change change;
    assert_true(breaker_enter(&servers[i].shared.breaker, &breaker, now_us, &ticket, &change));
    assert_true(ticket.is_probe);
}

static inline void go_ready(unsigned i) {
    struct breaker_change change;
    set_admin(i, SERVER_READY);
    set_health(i, SERVER_UP);
    breaker_reset(&servers[i].shared.breaker, &servers[i].shared.window, now_us, &change);
    server_settings[i].max_connections = 0;
    set_active(i, 0);
}
static inline void go_maint(unsigned i) {
    set_admin(i, SERVER_MAINT);
}
static inline void go_drain(unsigned i) {
    set_admin(i, SERVER_DRAIN);
}
static inline void go_down(unsigned i) {
    set_health(i, SERVER_DOWN);
}
static inline void go_open(unsigned i) {
    struct breaker_change change;
    breaker_trip(&servers[i].shared.breaker, now_us, 1000000, &change);
}
/* Half-open, with all the probes that there may be under way. */
static inline void go_probed(unsigned i) {
    struct breaker_change change;
    breaker_trip(&servers[i].shared.breaker, now_us - 2000000, 1000000, &change);
    begin_probe(i);
}
static inline void go_full(unsigned i) {
    server_settings[i].max_connections = 1;
    set_active(i, 1);
}

/* The ways to be out. */
static void (*const ways_out[])(unsigned i) = {go_maint, go_drain, go_down, go_open, go_probed, go_full};

/* --- shares ----------------------------------------------------------------------------------------------------- */

/* Between these shares, in percent, of all picks. */
static inline void assert_share(unsigned i, double low, double high) {
    unsigned all = 0;
    for (unsigned k = 0; k < SERVERS; k++) all += got[k];
    double share = 100.0 * got[i] / all;
    if (share < low || share > high) fail_msg("server %u has %.2f %%, not %.2f to %.2f", i, share, low, high);
}

/* Each has its part of all picks, up to so many points of percent. */
static inline void assert_parts(double points, const uint32_t *parts, uint32_t count) {
    double sum = 0;
    assert_int_equal(count, member_count);
    for (uint32_t i = 0; i < count; i++) sum += parts[i];
    for (uint32_t i = 0; i < count; i++) {
        double share = 100 * parts[i] / sum;
        if (!parts[i]) assert_int_equal(got[i], 0);
        assert_share(i, share - points, share + points);
    }
}

/* Picks with nothing running go by weight times share, for whoever can take. The bounds are four
 * standard deviations wide. */
static inline void check_idle_shares(const struct balance_ops *ops) {
    enum { TIMES = 40000 };
    const double points = 1;
    make(ops, WEIGHTS(1, 1, 1));
    set_share(0, 16);
    pick_idle(TIMES);
    assert_parts(points, WEIGHTS(16, 256, 256));

    memset(got, 0, sizeof got);
    set_share(0, 128);
    pick_idle(TIMES);
    assert_parts(points, WEIGHTS(1, 2, 2));

    memset(got, 0, sizeof got);
    now_us += 128000000;
    pick_idle(TIMES);
    assert_parts(points, WEIGHTS(1, 1, 1));

    memset(got, 0, sizeof got); /* all at once, however far they are */
    set_share(0, 16);
    set_share(1, 64);
    set_share(2, 128);
    pick_idle(TIMES);
    assert_parts(points, WEIGHTS(1, 4, 8));
    tear_down(NULL);

    make(ops, WEIGHTS(1, 4, 2, 8));
    set_share(1, 64);
    set_share(3, 128);
    go_down(0);
    pick_idle(TIMES);
    assert_parts(points, WEIGHTS(0, 1, 2, 4));
}

/* --- what every policy does ------------------------------------------------------------------------------------- */

static inline void check_the_ways_out(const struct balance_ops *ops) {
    for (unsigned way = 0; way < LG_COUNT(ways_out); way++) {
        make(ops, WEIGHTS(1, 1, 1));
        ways_out[way](0);
        for (unsigned i = 0; i < 100; i++) assert_ptr_not_equal(pick_but(NULL), &members[0]);
        ways_out[way](2);
        for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
        set_share(1, 16); /* who is alone gets everything, whatever its share */
        for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[1]);
        ways_out[way](1);
        for (unsigned i = 0; i < 10; i++) assert_null(pick_but(NULL));
        go_ready(2);
        for (unsigned i = 0; i < 100; i++) assert_ptr_equal(pick_but(NULL), &members[2]);
        tear_down(NULL);
    }
}

/* Open until its time has come; then it is picked, until a probe is under way. */
static inline void check_half_open(const struct balance_ops *ops) {
    make(ops, WEIGHTS(1, 1));
    go_open(0);
    go_maint(1);
    assert_null(pick_but(NULL));
    now_us += 1002000;
    assert_ptr_equal(pick_but(NULL), &members[0]);
    begin_probe(0);
    assert_null(pick_but(NULL));
    tear_down(NULL);
}

/* About those that may not be picked. */
static inline void check_who_may_be_picked(const struct balance_ops *ops) {
    check_the_ways_out(ops);
    check_half_open(ops);
    make(ops, WEIGHTS(1, 0, 3, 1));
    for (unsigned i = 0; i < 300; i++) assert_ptr_not_equal(pick_but(NULL), &members[1]);
    struct tried tried = {.v = {&servers[0]}, .count = 1};
    for (unsigned i = 0; i < 300; i++) {
        const struct balance_member *m = pick_but(&tried);
        assert_true(m == &members[2] || m == &members[3]);
    }
    set_admin(2, SERVER_MAINT);
    for (unsigned i = 0; i < 300; i++) assert_ptr_equal(pick_but(&tried), &members[3]);
    tried.v[tried.count++] = &servers[3];
    assert_null(pick_but(&tried));
    set_admin(2, SERVER_READY);
    assert_ptr_equal(pick_but(&tried), &members[2]);
    tear_down(NULL);
    make(ops, WEIGHTS(0, 0));
    assert_null(pick_but(NULL));
    tear_down(NULL);
    make(ops, NULL, 0);
    assert_null(pick_but(NULL));
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

/* Many threads pick, use and release at the same time: under ThreadSanitizer this proves that nothing else is shared;
 * `after` runs at the end of each exchange. Every pick finds a server; what each gets is no matter of chance only where
 * the policy does not look at what runs, which depends on when which thread does. */
struct picker {
    struct random dice;
    unsigned got[SERVERS];
    void (*after)(struct server *s, uint64_t now_us);
};

static inline void *picker_run(void *arg) {
    struct picker *p = arg;
    struct server *busy[8] = {0};
    for (unsigned i = 0; i < PICKS; i++) {
        struct server **place = &busy[i % 8];
        uint64_t at = 1000000000 + i * 1000;
        if (*place) {
            server_release(*place);
            if (p->after) p->after(*place, at);
        }
        struct pick_request r = {.now_us = at, .random = random_next(&p->dice)};
        const struct balance_member *m = balancer->ops->pick(balancer, &r);
        p->got[m - members]++;
        *place = m->server;
        assert_true(server_acquire(*place, 0));
    }
    for (unsigned i = 0; i < 8; i++) server_release(busy[i]);
    return NULL;
}

/* For `after`: servers begin to ramp again and again. */
static inline void ramp_now_and_then(struct server *s, uint64_t at_us) {
    if (at_us / 1000 % 100 == s->id) server_begin_ramp(s, at_us, 50000);
}

static inline void pick_from_threads(void (*after)(struct server *s, uint64_t now_us)) {
    pthread_t threads[THREADS];
    struct picker pickers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        pickers[i] = (struct picker){.dice = {i + 1}, .after = after};
        assert_int_equal(pthread_create(&threads[i], NULL, picker_run, &pickers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (unsigned k = 0; k < SERVERS; k++) got[k] += pickers[i].got[k];
    }
    unsigned all = 0;
    for (unsigned k = 0; k < SERVERS; k++) {
        assert_int_equal(atomic_load(&servers[k].shared.active), 0);
        all += got[k];
    }
    assert_int_equal(all, THREADS * PICKS);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

#endif
