/* test_audit.c: the last 256 are kept, in order, cut when too long. */
#include "loomgate/control/audit.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct socket_peer peer = {.pid = 7, .uid = 8, .gid = 9};

static struct audit *make(void) {
    struct audit *a = calloc(1, sizeof *a);
    assert_non_null(a);
    log_set_level(LEVEL_ERROR);
    return a;
}

static void an_entry(void **state) {
    (void)state;
    struct audit *a = make();
    assert_null(audit_find(a, 0));
    audit_add(a, 123, &peer, SLICE("drain app/a1"), "ok", "drained");
    const struct audit_entry *e = audit_find(a, 0);
    assert_int_equal(e->unix_us, 123);
    assert_int_equal(e->peer.pid, 7);
    assert_int_equal(e->peer.uid, 8);
    assert_int_equal(e->peer.gid, 9);
    assert_true(slice_is(slice_from(e->command, e->command_len), "drain app/a1"));
    assert_string_equal(e->result, "ok");
    assert_string_equal(e->message, "drained");
    assert_null(audit_find(a, 1));
    free(a);
}

static void the_oldest_goes_first(void **state) {
    (void)state;
    struct audit *a = make();
    for (uint64_t i = 1; i <= AUDIT_KEPT + 3; i++) audit_add(a, i, &peer, SLICE("x"), "ok", "");
    for (uint64_t i = 0; i < AUDIT_KEPT; i++) assert_int_equal(audit_find(a, i)->unix_us, i + 4);
    assert_null(audit_find(a, AUDIT_KEPT));
    free(a);
}

static void what_is_too_long_is_cut(void **state) {
    char large[1000];
    (void)state;
    struct audit *a = make();
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    audit_add(a, 1, &peer, slice_from(large, sizeof large), "ok", large);
    const struct audit_entry *e = audit_find(a, 0);
    assert_int_equal(e->command_len, AUDIT_COMMAND_MAX);
    assert_int_equal(strlen(e->message), AUDIT_MESSAGE_MAX - 1);
    free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry),
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(what_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
