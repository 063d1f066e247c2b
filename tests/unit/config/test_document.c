/* test_document.c: files: what cannot be read, and what `include` merges and refuses. */
#include "config_text.h"

#include "loomgate/base/macros.h"

#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/loomgate-test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) == 0 ? 0 : -1;
}

static const char *path_of(const char *name) {
    static char path[4][200];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, 200, "%s/%s", folder, name);
    return p;
}

static void write_file(const char *name, const char *text) {
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* Loads FOLDER/main.yaml; each `wanted` part, with FOLDER/ for @, must be told. */
static struct config *load(const char *name, const char *wanted) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *c = config_load(path_of(name), NULL, 0, &d);
    char *messages = told(&d);
    char *copy = strdup(wanted), *rest = copy, *part;
    while ((part = strsep(&rest, "|")) != NULL) {
        char full[400] = "";
        for (char *p = part; *p; p++) {
            size_t n = strlen(full);
            snprintf(full + n, sizeof full - n, *p == '@' ? "%s/" : "%.1s", *p == '@' ? folder : p);
        }
        if (!strstr(messages, full)) fail_msg("not told: %s\nbut:\n%s", full, messages);
    }
    if (!wanted[0]) assert_string_equal(messages, "");
    /* Whatever was wrong: who watches the files must not take them for changed ones. */
    assert_true(config_files_hash(&d.files) == d.files.hash);
    free(messages);
    free(copy);
    diagnostics_fini(&d);
    return c;
}

static void test_unreadable(void **state) {
    (void)state;
    assert_null(load("none.yaml", "@none.yaml: error: the file cannot be read: No such file or directory\n"));
    assert_null(load(".", "error: the file cannot be read: it is a directory\n"));
    write_file("empty.yaml", "");
    assert_null(load("empty.yaml", "@empty.yaml:1:1: error: the file is empty\n"));
    write_file("large.yaml", "");
    assert_int_equal(truncate(path_of("large.yaml"), 10 << 20), 0);
    assert_null(load("large.yaml", "@large.yaml: error: the file cannot be read: it has more than 4 MiB\n"));
}

static void test_include(void **state) {
    (void)state;
    assert_int_equal(mkdir(path_of("conf.d"), 0700), 0);
    write_file("conf.d/20.yaml", "backends:\n  b20: {servers: ['a:1']}\n");
    write_file("conf.d/10.yaml", "version: 1\nfrontends: {f10: {bind: [':81'], default_backend: b20}}\nbackends:\n");
    write_file("conf.d/30.yaml", "# nothing but: \n{}\n");
    write_file("conf.d/ignored.txt", "{");
    write_file("main.yaml", "version: 1\ninclude: conf.d/*.yaml\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
                            "backends: {b: {servers: ['a:1']}}\n");
    struct config *c = load("main.yaml", "");
    assert_non_null(c);
    assert_int_equal(c->frontend_count, 2);
    assert_string_equal(c->frontends[1].name, "f10");
    assert_int_equal(c->frontends[1].default_backend, 1);
    assert_string_equal(c->backends[1].name, "b20");
    config_free(c);
    /* A list of patterns, nothing found, and no section of its own. */
    write_file("main.yaml", "version: 1\ninclude: [conf.d/1*.yaml, conf.d/2*.yaml, none/*.yaml]\n");
    c = load("main.yaml", "");
    assert_non_null(c);
    assert_int_equal(c->backend_count, 1);
    config_free(c);
}

static void test_include_refused(void **state) {
    static const char head[] = "version: 1\nfrontends: {f: {bind: [':80'], default_backend: b}}\n"
                               "backends: {b: {servers: ['a:1']}}\n";
    static const struct {
        const char *part, *include, *told;
    } rows[] = {
        {"backends: {b: {servers: ['a:2']}}\n", "p.yaml",
         "@p.yaml:1:12: error: the backend 'b' is defined twice, first at @main.yaml:3:12"},
        {"frontends:\n  f: {}\n", "p.yaml",
         "@p.yaml:2:3: error: the frontend 'f' is defined twice, first at @main.yaml:2:13"},
        {"global: {}\n", "p.yaml",
         "@p.yaml:1:1: error: an included file may have only 'frontends' and 'backends', not 'global'"},
        {"include: other.yaml\n", "p.yaml", "may have only 'frontends' and 'backends', not 'include'"},
        {"frontends: [a]\n", "p.yaml", "@p.yaml:1:12: error: 'frontends' takes a map of names, not a list"},
        {"a: [\n", "p.yaml", "@p.yaml:2:1: error: "},
        {"", "p.yaml", "@p.yaml:1:1: error: the file is empty"},
        {"backends: {c: {servers: [x]}}\n", "p.yaml", "@p.yaml:1:26: error: 'address': the address 'x' has no port"},
        {"{}", "main.yaml", "@main.yaml:4:10: error: '@main.yaml' would be included twice, or is this file itself"},
        {"{}", "[p.yaml, './p.yaml']", "@main.yaml:4:19: error: '@./p.yaml' would be included twice"},
        {"{}", "none.yaml", "@main.yaml:4:10: error: there is no file '@none.yaml'"},
        {"{}", "/", "error: the file cannot be read: it is a directory"},
        {"{}", "{a: b}", "@main.yaml:4:10: error: 'include' takes a path or a list of paths"},
        {"{}", "''", "'include' takes a path"},
        {"{}", "[[a]]", "'include' takes a path"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char main_text[400];
        write_file("p.yaml", rows[i].part);
        snprintf(main_text, sizeof main_text, "%sinclude: %s\n", head, rows[i].include);
        write_file("main.yaml", main_text);
        assert_null(load("main.yaml", rows[i].told));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_include),
        cmocka_unit_test(test_include_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
