/* test_failure.c: every row of the table of failures makes sense in itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/failure.h"

#include <string.h>

static void test_names(void **state) {
    (void)state;
    assert_int_equal(failure_find("ok"), FAILURE_NONE);
    assert_int_equal(failure_find("no_such_failure"), FAILURE_COUNT);
    assert_int_equal(failure_find(""), FAILURE_COUNT);
    for (int f = 0; f < FAILURE_COUNT; f++) {
        const char *name = failure_get((enum failure)f)->name;
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        assert_int_equal(failure_find(name), f); /* unique, or an earlier one would be found */
    }
}

static void test_sentences(void **state) {
    (void)state;
    for (int f = 1; f < FAILURE_COUNT; f++) {
        const char *sentence = failure_get((enum failure)f)->sentence;
        size_t n = strlen(sentence);
        assert_in_range(n, 10, 80);
        assert_int_not_equal(sentence[n - 1], '.');
        assert_int_equal(strcspn(sentence, "%\"\\\n<>&"), n); /* goes into text, JSON and headers as it is */
        for (int g = 1; g < f; g++) {
            bool same = strcmp(failure_get((enum failure)g)->sentence, sentence) == 0;
            assert_false(same);
        }
    }
}

/* Who is to blame decides which statuses, retries and breaker counts are possible. */
static void test_rows(void **state) {
    (void)state;
    const struct failure_row *ok = failure_get(FAILURE_NONE);
    assert_int_equal(ok->blame, BLAME_NONE);
    assert_false(ok->breaker);
    for (int f = 1; f < FAILURE_COUNT; f++) {
        const struct failure_row *row = failure_get((enum failure)f);
        switch (row->blame) {
        case BLAME_CLIENT:
            /* 501 and 505 are about what the client asked for; 0 is where there is no request to answer. */
            assert_true(row->status == 0 || row->status / 100 == 4 || row->status == 501 || row->status == 505);
            assert_int_equal(row->retry, RETRY_NEVER);
            assert_false(row->breaker);
            break;
        case BLAME_GATEWAY:
            assert_true(row->status == 0 || row->status == 404 || row->status / 100 == 5);
            assert_int_equal(row->retry, RETRY_NEVER);
            assert_false(row->breaker);
            break;
        case BLAME_SERVER:
            assert_true(row->status == 502 || row->status == 504);
            assert_in_range(row->retry, RETRY_NEVER, RETRY_ALWAYS);
            break;
        default:
            fail_msg("%s has nobody to blame", row->name);
        }
    }
}

/* Only what cannot have reached the server is always safe to send again (RFC 9110 section 9.2.2). */
static void test_retry_always(void **state) {
    (void)state;
    for (int f = 1; f < FAILURE_COUNT; f++)
        assert_int_equal(failure_get((enum failure)f)->retry == RETRY_ALWAYS,
                         f == FAILURE_connect_failed || f == FAILURE_connect_timeout);
}

static void test_blame_names(void **state) {
    (void)state;
    assert_string_equal(blame_name(BLAME_NONE), "");
    assert_string_equal(blame_name(BLAME_CLIENT), "client");
    assert_string_equal(blame_name(BLAME_GATEWAY), "gateway");
    assert_string_equal(blame_name(BLAME_SERVER), "server");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_sentences),   cmocka_unit_test(test_rows),
        cmocka_unit_test(test_retry_always), cmocka_unit_test(test_blame_names),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
