/* test_yaml.c: text to a tree: places, anchors, merge keys, the environment, and every way to be refused. */
#include "config_text.h"

#include "loomgate/base/macros.h"
#include "loomgate/config/yaml.h"

struct reading {
    struct arena arena;
    struct diagnostics d;
    const struct node *root;
};

static void reading_start(struct reading *r, const char *text, size_t len) {
    arena_init(&r->arena, NULL, 0);
    diagnostics_init(&r->d);
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    r->root = yaml_parse(&r->arena, &r->d, diagnostics_add_source(&r->d, "t", copy, len));
}

static void reading_end(struct reading *r) {
    diagnostics_fini(&r->d);
    arena_fini(&r->arena);
}

/* The scalar at a path of keys. */
static const char *get(const struct node *n, const char *path) {
    char *copy = strdup(path), *rest = copy, *part;
    while ((part = strsep(&rest, ".")) != NULL) {
        if (n->kind == NODE_LIST) {
            const struct node_entry *e = n->first;
            for (int i = atoi(part); i > 0; i--) e = e->next;
            n = e->value;
        } else {
            n = node_find(n, part);
        }
        if (!n) fail_msg("no '%s' of '%s'", part, path);
    }
    free(copy);
    assert_int_equal(n->kind, NODE_SCALAR);
    return n->text.p;
}

static void read_good(struct reading *r, const char *text) {
    reading_start(r, text, strlen(text));
    char *messages = told(&r->d);
    if (messages[0] || !r->root) fail_msg("%s\n%s", text, messages);
    free(messages);
}

static void test_tree(void **state) {
    struct reading r;
    (void)state;
    read_good(&r, "# c\na: 1\nb:\n  - x\n  - {c: 'd', e: \"f\\n\"}\n");
    assert_int_equal(r.root->kind, NODE_MAP);
    assert_int_equal(r.root->count, 2);
    assert_string_equal(get(r.root, "b.0"), "x");
    assert_string_equal(get(r.root, "b.1.c"), "d");
    assert_string_equal(get(r.root, "b.1.e"), "f\n");
    const struct node *list = node_find(r.root, "b"), *second = list->first->next->value;
    assert_int_equal(list->count, 2);
    assert_true(list->first->value->is_plain);
    assert_false(second->first->value->is_plain);
    const struct place *at = &second->first->next->key->place;
    assert_int_equal(at->line, 5);
    assert_int_equal(at->column, 14);
    reading_end(&r);
}

static void test_anchors_and_merges(void **state) {
    struct reading r;
    (void)state;
    read_good(&r, "a: &a {x: 1, y: 2}\n"
                  "b: &b {y: 3, z: 4}\n"
                  "c: {<<: *a, y: 5}\n"
                  "d: {<<: [*a, *b]}\n"
                  "e: [*a, *b]\n"
                  "f: {<<: {q: 9}, r: 8}\n"
                  "\"<<\": plain key\n");
    assert_string_equal(get(r.root, "c.x"), "1");
    assert_string_equal(get(r.root, "c.y"), "5"); /* the map's own key wins */
    assert_string_equal(get(r.root, "d.y"), "2"); /* the first map wins */
    assert_string_equal(get(r.root, "d.z"), "4");
    assert_string_equal(get(r.root, "e.1.z"), "4");
    assert_string_equal(get(r.root, "f.q"), "9");
    assert_string_equal(get(r.root, "<<"), "plain key");
    assert_ptr_equal(node_find(r.root, "e")->first->value, node_find(r.root, "a")); /* shared, not copied */
    reading_end(&r);
}

static void test_environment(void **state) {
    struct reading r;
    (void)state;
    setenv("LG_T_A", "v", 1);
    setenv("LG_T_EMPTY", "", 1);
    setenv("LG_T_YAML", "{a: b}", 1);
    unsetenv("LG_T_NONE");
    read_good(&r, "a: ${LG_T_A}\nb: \"x${LG_T_A}y$$z${LG_T_NONE:-d:-e}\"\nc: ${LG_T_EMPTY}\nd: ${LG_T_EMPTY:-d}\n"
                  "${LG_T_A}: key\ne: ${LG_T_YAML}\nf: ${LG_T_NONE:-}\ng: $$${LG_T_A}\n");
    assert_string_equal(get(r.root, "a"), "v");
    assert_string_equal(get(r.root, "b"), "xvy$zd:-e");
    assert_string_equal(get(r.root, "c"), "");
    assert_string_equal(get(r.root, "d"), "d");
    assert_string_equal(get(r.root, "v"), "key");
    assert_string_equal(get(r.root, "e"), "{a: b}"); /* a value is never read as YAML */
    assert_string_equal(get(r.root, "f"), "");
    assert_string_equal(get(r.root, "g"), "$v");
    reading_end(&r);
}

/* What is told of a text, in parts separated by "|"; `has_tree` is whether reading goes on after it. */
struct bad {
    const char *text, *told;
    bool has_tree;
};

static void check_bad(const char *text, size_t len, const char *wanted, bool has_tree) {
    struct reading r;
    reading_start(&r, text, len);
    char *messages = told(&r.d);
    char *copy = strdup(wanted), *rest = copy, *part;
    while ((part = strsep(&rest, "|")) != NULL)
        if (!strstr(messages, part)) fail_msg("not told: %s\nbut:\n%s\nof:\n%.300s", part, messages, text);
    assert_true(diagnostics_count(&r.d, SEVERITY_ERROR) > 0);
    if ((r.root != NULL) != has_tree) fail_msg("tree: %d\n%s", r.root != NULL, text);
    free(copy);
    free(messages);
    reading_end(&r);
}

