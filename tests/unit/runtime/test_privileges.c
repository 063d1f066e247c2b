/* test_privileges.c: what is given up, and what cannot be. Each drop is tried in a process of its own. */
#include "loomgate/runtime/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct error e;

static void nothing_asked_nothing_done(void **state) {
    (void)state;
    const struct global_settings g = {.workers = 1};
    uid_t uid = geteuid();
    assert_true(privileges_drop(&g, &e));
    assert_int_equal(geteuid(), uid);
}

static void an_unknown_user_is_an_error(void **state) {
    (void)state;
    const struct global_settings g = {.user = "no-such-user-here"};
    assert_false(privileges_drop(&g, &e));
    assert_string_equal(e.text, "global.user: there is no user 'no-such-user-here'");
}

static void an_unknown_group_is_an_error(void **state) {
    (void)state;
    const struct global_settings g = {.group = "no-such-group-here"};
    assert_false(privileges_drop(&g, &e));
    assert_string_equal(e.text, "global.group: there is no group 'no-such-group-here'");
}

static void a_root_that_is_not_there_is_an_error(void **state) {
    (void)state;
    const struct global_settings g = {.chroot = "/nonexistent/root"};
    assert_false(privileges_drop(&g, &e));
    assert_non_null(strstr(e.text, "/nonexistent/root"));
}

/* What `check` returns in a child that has dropped; 99 when it could not drop. */
static int after_drop(const struct global_settings *g, int (*check)(void)) {
    int status;
    pid_t pid = fork();
    if (pid == 0) _exit(privileges_drop(g, &e) ? check() : 99);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int check_nobody(void) {
    const struct passwd *p = getpwnam("nobody");
    gid_t groups[64];
    if (getuid() != p->pw_uid || geteuid() != p->pw_uid) return 1;
    if (getgid() != p->pw_gid || getegid() != p->pw_gid) return 2;
    int n = getgroups(64, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] == 0) return 3; /* root's groups are gone too */
    if (setuid(0) == 0 || seteuid(0) == 0) return 4;
    return 0;
}

static void root_becomes_nobody_for_good(void **state) {
    (void)state;
    if (geteuid() != 0 || !getpwnam("nobody")) skip();
    const struct global_settings g = {.user = "nobody"};
    assert_int_equal(after_drop(&g, check_nobody), 0);
}

static int check_root_directory(void) {
    return chdir("/tmp") != 0 && chdir("/..") == 0 && getuid() != 0 ? 0 : 1;
}

/* The user's name is looked up before its file goes out of sight. */
static void a_changed_root_comes_before_the_user(void **state) {
    (void)state;
    if (geteuid() != 0 || !getpwnam("nobody")) skip();
    const struct global_settings g = {.user = "nobody", .chroot = "/proc/self/fdinfo"};
    assert_int_equal(after_drop(&g, check_root_directory), 0);
}

static int check_group(void) {
    const struct group *found = getgrnam("nogroup");
    return found && getegid() == found->gr_gid && getgroups(0, NULL) == 0 ? 0 : 1;
}

static void a_group_alone(void **state) {
    (void)state;
    if (geteuid() != 0 || !getgrnam("nogroup")) skip();
    const struct global_settings g = {.group = "nogroup"};
    assert_int_equal(after_drop(&g, check_group), 0);
}

static int check_nothing(void) {
    return 0;
}

static void who_is_not_root_cannot_become_root(void **state) {
    (void)state;
    if (geteuid() == 0) skip();
    const struct global_settings g = {.user = "root"};
    assert_int_equal(after_drop(&g, check_nothing), 99);
}

static void descriptors_are_raised_to_the_hard_limit(void **state) {
    (void)state;
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = 64;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_true(privileges_raise_descriptors() == limit.rlim_max);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_true(limit.rlim_cur == limit.rlim_max);
    limit.rlim_cur = soft;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
}

/* As many as the kernel has room for now. */
static unsigned long room_for_descriptors(void) {
    char line[256];
    unsigned long size = 0;
    FILE *status = fopen("/proc/self/status", "r");
    assert_non_null(status);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "FDSize:", 7) == 0) size = strtoul(line + 7, NULL, 10);
    fclose(status);
    return size;
}

static void room_is_made_for_descriptors(void **state) {
    (void)state;
    int lowest = dup(0), after;
    close(lowest);
    assert_true(room_for_descriptors() < 1000);
    privileges_reserve_descriptors(0);
    privileges_reserve_descriptors(1000);
    assert_true(room_for_descriptors() >= 1000);
    assert_return_code(after = dup(0), errno);
    close(after);
    assert_int_equal(after, lowest); /* none is in use */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_nothing_done),
        cmocka_unit_test(an_unknown_user_is_an_error),
        cmocka_unit_test(an_unknown_group_is_an_error),
        cmocka_unit_test(a_root_that_is_not_there_is_an_error),
        cmocka_unit_test(root_becomes_nobody_for_good),
        cmocka_unit_test(a_changed_root_comes_before_the_user),
        cmocka_unit_test(a_group_alone),
        cmocka_unit_test(who_is_not_root_cannot_become_root),
        cmocka_unit_test(descriptors_are_raised_to_the_hard_limit),
        cmocka_unit_test(room_is_made_for_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
