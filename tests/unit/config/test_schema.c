/* test_schema.c: the engine of the settings tables on tables of its own: widths, defaults, words, lists, printing. */
#include "config_text.h"

#include "loomgate/base/macros.h"
#include "loomgate/config/schema.h"

struct inner {
    uint64_t wait_us;
    const char *text;
    bool on;
};
struct thing {
    uint16_t small;
    uint32_t medium;
    uint64_t large;
    bool flag;
    enum { RED, GREEN } color;
    struct inner inner;
    struct texts words;
    const struct inner *items;
    uint32_t item_count;
    struct name_values pairs;
};

static bool finish_was_called;
static bool finish_inner(struct loader *l, const struct settings_table *table, const struct node *map, void *base) {
    (void)l, (void)table, (void)map, (void)base;
    return finish_was_called = true;
}

static const struct setting rows_inner[] = {
    {.key = "wait",
     .type = SETTING_DURATION,
     SETTING_AT(struct inner, wait_us),
     .fallback = "2s",
     .max = 60000000,
     .help = "h"},
    {.key = "text", .type = SETTING_TEXT, SETTING_AT(struct inner, text), .help = "h"},
};
static const struct settings_table table_inner = {
    .path = "inner", .what = "an inner", TABLE_ROWS(rows_inner), .shorthand = "text", .finish = finish_inner};
static const struct setting_word colors[] = {{"red", RED}, {"green", GREEN}, {NULL, 0}};
static const struct setting_word auto_word[] = {{"auto", 0}, {NULL, 0}};
static const struct setting item_word = {.key = "words", .type = SETTING_TEXT, .width = sizeof(char *)};
static const struct setting item_inner = {
    .key = "items", .type = SETTING_MAP, .width = sizeof(struct inner), .table = &table_inner};
static const struct setting rows_thing[] = {
    {.key = "small", .type = SETTING_INTEGER, SETTING_AT(struct thing, small), .fallback = "7", .help = "h"},
    {.key = "medium",
     .type = SETTING_INTEGER,
     SETTING_AT(struct thing, medium),
     .words = auto_word,
     .min = 1,
     .fallback = "auto",
     .help = "h"},
    {.key = "large", .type = SETTING_SIZE, SETTING_AT(struct thing, large), .fallback = "5GiB", .help = "h"},
    {.key = "flag", .type = SETTING_BOOL, SETTING_AT(struct thing, flag), .fallback = "true", .help = "h"},
    {.key = "color",
     .type = SETTING_ENUM,
     SETTING_AT(struct thing, color),
     .words = colors,
     .fallback = "green",
     .help = "h"},
    {.key = "inner",
     .type = SETTING_MAP,
     SETTING_AT(struct thing, inner),
     .flags = OFF_TOO,
     .also = offsetof(struct thing, inner.on),
     .table = &table_inner,
     .fallback = "off",
     .help = "h"},
    {.key = "words",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct thing, words.v, words.count),
     .flags = ONE_OR_LIST,
     .item = &item_word,
     .help = "h"},
    {.key = "items",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct thing, items, item_count),
     .item = &item_inner,
     .help = "h"},
    {.key = "pairs", .type = SETTING_PAIRS, SETTING_AT(struct thing, pairs), .help = "h"},
    {.key = "later", .type = SETTING_BOOL, .flags = LATER_UNLESS_ZERO, .fallback = "false", .help = "h"},
};
static const struct settings_table table_thing = {.path = "thing", .what = "a thing", TABLE_ROWS(rows_thing)};

struct run {
    struct arena arena;
    struct diagnostics d;
    struct loader l;
    struct thing thing;
    bool ok;
};

static void run_start(struct run *r, const char *text) {
    *r = (struct run){.ok = true};
    arena_init(&r->arena, NULL, 0);
    diagnostics_init(&r->d);
    r->l = (struct loader){.arena = &r->arena, .d = &r->d};
    schema_set_defaults(&r->l, &table_thing, &r->thing);
    const struct source *s = diagnostics_add_source(&r->d, "t", strdup(text), strlen(text));
    const struct node *root = yaml_parse(&r->arena, &r->d, s);
    if (root) r->ok = schema_read(&r->l, &table_thing, root, &r->thing);
}

static void run_end(struct run *r) {
    diagnostics_fini(&r->d);
    arena_fini(&r->arena);
}

