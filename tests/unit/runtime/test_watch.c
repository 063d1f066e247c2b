/* test_watch.c: what happens to the files of a configuration is told, once, when it changes what would be read. */
#include "loomgate/runtime/watch.h"

#include "../../support/loop_run.h"

#include "loomgate/config/config.h"
#include "loomgate/config/diagnose.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD "version: 1\nfrontends: {f: {bind: [':80'], routes: []}}\n"

enum { QUIET_US = 20000, FOR_EVER_US = 3600000000U };

static char folder[32];
static struct loop loop;
static struct watch watch;
static unsigned changes;

static void on_change(void *owner) {
    assert_ptr_equal(owner, &changes);
    changes++;
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lg-watch-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_return_code(chdir(folder), errno);
    loop_init(&loop);
    watch_init(&watch, on_change, &changes);
    assert_int_equal(watch.quiet_us, WATCH_QUIET_US);
    watch.quiet_us = QUIET_US;
    changes = 0;
    return 0;
}

static int tear_down(void **state) {
    char command[64];
    (void)state;
    watch_stop(&watch);
    loop_finish(&loop);
    assert_return_code(chdir("/"), errno);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void make_dir(const char *path) {
    assert_return_code(mkdir(path, 0700), errno);
}

static void move(const char *from, const char *to) {
    assert_return_code(rename(from, to), errno);
}

static void link_to(const char *target, const char *path) {
    assert_return_code(symlink(target, path), errno);
}

/* Watches what the configuration is read from. */
static void start(const char *path) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *c = config_load(path, NULL, 0, &d);
    watch_start(&watch, &loop, c ? &c->files : &d.files);
    config_free(c);
    diagnostics_fini(&d);
}

static void assert_told(void) {
    unsigned before = changes;
    LOOP_UNTIL(&loop, changes != before);
    assert_int_equal(changes, before + 1);
}

/* Something has happened, it was looked at, and it was no change. */
static void assert_not_told(void) {
    unsigned before = changes;
    LOOP_UNTIL(&loop, deadline_is_set(&watch.quiet));
    LOOP_UNTIL(&loop, !deadline_is_set(&watch.quiet));
    assert_int_equal(changes, before);
}

/* Nothing has happened that matters. */
static void assert_unmoved(void) {
    loop_settle(&loop);
    assert_false(deadline_is_set(&watch.quiet));
}

/* --- one file --------------------------------------------------------------------------------------------------- */

static void file_written_in_place(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    assert_unmoved();
    for (unsigned i = 0; i < 20; i++) write_file("a.yaml", i % 2 ? HEAD "#1\n" : HEAD "#2\n");
    assert_told();
    write_file("a.yaml", HEAD);
    assert_told();
    assert_unmoved();
}

static void same_content_is_no_change(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    write_file("a.yaml", HEAD);
    assert_not_told();
    assert_return_code(chmod("a.yaml", 0640), errno);
    assert_not_told();
    write_file("a.yaml.new", HEAD);
    move("a.yaml.new", "a.yaml");
    assert_not_told();
    write_file("a.yaml", HEAD "#\n"); /* the new file is the one that is watched now */
    assert_told();
}

static void other_files_do_not_matter(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    write_file("b.yaml", HEAD);
    move("b.yaml", "c.yaml");
    unlink("c.yaml");
    make_dir("d");
    assert_unmoved();
}

static void file_replaced_by_renaming(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    for (unsigned i = 0; i < 3; i++) {
        write_file("a.yaml.new", i % 2 ? HEAD : HEAD "#\n");
        move("a.yaml.new", "a.yaml");
        assert_told();
    }
}

static void file_removed_and_made_again(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    unlink("a.yaml");
    write_file("a.yaml", HEAD);
    assert_not_told();
    unlink("a.yaml");
    assert_told();
    write_file("a.yaml", HEAD "#\n");
    assert_told();
    move("a.yaml", "b.yaml"); /* an editor's backup */
    write_file("a.yaml", HEAD);
    assert_told();
}

/* Seen by another path only: the directory says nothing. */
static void file_written_by_its_other_name(void **state) {
    (void)state;
    make_dir("d");
    write_file("a.yaml", HEAD);
    assert_return_code(link("a.yaml", "d/b.yaml"), errno);
    start("a.yaml");
    write_file("d/b.yaml", HEAD "#\n");
    assert_told();
}

