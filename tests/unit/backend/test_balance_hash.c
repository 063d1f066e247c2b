/* test_balance_hash.c: consistent hashing: even, by weight, few keys move, bounded loads (runs under ThreadSanitizer).
 */
#include "loomgate/backend/balance_hash.h"

#include <stdio.h>

#include "balance_bed.h"

enum { KEYS = 20000 };

static unsigned owners[KEYS];

static uint64_t key_number(unsigned i) {
    char text[20];
    int n = snprintf(text, sizeof text, "user-%u", i);
    return balance_key_add(BALANCE_KEY, slice_from(text, (size_t)n));
}

static const struct balance_member *pick_key(uint64_t key, const struct tried *tried) {
    struct pick_request r = {.tried = tried, .now_us = now_us, .key = key, .has_key = true};
    return balancer->ops->pick(balancer, &r);
}

static void make_bounded(double factor, const uint32_t *weights, uint32_t count) {
    settings = (struct balance_settings){.kind = BALANCE_HASH, .bounded_load = factor};
    make(&balance_hash, weights, count);
}

/* Who has each key now. */
static void look(unsigned *whose) {
    memset(got, 0, sizeof got);
    for (unsigned i = 0; i < KEYS; i++) {
        whose[i] = (unsigned)(pick_key(key_number(i), NULL) - members);
        got[whose[i]]++;
    }
}

static void keys_stay(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1));
    look(owners);
    for (unsigned i = 0; i < KEYS; i++) assert_ptr_equal(pick_key(key_number(i), NULL), &members[owners[i]]);
}

static void keys_are_spread_evenly(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    look(owners);
    for (unsigned i = 0; i < 10; i++) assert_share(i, 9.3, 10.7);
}

static void keys_are_spread_by_weight(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 2, 5, 0));
    look(owners);
    assert_share(0, 11.8, 13.2);
    assert_share(1, 24, 26);
    assert_share(2, 61.3, 63.7);
    assert_int_equal(got[3], 0);
}

static unsigned moved_from(const unsigned *before, const unsigned *after, unsigned allowed) {
    unsigned moved = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        if (before[i] == after[i]) continue;
        if (before[i] != allowed && after[i] != allowed) fail_msg("key %u: %u to %u", i, before[i], after[i]);
        moved++;
    }
    return moved;
}

/* Out of ten: its own tenth moves, to all others alike; and comes back with it. */
static void only_the_keys_of_a_server_in_maintenance_move(void **state) {
    static unsigned after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    look(owners);
    set_admin(3, SERVER_MAINT);
    look(after);
    unsigned moved = moved_from(owners, after, 3);
    assert_true(moved > KEYS * 9 / 100 && moved < KEYS * 11 / 100);
    for (unsigned i = 0; i < 10; i++)
        if (i != 3) assert_share(i, 10.3, 11.9);
    set_admin(3, SERVER_READY);
    look(after);
    assert_int_equal(moved_from(owners, after, 3), 0);
}

/* The same when the file does not name it any more, whatever its place was. */
static void only_the_keys_of_a_removed_server_move(void **state) {
    static unsigned after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    look(owners);
    tear_down(NULL);
    memmove(members, members + 1, 9 * sizeof members[0]);
    balancer = balance_hash.make(members, 9, &settings);
    look(after);
    for (unsigned i = 0; i < KEYS; i++) after[i]++;
    unsigned moved = moved_from(owners, after, 0);
    assert_true(moved > KEYS * 9 / 100 && moved < KEYS * 11 / 100);
}

/* From 1 of 10 to 2 of 11: a server takes keys from all, nobody else gets any. */
static void a_new_weight_moves_only_what_it_must(void **state) {
    static unsigned after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    look(owners);
    tear_down(NULL);
    make(&balance_hash, WEIGHTS(1, 1, 1, 1, 2, 1, 1, 1, 1, 1));
    look(after);
    unsigned moved = moved_from(owners, after, 4);
    assert_true(moved > KEYS * 7 / 100 && moved < KEYS * 95 / 1000);
    for (unsigned i = 0; i < KEYS; i++) assert_true(owners[i] == after[i] || after[i] == 4);
}

