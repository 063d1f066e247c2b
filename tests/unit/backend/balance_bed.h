/* balance_bed.h: a group of servers under one policy, with dice that always fall the same. */
#ifndef TESTS_UNIT_BACKEND_BALANCE_BED_H
#define TESTS_UNIT_BACKEND_BALANCE_BED_H

#include "loomgate/backend/balance.h"

#include "../../support/random.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SERVERS = 16, RUNNING_MAX = 512, THREADS = 4, PICKS = 4000 };

static const char *const names[SERVERS] = {"s0", "s1", "s2",  "s3",  "s4",  "s5",  "s6",  "s7",
                                           "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"};
static struct server servers[SERVERS];
static struct balance_member members[SERVERS];
static unsigned got[SERVERS]; /* how often each was picked */
static struct balancer *balancer;
static struct balance_settings settings;
static struct random dice;
static uint64_t now_us;
static const struct breaker_settings no_breaker;
static struct server_settings server_settings[SERVERS];

static inline void make(const struct balance_ops *ops, const uint32_t *weights, uint32_t count) {
    memset(got, 0, sizeof got);
    dice.state = 88172645463325252U;
    now_us = 1000000000;
    for (uint32_t i = 0; i < count; i++) {
        servers[i] = (struct server){.id = i, .name = names[i]};
        server_settings[i] = (struct server_settings){.weight = weights[i]};
        members[i] = (struct balance_member){&servers[i], &server_settings[i], &no_breaker, weights[i]};
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

static inline void set_active(unsigned i, uint32_t n) {
    atomic_store(&servers[i].shared.active, n);
}

static inline void set_admin(unsigned i, enum server_admin admin) {
    atomic_store(&servers[i].shared.admin, admin);
}

/* Between these shares, in percent, of all picks. */
static inline void assert_share(unsigned i, double low, double high) {
    unsigned all = 0;
    for (unsigned k = 0; k < SERVERS; k++) all += got[k];
    double share = 100.0 * got[i] / all;
    if (share < low || share > high) fail_msg("server %u has %.2f %%, not %.2f to %.2f", i, share, low, high);
}

/* What every policy does about those that may not be picked. */
static inline void check_who_may_be_picked(const struct balance_ops *ops) {
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
