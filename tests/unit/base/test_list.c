/* test_list.c: the intrusive list: order, removal while walking, a node alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/list.h"

#include <string.h>

struct thing {
    char name;
    struct list node;
};

static struct thing things[4];
static struct list list;

static int set_up(void **state) {
    (void)state;
    list_init(&list);
    for (int i = 0; i < 4; i++) {
        things[i].name = (char)('a' + i);
        list_init(&things[i].node);
    }
    return 0;
}

/* The names forward; asserts that backward they are the same. */
static void expect(const char *names) {
    size_t n = 0, count = strlen(names);
    LIST_FOR (node, &list) {
        assert_true(n < count);
        assert_int_equal(LIST_ENTRY(node, struct thing, node)->name, names[n++]);
    }
    assert_int_equal(n, count);
    for (struct list *node = list.prev; node != &list; node = node->prev)
        assert_int_equal(LIST_ENTRY(node, struct thing, node)->name, names[--n]);
    assert_int_equal(n, 0);
    assert_int_equal(list_is_empty(&list), count == 0);
    assert_ptr_equal(list_first(&list), count ? list.next : NULL);
    assert_ptr_equal(list_last(&list), count ? list.prev : NULL);
}

static void test_order(void **state) {
    (void)state;
    expect("");
    list_push_back(&list, &things[1].node);
    list_push_back(&list, &things[2].node);
    list_push_front(&list, &things[0].node);
    expect("abc");
    list_insert_before(&things[2].node, &things[3].node);
    expect("abdc");
    list_remove(&things[0].node);
    list_remove(&things[2].node);
    expect("bd");
}

static void test_alone(void **state) {
    (void)state;
    assert_true(list_is_empty(&things[0].node));
    list_remove(&things[0].node); /* in no list: nothing happens */
    list_push_back(&list, &things[0].node);
    assert_false(list_is_empty(&things[0].node));
    list_remove(&things[0].node);
    assert_true(list_is_empty(&things[0].node));
    list_remove(&things[0].node);
    expect("");
}

static void test_remove_while_walking(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) list_push_back(&list, &things[i].node);
    LIST_FOR (node, &list) {
        if (LIST_ENTRY(node, struct thing, node)->name % 2) list_remove(node);
    }
    expect("bd");
    LIST_FOR (node, &list) list_remove(node);
    expect("");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, set_up),
        cmocka_unit_test_setup(test_alone, set_up),
        cmocka_unit_test_setup(test_remove_while_walking, set_up),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
