/* test_spin.c: when a loop looks once more, and when it sleeps. */
#include "loomgate/net/spin.h"

#include "loomgate/base/macros.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct spin spin;

static int set_up(void **state) {
    (void)state;
    spin = (struct spin){.most = 10};
    return 0;
}

/* A turn with events, and then looks that find nothing: how many there are before it sleeps. */
static unsigned looks_in_vain(void) {
    unsigned looks = 0;
    for (bool again = spin_again(&spin, true); again; again = spin_again(&spin, false)) looks++;
    return looks;
}

/* The look of this number finds something. */
static void find_at(unsigned look) {
    assert_true(spin_again(&spin, true));
    for (unsigned i = 1; i < look; i++) assert_true(spin_again(&spin, false));
}

static void without_looks_it_always_sleeps(void **state) {
    (void)state;
    spin.most = 0;
    for (unsigned i = 0; i < 1000; i++) assert_false(spin_again(&spin, i % 3 > 0));
}

static void what_was_never_worth_it_is_tried_now_and_then(void **state) {
    (void)state;
    unsigned tries = 0;
    for (unsigned i = 0; i < 10 * SPIN_TRIAL; i++) {
        unsigned looks = looks_in_vain();
        assert_true(looks == 0 || looks == spin.most);
        tries += looks > 0;
    }
    assert_int_equal(tries, 10);
}

static void an_event_that_a_look_found_is_worth_rounds_in_vain(void **state) {
    (void)state;
    while (!spin_again(&spin, true)) {}
    assert_true(spin_again(&spin, false));
    for (unsigned i = 0; i < SPIN_WORTH; i++) assert_int_equal(looks_in_vain(), spin.most);
    assert_int_equal(looks_in_vain(), 0);
}

/* Under full load every turn has events, and none of them was found by looking. */
static void an_event_that_was_there_already_is_not(void **state) {
    (void)state;
    for (unsigned i = 0; i < 10 * SPIN_TRIAL; i++) spin_again(&spin, true);
    assert_int_equal(spin.trust, 0);
}

static void trust_is_bounded(void **state) {
    (void)state;
    while (!spin_again(&spin, true)) {}
    assert_true(spin_again(&spin, false));
    for (unsigned i = 0; i < 1000; i++) find_at(2 + i % 9);
    unsigned rounds = 0;
    while (looks_in_vain()) rounds++;
    assert_true(rounds >= SPIN_TRUST_MAX);
    assert_true(rounds <= SPIN_TRUST_MAX + SPIN_WORTH);
}

/* One in twenty is too few, one in five is enough. */
static void it_goes_by_how_often(void **state) {
    (void)state;
    static const struct {
        unsigned each;
        bool goes_on;
    } cases[] = {{20, false}, {5, true}};
    for (size_t i = 0; i < LG_COUNT(cases); i++) {
        spin = (struct spin){.most = 10, .trust = 100};
        unsigned rounds = 0;
        for (unsigned n = 1; n <= 2000; n++) {
            if (n % cases[i].each || !spin.trust)
                rounds += looks_in_vain() > 0;
            else
                find_at(5);
        }
        if (cases[i].goes_on)
            assert_int_equal(rounds, 2000 - 2000 / cases[i].each);
        else
            assert_true(rounds < 400);
    }
}

/* Whoever changes `most` in between (a reload) changes it from the next round on. */
static void the_number_may_change(void **state) {
    (void)state;
    spin.trust = 5;
    assert_true(spin_again(&spin, true));
    spin.most = 3;
    unsigned looks = 1;
    while (spin_again(&spin, false)) looks++;
    assert_int_equal(looks, 10);
    assert_int_equal(looks_in_vain(), 3);
    spin.most = 0;
    assert_int_equal(looks_in_vain(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_looks_it_always_sleeps, set_up),
        cmocka_unit_test_setup(what_was_never_worth_it_is_tried_now_and_then, set_up),
        cmocka_unit_test_setup(an_event_that_a_look_found_is_worth_rounds_in_vain, set_up),
        cmocka_unit_test_setup(an_event_that_was_there_already_is_not, set_up),
        cmocka_unit_test_setup(trust_is_bounded, set_up),
        cmocka_unit_test_setup(it_goes_by_how_often, set_up),
        cmocka_unit_test_setup(the_number_may_change, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
