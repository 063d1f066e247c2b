/* test_notify.c: what the service manager is told, and where. */
#include "loomgate/runtime/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char dir[32], path[64];
static int manager; /* its socket */
static struct notify notify;

static void listen_at(const char *name) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    memcpy(a.sun_path, name, strlen(name));
    if (name[0] == '@') a.sun_path[0] = '\0';
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_return_code(bind(manager, (struct sockaddr *)&a, len), errno);
}

static int set_up(void **state) {
    (void)state;
    strcpy(dir, "/tmp/lg-notify-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    setenv("NOTIFY_SOCKET", path, 1);
    listen_at(path);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    notify_close(&notify);
    close(manager);
    unlink(path);
    rmdir(dir);
    unsetenv("NOTIFY_SOCKET");
    return 0;
}

static const char *heard(void) {
    static char text[1024];
    ssize_t n = recv(manager, text, sizeof text - 1, 0); /* what was sent has arrived: no wait */
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void tells_its_states(void **state) {
    (void)state;
    notify_open(&notify);
    assert_true(notify_send(&notify, "A=1\nB=2"));
    assert_string_equal(heard(), "A=1\nB=2");
    assert_true(notify_ready(&notify, "serving"));
    assert_string_equal(heard(), "READY=1\nSTATUS=serving");
    assert_true(notify_stopping(&notify, NULL));
    assert_string_equal(heard(), "STOPPING=1");
    assert_true(notify_main_pid(&notify, 4321));
    assert_string_equal(heard(), "MAINPID=4321");
    assert_string_equal(heard(), "");
}

static uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void tells_when_a_reload_began(void **state) {
    uint64_t at, before = clock_us();
    int end = 0;
    (void)state;
    notify_open(&notify);
    assert_true(notify_reloading(&notify, "x"));
    const char *text = heard();
    assert_int_equal(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%" SCNu64 "\nSTATUS=x%n", &at, &end), 1);
    assert_int_equal(end, strlen(text));
    assert_true(at >= before && at <= clock_us());
}

static void finds_an_abstract_name(void **state) {
    char name[64];
    (void)state;
    close(manager);
    snprintf(name, sizeof name, "@lg-notify-%d", (int)getpid());
    listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_open(&notify);
    assert_true(notify_ready(&notify, NULL));
    assert_string_equal(heard(), "READY=1");
}

static void nobody_wants_to_know(void **state) {
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    notify_open(&notify);
    assert_int_equal(notify.fd, -1);
    assert_true(notify_ready(&notify, NULL));
    setenv("NOTIFY_SOCKET", "", 1);
    notify_open(&notify);
    assert_true(notify_ready(&notify, NULL));
    assert_string_equal(heard(), "");
}

static void a_path_that_is_none(void **state) {
    char longest[200];
    (void)state;
    memset(longest, 'x', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const paths[] = {"relative", "/", "@", longest, "vsock:2:3"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        setenv("NOTIFY_SOCKET", paths[i], 1);
        notify_open(&notify);
        assert_int_equal(notify.fd, -1);
    }
}

/* The socket is found again after its owner has started anew; while there is none, that is told. */
static void receiver_comes_and_goes(void **state) {
    (void)state;
    close(manager);
    unlink(path);
    notify_open(&notify);
    assert_false(notify_ready(&notify, NULL));
    listen_at(path);
    assert_true(notify_ready(&notify, "1"));
    assert_string_equal(heard(), "READY=1\nSTATUS=1");
    close(manager);
    assert_false(notify_ready(&notify, NULL));
    unlink(path);
    listen_at(path);
    assert_true(notify_ready(&notify, "2"));
    assert_string_equal(heard(), "READY=1\nSTATUS=2");
}

/* What a chroot hides is still reached by the connection that was made before. */
static void path_goes_away(void **state) {
    (void)state;
    notify_open(&notify);
    unlink(path);
    assert_true(notify_ready(&notify, NULL));
    assert_string_equal(heard(), "READY=1");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(tells_its_states),     TEST(tells_when_a_reload_began), TEST(finds_an_abstract_name),
        TEST(nobody_wants_to_know), TEST(a_path_that_is_none),       TEST(receiver_comes_and_goes),
        TEST(path_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