static void changed_before_the_watch_began(void **state) {
    struct diagnostics d;
    (void)state;
    write_file("a.yaml", HEAD);
    diagnostics_init(&d);
    struct config *c = config_load("a.yaml", NULL, 0, &d);
    write_file("a.yaml", HEAD "#\n");
    watch_start(&watch, &loop, &c->files);
    assert_int_equal(changes, 0);
    assert_told();
    config_free(c);
    diagnostics_fini(&d);
}

/* --- when ------------------------------------------------------------------------------------------------------- */

static void no_quiet_moment_ends_the_wait(void **state) {
    (void)state;
    watch.quiet_us = FOR_EVER_US;
    watch.latest_us = QUIET_US;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    write_file("a.yaml", HEAD "#\n");
    assert_told();
    assert_false(deadline_is_set(&watch.latest));
}

static void restart(void *owner) {
    (void)owner;
    changes++;
    start("a.yaml");
}

static void stop(void *owner) {
    (void)owner;
    changes++;
    watch_stop(&watch);
}

/* As a reload does; also one that fails: its files are watched until they are good again. */
static void started_anew_by_the_callback(void **state) {
    (void)state;
    watch.on_change = restart;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    write_file("a.yaml", HEAD "include: b.yaml\n");
    write_file("b.yaml", "{");
    assert_told();
    assert_unmoved();
    write_file("b.yaml", "{}");
    assert_told();
    assert_int_equal(watch.files.paths.count, 2);
    watch_start(&watch, &loop, &watch.files); /* its own */
    assert_int_equal(watch.files.paths.count, 2);
    assert_unmoved();
}

static void stopped_by_the_callback(void **state) {
    (void)state;
    watch.on_change = stop;
    write_file("a.yaml", HEAD);
    start("a.yaml");
    write_file("a.yaml", HEAD "#\n");
    assert_told();
    assert_null(watch.loop);
    write_file("a.yaml", HEAD);
    loop_settle(&loop);
    assert_int_equal(changes, 1);
    watch_stop(&watch);
}

/* --- what is included ------------------------------------------------------------------------------------------- */

static void included_files_come_and_go(void **state) {
    (void)state;
    write_file("a.yaml", HEAD "include: [conf.d/*.yaml]\n");
    start("a.yaml");
    make_dir("conf.d");
    assert_not_told();
    write_file("conf.d/b.yaml", "{}");
    assert_told();
    start("a.yaml");
    write_file("conf.d/b.yaml", "backends:\n");
    assert_told();
    write_file("conf.d/ignored", "");
    assert_unmoved();
    write_file("conf.d/c.yaml", "{}");
    assert_told();
    unlink("conf.d/c.yaml");
    assert_told();
    unlink("conf.d/b.yaml");
    assert_told();
}

static void directory_is_replaced(void **state) {
    (void)state;
    make_dir("conf.d");
    write_file("conf.d/b.yaml", "{}");
    write_file("a.yaml", HEAD "include: [conf.d/*.yaml]\n");
    start("a.yaml");
    make_dir("new");
    write_file("new/b.yaml", "backends:\n");
    move("conf.d", "old");
    move("new", "conf.d");
    assert_told();
    write_file("conf.d/b.yaml", "{}");
    assert_told();
    write_file("old/b.yaml", "backends:\n");
    assert_unmoved();
}

static void directories_are_patterns_too(void **state) {
    (void)state;
    make_dir("sites");
    write_file("a.yaml", HEAD "include: sites/*/x.yaml\n");
    start("a.yaml");
    make_dir("sites/one");
    assert_not_told();
    write_file("sites/one/x.yaml", "{}");
    assert_told();
    make_dir("two");
    write_file("two/x.yaml", "{}");
    move("two", "sites/two");
    assert_told();
}

/* --- links ------------------------------------------------------------------------------------------------------ */

static void swap_directory(const char *old, const char *new, const char *text, const char *part) {
    char path[64], command[64];
    make_dir(new);
    snprintf(path, sizeof path, "%s/a.yaml", new);
    write_file(path, text);
    snprintf(path, sizeof path, "%s/b.part", new);
    write_file(path, part);
    link_to(new, "..data_tmp");
    move("..data_tmp", "..data");
    snprintf(command, sizeof command, "rm -r '%s'", old);
    assert_int_equal(system(command), 0);
}

