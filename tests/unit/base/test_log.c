/* test_log.c: records of the process, exactly as they are rendered; levels; the log before and after its life.
 * This runs under ThreadSanitizer (the writer is a thread). */
#include "log_tools.h"

/* The file's records after their time, which must look like one. `json` is whether they begin as JSON ones do. */
static char *without_times(char *text, bool json) {
    const char *shape = json ? "{\"time\":\"####-##-##T##:##:##.###Z\"," : "####-##-##T##:##:##.###Z ";
    char *out = xmalloc(strlen(text) + 1), *to = out;
    for (char *line = text; *line;) {
        for (const char *s = shape; *s; s++, line++)
            if (*s == '#')
                assert_in_range(*line, '0', '9');
            else
                assert_int_equal(*line, *s);
        size_t n = strcspn(line, "\n");
        assert_int_equal(line[n], '\n');
        memcpy(to, line, n + 1);
        to += n + 1;
        line += n + 1;
    }
    *to = '\0';
    free(text);
    return out;
}

static void some_events(void) {
    log_debug("hidden", "below the level");
    log_info("listening", "accepting connections", LOG_STR("frontend", "web"), LOG_INT("workers", 4));
    log_warn("bare", NULL);
    log_error("odd", "it's \"here\"\n{", LOG_SLICE("path", SLICE("/a b\"\x1b\xff")), LOG_INT("n", INT64_MIN));
}

static void check_events(enum log_format format, const char *want) {
    char *path = path_of("events");
    log_init(64);
    log_configure(open_sink(LOG_TO_FILE, path), format, LEVEL_INFO);
    some_events();
    log_fini(PATIENCE_MS);
    char *text = without_times(read_file(path), format == FORMAT_JSON);
    assert_string_equal(text, want);
    free(text);
    unlink(path);
    free(path);
}

static void test_json(void **state) {
    (void)state;
    check_events(FORMAT_JSON, "\"level\":\"info\",\"event\":\"listening\",\"message\":\"accepting connections\","
                              "\"frontend\":\"web\",\"workers\":4}\n"
                              "\"level\":\"warn\",\"event\":\"bare\"}\n"
                              "\"level\":\"error\",\"event\":\"odd\",\"message\":\"it's \\\"here\\\"\\n{\","
                              "\"path\":\"/a b\\\"\\u001b\\u00ff\",\"n\":-9223372036854775808}\n");
}

static void test_text(void **state) {
    (void)state;
    check_events(FORMAT_TEXT, "info listening: accepting connections frontend=web workers=4\n"
                              "warn bare\n"
                              "error odd: it's \"here\"\\x0a{ path=/a\\x20b\\x22\\x1b\\xff n=-9223372036854775808\n");
}

/* A record that is too long is cut inside its values and still is one whole record. */
static void test_long(void **state) {
    (void)state;
    char *path = path_of("long"), *text = xmalloc(10001);
    memset(text, '"', 10000);
    text[10000] = '\0';
    log_init(64);
    log_configure(open_sink(LOG_TO_FILE, path), FORMAT_JSON, LEVEL_INFO);
    log_info("long", text, LOG_STR("more", text), LOG_INT("n", 1));
    log_info("long", NULL, LOG_STR("more", text), LOG_INT("n", 1));
    text[1] = '\0';
    log_info("short", NULL, LOG_STR("more", text));
    log_fini(PATIENCE_MS);
    free(text);
    text = read_file(path);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        size_t n = strlen(line);
        assert_true(n < 4096 && (lines == 2 || n > 4000));
        assert_string_equal(line + n - 4, "\\\"\"}");
    }
    assert_int_equal(lines, 3);
    free(text);
    free(path);
}

static void test_levels(void **state) {
    (void)state;
    for (int level = LEVEL_DEBUG; level < LEVEL_COUNT; level++) {
        log_configure(NULL, FORMAT_TEXT, (enum log_level)level);
        for (int asked = LEVEL_DEBUG; asked < LEVEL_COUNT; asked++)
            assert_int_equal(log_wants((enum log_level)asked), asked >= level);
    }
    log_configure(NULL, FORMAT_TEXT, LEVEL_INFO);
}

/* What log_event() writes to stderr while `log_init` has not been called, or not configured. */
static void check_direct(bool init) {
    int ends[2], keep = dup(STDERR_FILENO);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    if (init) log_init(64);
    dup2(ends[1], STDERR_FILENO);
    log_warn("early", "no writer yet", LOG_INT("n", 7));
    if (init) log_fini(PATIENCE_MS);
    dup2(keep, STDERR_FILENO);
    close(keep);
    close(ends[1]);
    char *text = without_times(read_all(ends[0]), false);
    assert_string_equal(text, "warn early: no writer yet n=7\n");
    free(text);
    close(ends[0]);
}

static void test_without_writer(void **state) {
    (void)state;
    check_direct(false);
    check_direct(true);
    check_direct(false);
}

static void test_cannot_open(void **state) {
    (void)state;
    struct error e = {""};
    char *path = path_of("no/such/folder");
    assert_null(log_open(LOG_TO_FILE, path, &e));
    assert_non_null(strstr(e.text, path));
    assert_non_null(strstr(e.text, "No such file"));
    free(path);
}

static void test_one_sink_a_path(void **state) {
    (void)state;
    char *a = path_of("a"), *b = path_of("b");
    log_init(64);
    struct log_sink *sink = open_sink(LOG_TO_FILE, a);
    assert_ptr_equal(sink, open_sink(LOG_TO_FILE, a));
    assert_ptr_not_equal(sink, open_sink(LOG_TO_FILE, b));
    assert_ptr_equal(open_sink(LOG_TO_STDOUT, NULL), open_sink(LOG_TO_STDOUT, NULL));
    assert_ptr_not_equal(open_sink(LOG_TO_STDOUT, NULL), open_sink(LOG_TO_STDERR, NULL));
    put_line(sink, "one\n");
    put_line(open_sink(LOG_TO_FILE, a), "two\n");
    log_fini(PATIENCE_MS);
    char *text = read_file(a);
    assert_string_equal(text, "one\ntwo\n");
    free(text);
    free(a);
    free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_without_writer),
        cmocka_unit_test(test_cannot_open),
        cmocka_unit_test(test_one_sink_a_path),
    };
    return cmocka_run_group_tests_name("log", tests, folder_make, folder_remove);
}
