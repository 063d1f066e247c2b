/* test_config_files.c: which files a configuration was read from, and whether they have changed since. */
#include "config_text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "version: 1\nfrontends: {f: {bind: [':80'], routes: []}}\n"

static char folder[32];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lg-files-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void assert_paths(const struct path_list *list, const char *wanted) {
    char have[400] = "";
    for (uint32_t i = 0; i < list->count; i++) {
        strcat(have, i ? " " : "");
        strcat(have, list->v[i]);
    }
    assert_string_equal(have, wanted);
}

static void lists_what_was_read(void **state) {
    struct diagnostics d;
    struct arena a;
    struct config_files copy;
    (void)state;
    diagnostics_init(&d);
    assert_int_equal(mkdir("conf.d", 0700), 0);
    write_file("main.yaml", HEAD "include: [conf.d/*.yaml, ./one.yaml, none.d/*]\n");
    write_file("conf.d/b.yaml", "backends: {b: {servers: ['a:1']}}\n");
    write_file("conf.d/a.yaml", "backends: {a: {servers: ['a:1']}}\n");
    write_file("one.yaml", "{}");
    struct config *c = config_load("./main.yaml", NULL, 0, &d);
    assert_non_null(c);
    assert_paths(&c->files.paths, "./main.yaml ./conf.d/a.yaml ./conf.d/b.yaml ././one.yaml");
    assert_paths(&c->files.patterns, "./conf.d/*.yaml ././one.yaml ./none.d/*");
    arena_init(&a, NULL, 0);
    config_files_copy(&copy, &c->files, &a);
    config_free(c);
    assert_paths(&copy.paths, "./main.yaml ./conf.d/a.yaml ./conf.d/b.yaml ././one.yaml");
    assert_true(copy.hash == config_files_hash(&copy));
    /* Also when it fails, and anew in each run. */
    write_file("conf.d/c.yaml", "{");
    assert_null(config_load("./main.yaml", NULL, 0, &d));
    assert_paths(&d.files.paths, "./main.yaml ./conf.d/a.yaml ./conf.d/b.yaml ./conf.d/c.yaml ././one.yaml");
    unlink("conf.d/c.yaml");
    assert_null(config_load("./none.yaml", NULL, 0, &d));
    assert_paths(&d.files.paths, "./none.yaml");
    assert_true(d.files.hash == config_files_hash(&d.files));
    arena_fini(&a);
    diagnostics_fini(&d);
    c = load_good(HEAD);
    assert_int_equal(c->files.paths.count, 0);
    assert_true(c->files.hash == config_files_hash(&c->files));
    config_free(c);
}

/* Each of these makes another hash, the opposite the first one again. */
static void tells_what_has_changed(void **state) {
    struct diagnostics d;
    (void)state;
    diagnostics_init(&d);
    write_file("main.yaml", HEAD "include: conf.d/*.yaml\n");
    struct config *c = config_load("main.yaml", NULL, 0, &d);
    assert_non_null(c);
    const struct config_files *f = &c->files;
    assert_true(config_files_hash(f) == f->hash);
    write_file("main.yaml", HEAD "include: conf.d/*.yaml\n\n");
    assert_true(config_files_hash(f) != f->hash);
    unlink("main.yaml");
    assert_true(config_files_hash(f) != f->hash);
    write_file("main.yaml", HEAD "include: conf.d/*.yaml\n");
    assert_true(config_files_hash(f) == f->hash);
    write_file("conf.d/c.yaml", "");
    assert_true(config_files_hash(f) != f->hash);
    unlink("conf.d/c.yaml");
    write_file("conf.d/ignored", "x");
    assert_true(config_files_hash(f) == f->hash);
    assert_int_equal(rename("conf.d/a.yaml", "t") | rename("conf.d/b.yaml", "conf.d/a.yaml"), 0);
    assert_int_equal(rename("t", "conf.d/b.yaml"), 0); /* both have changed places */
    assert_true(config_files_hash(f) != f->hash);
    config_free(c);
    diagnostics_fini(&d);
}

/* What is not a file is never opened again: it would wait for who writes. */
static void does_not_wait_for_a_pipe(void **state) {
    struct config_files f;
    struct arena a;
    (void)state;
    arena_init(&a, NULL, 0);
    config_files_init(&f, &a);
    f.paths = (struct path_list){(const char *[]){"pipe"}, 1, 1};
    assert_int_equal(mkfifo("pipe", 0600), 0);
    int fd = open("pipe", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, HEAD, strlen(HEAD)), strlen(HEAD));
    uint64_t hash = config_files_hash(&f);
    assert_true(hash == config_files_hash(&f));
    char first;
    assert_int_equal(read(fd, &first, 1), 1);
    assert_int_equal(first, HEAD[0]);
    close(fd);
    arena_fini(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_what_was_read),
        cmocka_unit_test(tells_what_has_changed),
        cmocka_unit_test(does_not_wait_for_a_pipe),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
