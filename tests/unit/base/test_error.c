/* test_error.c: messages of set-up steps: cut, wrapped, with the reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/error.h"

#include <errno.h>
#include <string.h>

static void test_set(void **state) {
    (void)state;
    struct error e;
    assert_false(error_set(&e, "%s:%d", "file", 3));
    assert_string_equal(e.text, "file:3");
    assert_false(error_set(&e, "in %s: again", e.text)); /* wraps itself */
    assert_string_equal(e.text, "in file:3: again");
}

static void test_errno(void **state) {
    (void)state;
    struct error e;
    errno = ENOENT;
    assert_false(error_set_errno(&e, "cannot open %s", "x"));
    assert_string_equal(e.text, "cannot open x: No such file or directory");
}

static void test_cut(void **state) {
    (void)state;
    struct error e;
    char text[2 * sizeof e.text];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_false(error_set(&e, "%s", text));
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    errno = EPERM;
    assert_false(error_set_errno(&e, "%s", text));
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    text[sizeof e.text - 6] = '\0';
    assert_false(error_set_errno(&e, "%s", text));
    assert_string_equal(e.text + sizeof e.text - 7, "x: Ope");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
