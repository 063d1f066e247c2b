/* test_balance_rr.c: round robin: exact by weight, smooth, the same from many threads; turns that are not taken. */
#include "loomgate/backend/balance_rr.h"

#include "balance_bed.h"

#define MAKE(...) make(&balance_round_robin, WEIGHTS(__VA_ARGS__))

/* Letters of the members picked, a first. */
static void assert_turns(const char *expected) {
    char turns[64] = "";
    for (size_t i = 0; expected[i]; i++) {
        const struct balance_member *m = pick_but(NULL);
        turns[i] = m ? (char)('a' + (m - members)) : '-';
    }
    assert_string_equal(turns, expected);
}

static void equal_servers_take_turns(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    assert_turns("abcabcabc");
}

static void weights_are_spread_evenly(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    assert_turns("cabccabc");
}

static void weights_with_a_common_factor_are_reduced(void **state) {
    (void)state;
    MAKE(100, 200);
    assert_turns("babbab");
}

/* The light ones have their turn in the middle of the period, not at its end. */
static void a_heavy_server_surrounds_the_light_ones(void **state) {
    (void)state;
    MAKE(5, 1, 1);
    assert_turns("aaabcaaaaabcaa");
}

/* Precisely, of a whole number of periods. */
static void assert_exact(const uint32_t *parts, uint32_t count) {
    unsigned all = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        all += got[i];
        sum += parts[i];
    }
    for (uint32_t i = 0; i < count; i++)
        if (got[i] * sum != all * parts[i]) fail_msg("server %u: %u of %u", i, got[i], all);
}

static void three_thousand_are_exact(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    pick_idle(3000);
    assert_exact(WEIGHTS(1, 1, 2));
}

/* At every moment nobody is far from the share. */
static void odd_weights_are_exact_and_smooth(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 7, 13, 256, 99};
    make(&balance_round_robin, weights, 5);
    for (unsigned n = 1; n <= 376 * 3; n++) {
        pick_idle(1);
        for (unsigned i = 0; i < 5; i++) {
            double share = (double)n * weights[i] / 376;
            assert_true((double)got[i] > share - 2.5 && (double)got[i] < share + 2.5);
        }
        if (n % 376 == 0) assert_exact(weights, 5);
    }
}

static void a_weight_of_zero_takes_nothing(void **state) {
    (void)state;
    MAKE(1, 0, 1);
    assert_turns("acacac");
}

static void nobody_to_pick(void **state) {
    (void)state;
    MAKE(0, 0);
    assert_null(pick_but(NULL));
    tear_down(NULL);
    make(&balance_round_robin, NULL, 0);
    assert_null(pick_but(NULL));
}

static void tried_ones_are_left_out(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    struct tried tried = {.v = {&servers[0], &servers[2]}, .count = 2};
    for (unsigned i = 0; i < 10; i++) assert_ptr_equal(pick_but(&tried), &members[1]);
    tried.v[tried.count++] = &servers[1];
    assert_null(pick_but(&tried));
    tried.count = 0;
    assert_non_null(pick_but(&tried));
}

static void who_may_be_picked(void **state) {
    (void)state;
    check_who_may_be_picked(&balance_round_robin);
}

/* --- turns that are not taken ----------------------------------------------------------------------------------- */

/* The turns of b go to a and c by turns, not to c alone. */
static void the_turns_of_who_is_out_are_shared_out(void **state) {
    (void)state;
    MAKE(1, 1, 1);
    go_down(1);
    assert_turns("aacaccaacacc");
    go_ready(1);
    assert_turns("abcabc");
}

/* Whoever of them is out, and however: at every moment the others are as near to their parts as two walks can be. */
static void the_others_share_exactly(void **state) {
    (void)state;
    static const uint32_t weights[] = {1, 2, 4};
    for (unsigned out = 0; out < 3; out++) {
        for (unsigned way = 0; way < LG_COUNT(ways_out); way++) {
            make(&balance_round_robin, weights, 3);
            ways_out[way](out);
            uint32_t left[] = {1, 2, 4}, sum = 7 - weights[out];
            left[out] = 0;
            for (unsigned n = 1; n <= 7 * sum * 4; n++) { /* both walks are at their beginning after 7 * sum */
                pick_idle(1);
                for (unsigned i = 0; i < 3; i++) {
                    double share = (double)n * left[i] / sum;
                    assert_true((double)got[i] > share - 2.5 && (double)got[i] < share + 2.5);
                }
                if (n % (7 * sum) == 0) assert_exact(left, 3);
            }
            tear_down(NULL);
        }
    }
    MAKE(1);
}