static void test_defaults(void **state) {
    struct run r;
    (void)state;
    run_start(&r, "{}");
    assert_true(r.ok);
    assert_int_equal(r.thing.small, 7);
    assert_int_equal(r.thing.medium, 0);
    assert_int_equal(r.thing.large, 5ULL << 30);
    assert_true(r.thing.flag);
    assert_int_equal(r.thing.color, GREEN);
    assert_false(r.thing.inner.on);
    assert_int_equal(r.thing.inner.wait_us, 2000000);
    assert_int_equal(r.thing.words.count, 0);
    run_end(&r);
}

static void test_reads(void **state) {
    struct run r;
    (void)state;
    finish_was_called = false;
    run_start(&r, "{small: 65535, medium: 3, large: 1, flag: no, color: red, inner: {text: a}, words: one,\n"
                  " items: [short, {text: long, wait: 1s}], pairs: {a: b, c: ''}, later: off}");
    assert_true(r.ok);
    assert_int_equal(r.thing.small, 65535);
    assert_int_equal(r.thing.medium, 3);
    assert_false(r.thing.flag);
    assert_int_equal(r.thing.color, RED);
    assert_true(r.thing.inner.on);
    assert_string_equal(r.thing.inner.text, "a");
    assert_int_equal(r.thing.words.count, 1);
    assert_string_equal(r.thing.words.v[0], "one");
    assert_int_equal(r.thing.item_count, 2);
    assert_string_equal(r.thing.items[0].text, "short");
    assert_int_equal(r.thing.items[0].wait_us, 2000000);
    assert_int_equal(r.thing.items[1].wait_us, 1000000);
    assert_int_equal(r.thing.pairs.count, 2);
    assert_string_equal(r.thing.pairs.v[1].value, "");
    assert_true(finish_was_called);
    run_end(&r);
}

static void test_refuses(void **state) {
    static const char *const rows[][2] = {
        {"{small: 65536}", "'small': 65536 is too large"}, {"{medium: 0}", "'medium': 0 is too small"},
        {"{inner: {wait: 61s}}", "allowed: 0 to 1m"},      {"{inner: perhaps}", "takes a map, 'on' or 'off'"},
        {"{color: blue}", "allowed: red, green"},          {"{later: true}", "'later: true' is not supported yet"},
        {"{items: {a: b}}", "'items' takes a list"},       {"{words: [[a]]}", "'words' takes text, not a list"},
        {"{pairs: a}", "takes a map of names to texts"},   {"{smal: 1}", "did you mean 'small'?"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        struct run r;
        run_start(&r, rows[i][0]);
        char *messages = told(&r.d);
        assert_false(r.ok);
        if (!strstr(messages, rows[i][1])) fail_msg("%s: %s", rows[i][0], messages);
        free(messages);
        run_end(&r);
    }
}

static void test_prints(void **state) {
    struct run r;
    char *text = NULL;
    size_t len;
    (void)state;
    run_start(&r, "{medium: 3, inner: {text: 'a: b'}, words: [x, 'on'], items: [s], pairs: {a b: $$}}");
    struct printer p = {.out = open_memstream(&text, &len)};
    schema_print(&p, &table_thing, &r.thing);
    fclose(p.out);
    assert_string_equal(text, "small: 7\nmedium: 3\nlarge: 5GiB\nflag: true\ncolor: green\n"
                              "inner:\n  wait: 2s\n  text: \"a: b\"\n"
                              "words:\n  - x\n  - \"on\"\n"
                              "items:\n  - wait: 2s\n    text: s\n"
                              "pairs:\n  \"a b\": \"$$\"\n");
    free(text);
    run_end(&r);
}

static void test_nearest(void **state) {
    static const char *const words[] = {"balance", "servers", "timeouts", "pool"};
    static const struct {
        const char *word, *nearest;
    } rows[] = {
        {"balence", "balance"},
        {"blaance", "balance"},
        {"server", "servers"},
        {"timeout", "timeouts"},
        {"pol", "pool"},
        {"x", NULL},
        {"", NULL},
        {"retry", NULL},
        {"zzzzzzz", NULL},
    };
    char out[100];
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        bool found = nearest_word(slice_of(rows[i].word), words, LG_COUNT(words), out, sizeof out);
        assert_int_equal(found, rows[i].nearest != NULL);
        if (found) assert_non_null(strstr(out, rows[i].nearest));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_reads),   cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_prints),   cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