/* Each key goes once, from where it was to the one that comes back; nobody else gets any. */
static void a_ramp_brings_keys_back_one_by_one(void **state) {
    static unsigned home[KEYS], after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
    look(home);
    go_down(4);
    look(owners);
    go_ready(4);
    for (uint32_t share = 16; share <= 256; share += 16) {
        set_share(4, share);
        look(after);
        for (unsigned i = 0; i < KEYS; i++)
            if (after[i] != owners[i] && (after[i] != 4 || home[i] != 4)) fail_msg("key %u: to %u", i, after[i]);
        double whole = 100.0 * share / (9 * 256 + share);
        assert_share(4, whole - 0.7, whole + 0.7);
        memcpy(owners, after, sizeof owners);
    }
    assert_memory_equal(owners, home, sizeof owners);
}

/* The same where weights differ. */
static void a_ramp_moves_keys_one_way_only(void **state) {
    static unsigned after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 4, 2, 5));
    set_share(1, 16);
    look(owners);
    assert_parts(0.7, WEIGHTS(256, 4 * 16, 2 * 256, 5 * 256));
    set_share(1, 128);
    look(after);
    assert_parts(1, WEIGHTS(1, 2, 2, 5));
    for (unsigned i = 0; i < KEYS; i++) assert_true(owners[i] == after[i] || after[i] == 1);
}

static void all_ramp(void **state) {
    static unsigned after[KEYS];
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1));
    look(owners);
    for (unsigned i = 0; i < 4; i++) set_share(i, 64);
    look(after); /* alike: nothing moves */
    assert_memory_equal(owners, after, sizeof owners);
    set_share(3, 16);
    look(after);
    assert_parts(1.2, WEIGHTS(4, 4, 4, 1));
    assert_true(moved_from(owners, after, 3) > 0);
}

static void ramps_are_by_weight(void **state) {
    (void)state;
    settings.bounded_load = 1.25;
    check_idle_shares(&balance_hash);
}

static void the_next_try_goes_to_the_next_one(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1));
    unsigned second[SERVERS] = {0};
    for (unsigned i = 0; i < 1000; i++) {
        const struct balance_member *first = pick_key(key_number(i), NULL);
        struct tried tried = {.v = {first->server}, .count = 1};
        const struct balance_member *next = pick_key(key_number(i), &tried);
        assert_ptr_not_equal(next, first);
        assert_ptr_equal(pick_key(key_number(i), &tried), next);
        if (first == &members[0]) second[next - members]++;
    }
    for (unsigned i = 1; i < 4; i++) assert_true(second[i] > 50);
}

/* Everybody asks for the same: nobody runs more than ceil(1.25 x its share). */
static void a_hot_key_spills_over(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 1, 1));
    const struct balance_member *own = pick_key(7, NULL);
    for (unsigned running = 1; running <= 400; running++) {
        assert_true(server_acquire(pick_key(7, NULL)->server, 0));
        for (unsigned i = 0; i < 4; i++) {
            uint32_t active = atomic_load(&servers[i].shared.active);
            if (active > 2 && active >= 1.25 * running / 4 + 1)
                fail_msg("%u of %u run on server %u", active, running, i);
        }
    }
    assert_int_equal(atomic_load(&own->server->shared.active), 125);
}

static void the_bound_is_by_weight(void **state) {
    (void)state;
    make_bounded(1.5, WEIGHTS(1, 3));
    for (unsigned running = 1; running <= 400; running++) {
        assert_true(server_acquire(pick_key(running % 2, NULL)->server, 0));
        uint32_t active = atomic_load(&servers[0].shared.active);
        assert_true(active <= 2 || active < 1.5 * running / 4 + 1);
    }
}

/* A ramping server is full sooner. */
static void the_bound_is_by_share(void **state) {
    (void)state;
    make_bounded(1.5, WEIGHTS(1, 1, 1));
    set_share(0, 64);
    for (unsigned running = 1; running <= 400; running++) {
        assert_true(server_acquire(pick_key(running, NULL)->server, 0));
        uint32_t active = atomic_load(&servers[0].shared.active);
        assert_true(active <= 2 || active < 1.5 * running / 9 + 1);
    }
}