/* As a volume of Kubernetes: loomgate.yaml -> ..data/loomgate.yaml, ..data -> a directory; that link is replaced. */
static void linked_directory_is_swapped(void **state) {
    (void)state;
    make_dir("..2026_01");
    write_file("..2026_01/a.yaml", HEAD "include: '*.part'\n");
    write_file("..2026_01/b.part", "{}");
    link_to("..2026_01", "..data");
    link_to("..data/a.yaml", "a.yaml");
    link_to("..data/b.part", "b.part");
    start("./a.yaml");
    assert_unmoved();
    swap_directory("..2026_01", "..2026_02", HEAD "include: '*.part'\n", "backends:\n");
    assert_told();
    swap_directory("..2026_02", "..2026_03", HEAD "include: '*.part'\n", "backends:\n");
    assert_not_told(); /* the same in it */
    swap_directory("..2026_03", "..2026_04", HEAD "include: '*.part'\n#\n", "backends:\n");
    assert_told();
}

static void link_is_turned(void **state) {
    (void)state;
    make_dir("one");
    make_dir("two");
    write_file("one/x.yaml", HEAD);
    write_file("two/x.yaml", HEAD "#\n");
    char target[64];
    snprintf(target, sizeof target, "%s/one/x.yaml", folder); /* not relative */
    link_to(target, "a.yaml");
    start("a.yaml");
    write_file("one/x.yaml", HEAD "#1\n");
    assert_told();
    unlink("a.yaml");
    link_to("two/../two/x.yaml", "a.yaml");
    assert_told();
    write_file("one/x.yaml", HEAD);
    assert_unmoved();
    write_file("two/x.yaml", HEAD);
    assert_told();
    unlink("a.yaml");
    link_to("a.yaml", "a.yaml"); /* for ever */
    assert_told();
    unlink("a.yaml");
    write_file("a.yaml", HEAD);
    assert_told();
}

static void what_is_above_is_replaced(void **state) {
    char path[64];
    (void)state;
    make_dir("up");
    make_dir("up/down");
    write_file("up/down/a.yaml", HEAD);
    snprintf(path, sizeof path, "%s/up//./down/a.yaml", folder);
    start(path);
    move("up", "gone");
    assert_told();
    make_dir("up");
    assert_not_told();
    make_dir("up/down");
    assert_not_told();
    write_file("up/down/a.yaml", HEAD "#\n");
    assert_told();
}

/* --- without inotify -------------------------------------------------------------------------------------------- */

/* From now on a system call fails, as it does when a limit of inotify's is reached. */
static void forbid(unsigned number, unsigned with_errno) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | with_errno),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {LG_COUNT(filter), filter};
    assert_return_code(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), errno);
    assert_return_code(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), errno);
}

/* In a process of its own, which has a loop of its own: the filter cannot be taken back. */
static void polls_when(unsigned number, unsigned with_errno) {
    pid_t child = fork();
    if (child == 0) {
        struct loop own;
        alarm(10);
        loop_init(&own);
        forbid(number, with_errno);
        watch.poll_us = QUIET_US;
        struct diagnostics d;
        diagnostics_init(&d);
        struct config *c = config_load("a.yaml", NULL, 0, &d);
        watch_start(&watch, &own, &c->files);
        bool polls = watch.ways.error == (int)with_errno && deadline_is_set(&watch.poll);
        write_file("a.yaml", HEAD "#\n");
        while (!changes) ev_run(own.ev, EVRUN_ONCE);
        write_file("a.yaml", HEAD);
        while (changes < 2) ev_run(own.ev, EVRUN_ONCE);
        watch_stop(&watch);
        config_free(c);
        diagnostics_fini(&d);
        loop_fini(&own);
        _exit(polls && changes == 2 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void polls_without_inotify(void **state) {
    (void)state;
    write_file("a.yaml", HEAD);
    polls_when(__NR_inotify_init1, EMFILE);
    polls_when(__NR_inotify_add_watch, ENOSPC);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(file_written_in_place),          TEST(same_content_is_no_change),     TEST(other_files_do_not_matter),
        TEST(file_replaced_by_renaming),      TEST(file_removed_and_made_again),   TEST(file_written_by_its_other_name),
        TEST(changed_before_the_watch_began), TEST(no_quiet_moment_ends_the_wait), TEST(started_anew_by_the_callback),
        TEST(stopped_by_the_callback),        TEST(included_files_come_and_go),    TEST(directory_is_replaced),
        TEST(directories_are_patterns_too),   TEST(linked_directory_is_swapped),   TEST(link_is_turned),
        TEST(what_is_above_is_replaced),      TEST(polls_without_inotify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