static void test_bad_texts(void **state) {
    static const struct bad bad[] = {
        {"a: 1\nb: 2\na: 3\n", "t:3:1: error: 'a' is given twice in this map, first at line 1 column 1\na: 3\n^\n",
         true},
        {"{<<: {a: 1}, <<: {b: 2}}", "t:1:14: error: '<<' is given twice", true},
        {"a: {b: 1, b: 2, b: 3}", "t:1:11: error: 'b' is given twice|t:1:17: error: 'b' is given twice", true},
        {"a:\n\tb: 1\n", "t:2:1: error: a tab where YAML allows only spaces|^|hint: YAML is indented with spaces",
         false},
        {"a: [1, 2\nb: 3\n", "error: |that began at line 1", false},
        {"a: \"x\n", "found unexpected end of stream", false},
        {"a: *b\n", "t:1:4: error: there is no anchor 'b'|hint: an anchor", true},
        {"a: *:80\n", "t:1:5: error: |hint: quote a value that begins with *", false},
        {"a: @x\n", "t:1:4: error: found character that cannot start any token|hint: quote", false},
        {"a: &a [*a]\n", "t:1:8: error: the anchor 'a' contains itself", false},
        {"a: &a {b: {c: *a}}\n", "the anchor 'a' contains itself", false},
        {"[a, b]: c\n", "t:1:1: error: a key must be a scalar, not a list", false},
        {"? {a: b}\n: c\n", "a key must be a scalar, not a map", false},
        {"a: &a {b: 1}\n*a : c\n", "a key must be a scalar, not a map", false},
        {"a: 1\n---\nb: 1\n", "t:2:1: error: a file holds one YAML document, not several|hint: ", false},
        {"a: !!int 1\nb: !x y\n", "t:1:4: error: YAML tags are not part|t:2:4: error: YAML tags", true},
        {"a: !x {b: 1}\n", "YAML tags are not part", false},
        {"a: {<<: 1}\n", "a merge key takes a map or a list of maps, not a scalar", false},
        {"a: {<<: [1]}\n", "a merge key takes a map or a list of maps", false},
        {"a: ${LG_T_NONE}\nb: ${LG_T_NONE2}\n",
         "t:1:4: error: the environment has no variable 'LG_T_NONE'|hint: set it|t:2:4: error: the environment has no",
         true},
        {"a: $x\n", "t:1:4: error: a lone '$' means nothing|$$ is a dollar", true},
        {"a: ends with $\n", "a lone '$' means nothing", true},
        {"a: ${LG_T_A\n", "'${' has no '}'", true},
        {"a: \"${}\"\n", "this is no name of a variable", true},
        {"a: \"${1A}\"\n", "this is no name of a variable", true},
        {"a: \"${A B}\"\n", "this is no name of a variable", true},
        {"a: \x01\n", "t:1:4: error: a control character", false},
        {"a: \x7f\n", "t:1:4: error: a control character", false},
        {"a: \xff\n", "t:1:4: error: this is not UTF-8 text", false},
        {"\xc3\xa4: \xc0\x80\n", "t:1:4: error: this is not UTF-8 text", false},
        {"a: \xed\xa0\x80\n", "this is not UTF-8 text", false},
        {"a: \xf4\x90\x80\x80\n", "this is not UTF-8 text", false},
        {"a: \xe2\x82", "this is not UTF-8 text", false},
        {"\xff\xfe"
         "a",
         "t:1:1: error: this is not UTF-8 text", false},
    };
    (void)state;
    unsetenv("LG_T_NONE");
    unsetenv("LG_T_NONE2");
    for (size_t i = 0; i < LG_COUNT(bad); i++)
        check_bad(bad[i].text, strlen(bad[i].text), bad[i].told, bad[i].has_tree);
    check_bad("a: 1\n\0b: 2\n", 11, "t:2:1: error: this is not text: it holds a NUL byte", false);
}

static void test_environment_must_be_text(void **state) {
    (void)state;
    setenv("LG_T_A", "\xff", 1);
    check_bad("a: ${LG_T_A}\n", 13, "the variable 'LG_T_A' is not UTF-8 text", true);
    setenv("LG_T_A", "v", 1);
}

/* Nothing at all is no error here: the caller knows what it expects. */
static void test_empty(void **state) {
    static const char *const texts[] = {"", "# nothing\n", "\n\n", "---\n...\n"};
    (void)state;
    for (size_t i = 0; i < LG_COUNT(texts); i++) {
        struct reading r;
        reading_start(&r, texts[i], strlen(texts[i]));
        assert_int_equal(diagnostics_count(&r.d, SEVERITY_ERROR), 0);
        assert_true(!r.root || node_is_null(r.root));
        reading_end(&r);
    }
}

static void test_byte_order_mark(void **state) {
    struct reading r;
    (void)state;
    read_good(&r, "\xef\xbb\xbf"
                  "a: 1\r\nb: 2\r\n");
    assert_string_equal(get(r.root, "b"), "2");
    reading_end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_anchors_and_merges),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_environment_must_be_text),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_byte_order_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