static void half_of_many_are_out(void **state) {
    (void)state;
    MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    for (unsigned i = 0; i < 10; i += 2) go_maint(i);
    pick_idle(55 * 30 * 2);
    assert_exact(WEIGHTS(0, 2, 0, 4, 0, 6, 0, 8, 0, 10));
}

/* More than is looked at in one go: chance decides, by the same weights. */
static void nearly_all_weight_is_out(void **state) {
    (void)state;
    enum { HEAVY = 40 };
    uint32_t weights[HEAVY + 2];
    for (unsigned i = 0; i < HEAVY; i++) weights[i] = 256;
    weights[HEAVY] = 1;
    weights[HEAVY + 1] = 2;
    make(&balance_round_robin, weights, HEAVY + 2);
    for (unsigned i = 0; i < HEAVY; i++) go_down(i);
    pick_idle(2000);
    assert_share(HEAVY, 31, 36);
    go_down(HEAVY + 1);
    for (unsigned i = 0; i < 10; i++) assert_ptr_equal(pick_but(NULL), &members[HEAVY]);
    go_down(HEAVY);
    assert_null(pick_but(NULL));
}

static void ramps_are_by_weight(void **state) {
    (void)state;
    check_idle_shares(&balance_round_robin);
}

/* The others share what a ramp leaves as exactly as chance lets it be left. */
static void a_ramp_favours_nobody(void **state) {
    (void)state;
    MAKE(2, 1, 1, 4);
    set_share(0, 16);
    pick_idle(40000);
    assert_parts(0.6, WEIGHTS(2 * 16, 256, 256, 4 * 256));
    assert_true(got[1] > got[2] ? got[1] - got[2] <= 2 : got[2] - got[1] <= 2);
}

static void exact_again_after_the_ramp(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    set_share(2, 128);
    pick_idle(1001);
    now_us += 128000000;
    memset(got, 0, sizeof got);
    pick_idle(3000);
    assert_exact(WEIGHTS(1, 1, 2));
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

/* Each turn is given out once, on both walks: so the sums are exact whoever runs when. */
static const struct balance_member *peek(void) {
    return balancer->ops->pick(balancer, &(struct pick_request){.now_us = now_us, .random = 7, .peek = true});
}

/* Also where spare turns are given out. */
static void a_peek_takes_no_turn(void **state) {
    (void)state;
    MAKE(1, 2, 1);
    for (unsigned i = 0; i < 40; i++) {
        if (i == 20) go_down(1);
        const struct balance_member *next = peek();
        for (unsigned k = 0; k < 10; k++) assert_ptr_equal(peek(), next);
        assert_ptr_equal(pick_but(NULL), next);
    }
}

static void threads_share_one_schedule(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    pick_from_threads(NULL);
    assert_exact(WEIGHTS(1, 1, 2));
    tear_down(NULL);
    MAKE(1, 1, 2, 4);
    go_maint(2);
    pick_from_threads(NULL);
    for (unsigned i = 0; i < 4; i++) { /* 4,000 spare turns are no whole number of periods */
        double share = THREADS * PICKS * (double)members[i].weight / 6;
        if (i == 2)
            assert_int_equal(got[i], 0);
        else
            assert_true(got[i] > share - 1 && got[i] < share + 1);
    }
}

static void threads_may_pick_while_servers_ramp(void **state) {
    (void)state;
    MAKE(1, 1, 2);
    pick_from_threads(ramp_now_and_then);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(equal_servers_take_turns),
        TEST(weights_are_spread_evenly),
        TEST(weights_with_a_common_factor_are_reduced),
        TEST(a_heavy_server_surrounds_the_light_ones),
        TEST(three_thousand_are_exact),
        TEST(odd_weights_are_exact_and_smooth),
        TEST(a_weight_of_zero_takes_nothing),
        TEST(nobody_to_pick),
        TEST(tried_ones_are_left_out),
        TEST(who_may_be_picked),
        TEST(the_turns_of_who_is_out_are_shared_out),
        TEST(the_others_share_exactly),
        TEST(half_of_many_are_out),
        TEST(nearly_all_weight_is_out),
        TEST(ramps_are_by_weight),
        TEST(a_ramp_favours_nobody),
        TEST(exact_again_after_the_ramp),
        TEST(a_peek_takes_no_turn),
        TEST(threads_share_one_schedule),
        TEST(threads_may_pick_while_servers_ramp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
