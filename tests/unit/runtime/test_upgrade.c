/* test_upgrade.c: a process whose heir hangs, or leaves, or says why it does not serve; the heir is this program with
 * another argument. Each in a process of its own (runs under ThreadSanitizer). */
#include "loomgate/runtime/upgrade.h"

#include "loomgate/runtime/heir.h"

#include "process_bed.h"

#include <fcntl.h>

static int set_up(void **state) {
    (void)state;
    process_begin();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    process_end();
    return 0;
}

/* Its heir will be this program with `word`. */
static void spawn(char *word, uint64_t limit_us) {
    char name[] = "heir", *argv[] = {name, word, NULL};
    const struct runtime_source source = {.argv = argv, .upgrade_limit_us = limit_us};
    process_spawn(make_config(), &source, NULL, NULL);
}

static void assert_goes_on(void) {
    int status;
    assert_int_equal(access(socket_path, F_OK), 0);
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, &status, 0), child);
    child = -1;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_not_equal(access(socket_path, F_OK), 0);
}

static void upgrade_in_vain(char *word, uint64_t limit_us, const char *why) {
    spawn(word, limit_us);
    await_event("ready");
    kill(child, SIGUSR2);
    await_event("upgrade_failed");
    if (!strstr(text, why)) fail_msg("no \"%s\" in:\n%s", why, text);
    assert_goes_on();
}

/* --- as an heir ------------------------------------------------------------------------------------------------- */

static int hang(void) {
    while (pause() < 0) continue;
    return 0;
}

static int decline(void) {
    heir_decline("not on a sunday");
    return 1;
}

/* The channel is closed, the process is not over. */
static int fall_silent(void) {
    for (int fd = 3; fd < 64; fd++) close(fd);
    return hang();
}

/* No signal is ignored or blocked; the two descriptors behind the sockets are there, and nothing else. */
static int look_around(void) {
    sigset_t blocked;
    int channel, state;
    const char *numbers = getenv("LOOMGATE_UPGRADE"), *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    if (!numbers || sscanf(numbers, "%d %d", &channel, &state) != 2) return 10; /* NOLINT(cert-err34-c) */
    if (!pid || atoi(pid) != getpid() || !names || strcmp(names, "frontend/web") != 0)
        return 11; /* NOLINT(cert-err34-c) */
    if (channel != 4 || state != 5 || fcntl(channel, F_GETFD) != 0 || fcntl(state, F_GETFD) != 0) return 12;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int i = 1; i < SIGRTMIN; i++) {
        struct sigaction now;
        if (i == 32 || i == 33 || sigaction(i, NULL, &now) != 0) continue;
        if (now.sa_handler == SIG_IGN || sigismember(&blocked, i)) return 20 + i;
    }
    return 42;
}

static const struct {
    const char *word;
    int (*run)(void);
} heirs[] = {{"hang", hang}, {"decline", decline}, {"fall-silent", fall_silent}, {"look-around", look_around}};

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void one_that_hangs_is_ended(void **state) {
    (void)state;
    char word[] = "hang";
    upgrade_in_vain(word, 200000, "the new process did not serve in time, and was ended");
}

static void one_that_falls_silent_is_ended(void **state) {
    (void)state;
    char word[] = "fall-silent";
    upgrade_in_vain(word, 200000, "the new process did not serve in time, and was ended");
}

static void its_own_sentence_is_told(void **state) {
    (void)state;
    char word[] = "decline";
    upgrade_in_vain(word, 0, "not on a sunday");
}

static void it_begins_as_any_process(void **state) {
    (void)state;
    char word[] = "look-around";
    upgrade_in_vain(word, 0, "the new process exited with status 42 before it served");
}

static void it_ends_with_the_one_that_is_stopped(void **state) {
    (void)state;
    char word[] = "hang";
    spawn(word, 0);
    await_event("ready");
    kill(child, SIGUSR2);
    await_event("upgrade_started");
    assert_goes_on();
    char rest;
    ssize_t n;
    while ((n = read(log_fd, &rest, 1)) > 0) continue; /* it has the log, too: this ends when it has */
    assert_int_equal(n, 0);
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < LG_COUNT(heirs); i++)
        if (strcmp(argv[1], heirs[i].word) == 0) return heirs[i].run();
#define UPGRADE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        UPGRADE(one_that_hangs_is_ended),
        UPGRADE(one_that_falls_silent_is_ended),
        UPGRADE(its_own_sentence_is_told),
        UPGRADE(it_begins_as_any_process),
        UPGRADE(it_ends_with_the_one_that_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
