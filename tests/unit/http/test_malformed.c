/* test_malformed.c: which bytes are kept of what could not be read, whose they are, and how many of the last ones. */
#include "loomgate/http/malformed.h"

#include "../../support/addr_make.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct malformed_ring ring;

static int set_up(void **state) {
    (void)state;
    ring = (struct malformed_ring){0};
    return 0;
}

/* Noted with the place at `at`. */
static const struct malformed *note(const char *text, size_t n, const char *at) {
    const struct addr peer = addr_make_ip("192.0.2.7", 99);
    const struct malformed_source from = {"web", NULL, &peer};
    uint64_t index = ring.count < MALFORMED_KEPT ? ring.count : MALFORMED_KEPT - 1;
    malformed_add(&ring, 1000 + ring.count, &from, FAILURE_bad_field, slice_from(text, n), at);
    return malformed_find(&ring, index);
}

static void what_is_short_is_kept_whole(void **state) {
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\n\x00z";
    const struct malformed *m = note(text, sizeof text - 1, text + 16);
    assert_int_equal(m->count, sizeof text - 1);
    assert_int_equal(m->at, 16);
    assert_memory_equal(m->bytes, text, sizeof text - 1);
    assert_int_equal(m->failure, FAILURE_bad_field);
    assert_false(m->is_response);
    assert_int_equal(addr_port(&m->peer), 99);
    assert_int_equal(note("", 0, NULL)->count, 0);
    assert_int_equal(note(NULL, 0, NULL)->at, 0);
    assert_int_equal(note(text, 5, NULL)->at, 0);
    assert_int_equal(note(text, 5, text + 5)->at, 5);
    assert_int_equal(note(text, 5, text + 6)->at, 0); /* none of these bytes */
}

/* The window is full wherever the place is, and shows both sides where there are both. */
static void of_what_is_long_the_part_around_the_place(void **state) {
    char text[1000];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 23);
    for (size_t at = 0; at <= sizeof text; at++) {
        const struct malformed *m = note(text, sizeof text, text + at);
        assert_int_equal(m->count, MALFORMED_BYTES_MAX);
        assert_memory_equal(m->bytes, text + at - m->at, MALFORMED_BYTES_MAX);
        assert_true(m->at <= at && (m->at >= MALFORMED_BYTES_MAX / 2 || m->at == at));
        if (at + MALFORMED_BYTES_MAX / 2 <= sizeof text) assert_true(m->at <= MALFORMED_BYTES_MAX / 2);
    }
}

static void whose_it_was(void **state) {
    (void)state;
    char longer[200];
    const struct addr peer = addr_make_ip("::1", 80);
    struct malformed_source from = {"app", "a1", &peer};
    malformed_add(&ring, 1, &from, FAILURE_bad_response, SLICE("x"), NULL);
    const struct malformed *m = malformed_find(&ring, 0);
    assert_true(m->is_response);
    assert_true(slice_is(malformed_name(m, 0), "app") && slice_is(malformed_name(m, 1), "a1"));
    assert_int_equal(malformed_name(note("x", 1, NULL), 1).n, 0);
    memset(longer, 'n', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    from = (struct malformed_source){longer, longer, &peer};
    malformed_add(&ring, 1, &from, FAILURE_bad_response, SLICE("x"), NULL);
    m = malformed_find(&ring, 2);
    assert_int_equal(malformed_name(m, 0).n, MALFORMED_NAME_MAX / 2);
    assert_int_equal(malformed_name(m, 1).n, MALFORMED_NAME_MAX / 2);
}

static void the_last_ones_are_kept(void **state) {
    (void)state;
    assert_null(malformed_find(&ring, 0));
    for (unsigned i = 0; i < 3; i++) note("x", 1, NULL);
    assert_int_equal(malformed_find(&ring, 0)->unix_us, 1000);
    assert_null(malformed_find(&ring, 3));
    for (unsigned i = 0; i < MALFORMED_KEPT; i++) note("x", 1, NULL);
    for (unsigned i = 0; i < MALFORMED_KEPT; i++) assert_int_equal(malformed_find(&ring, i)->unix_us, 1003 + i);
    assert_null(malformed_find(&ring, MALFORMED_KEPT));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_short_is_kept_whole),
        TEST(of_what_is_long_the_part_around_the_place),
        TEST(whose_it_was),
        TEST(the_last_ones_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