/* Nobody waits for a server that is out: the bound is of what the others run. */
static void the_bound_is_of_those_left(void **state) {
    (void)state;
    make_bounded(1, WEIGHTS(1, 1, 1, 1));
    go_full(2);
    go_open(3);
    for (unsigned i = 0; i < 40; i++) assert_true(server_acquire(pick_key(7, NULL)->server, 0));
    for (unsigned i = 0; i < 2; i++) assert_int_equal(atomic_load(&servers[i].shared.active), 20);
}

/* Even while nothing else runs, a second request of the same key stays. */
static void two_are_no_load(void **state) {
    (void)state;
    make_bounded(1, WEIGHTS(1, 1, 1, 1, 1, 1, 1, 1));
    const struct balance_member *own = pick_key(7, NULL);
    assert_true(server_acquire(own->server, 0));
    assert_ptr_equal(pick_key(7, NULL), own);
    assert_true(server_acquire(own->server, 0));
    assert_ptr_not_equal(pick_key(7, NULL), own);
}

/* A factor of 1 leaves no room at all beyond the share. */
static void the_tightest_bound_is_round_robin(void **state) {
    (void)state;
    make_bounded(1, WEIGHTS(1, 1, 1, 1));
    for (unsigned i = 0; i < 40; i++) assert_true(server_acquire(pick_key(7, NULL)->server, 0));
    for (unsigned i = 0; i < 4; i++) assert_int_equal(atomic_load(&servers[i].shared.active), 10);
}

static void without_a_key_chance_decides(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 2));
    pick_idle(40000);
    assert_share(0, 24, 26);
    assert_share(2, 49, 51);
}

static void who_may_be_picked(void **state) {
    (void)state;
    settings.bounded_load = 1.25;
    check_who_may_be_picked(&balance_hash);
}

static void parts_of_a_key_are_chained(void **state) {
    (void)state;
    uint64_t whole = balance_key_add(BALANCE_KEY, SLICE("example.org"));
    assert_true(balance_key_add(balance_key_add(BALANCE_KEY, SLICE("example")), SLICE(".org")) == whole);
    assert_true(balance_key_add(BALANCE_KEY, SLICE("a")) == 0xaf63dc4c8601ec8cU); /* the published test vector */
    make_bounded(1.25, WEIGHTS(1));
}

static void threads_keep_the_shares(void **state) {
    (void)state;
    make_bounded(THREADS * PICKS, WEIGHTS(1, 1, 2)); /* nobody is ever full, so chance alone decides */
    pick_from_threads(NULL);
    assert_share(0, 23, 27);
    assert_share(2, 48, 52);
}

static void threads_may_pick_while_servers_ramp(void **state) {
    (void)state;
    make_bounded(1.25, WEIGHTS(1, 1, 2));
    pick_from_threads(ramp_now_and_then);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(keys_stay),
        TEST(keys_are_spread_evenly),
        TEST(keys_are_spread_by_weight),
        TEST(only_the_keys_of_a_server_in_maintenance_move),
        TEST(only_the_keys_of_a_removed_server_move),
        TEST(a_new_weight_moves_only_what_it_must),
        TEST(a_ramp_brings_keys_back_one_by_one),
        TEST(a_ramp_moves_keys_one_way_only),
        TEST(all_ramp),
        TEST(ramps_are_by_weight),
        TEST(the_next_try_goes_to_the_next_one),
        TEST(a_hot_key_spills_over),
        TEST(the_bound_is_by_weight),
        TEST(the_bound_is_by_share),
        TEST(the_bound_is_of_those_left),
        TEST(two_are_no_load),
        TEST(the_tightest_bound_is_round_robin),
        TEST(without_a_key_chance_decides),
        TEST(who_may_be_picked),
        TEST(parts_of_a_key_are_chained),
        TEST(threads_keep_the_shares),
        TEST(threads_may_pick_while_servers_ramp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
