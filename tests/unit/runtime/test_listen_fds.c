/* test_listen_fds.c: inherited sockets: which are taken over, refused, found by address, closed. Each case in a process
 * of its own, as the descriptors have fixed numbers. */
#include "loomgate/runtime/listen_fds.h"

#include "../../support/addr_make.h"

#include "loomgate/net/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child, which is as good as its last check: the line of the first that fails is its exit status. */
#define CHECK(condition)                             \
    do {                                             \
        if (!(condition)) _exit(__LINE__ % 251 + 1); \
    } while (0)

static void run_in_child(void (*run)(void)) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        for (int fd = LISTEN_FDS_FIRST; fd < 64; fd++) close(fd);
        run();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status)) fail_msg("the check at line %d (modulo 251) failed", WEXITSTATUS(status) - 1);
}

static void set_environment(pid_t pid, const char *count, const char *names) {
    char text[20];
    snprintf(text, sizeof text, "%d", (int)pid);
    setenv("LISTEN_PID", text, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names) setenv("LISTEN_FDNAMES", names, 1);
}

/* The next free descriptor: a socket that listens at a free port of 127.0.0.1, or at 0.0.0.0. */
static int listen_tcp(struct addr *at, uint32_t ip) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at->u.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(ip)};
    at->len = sizeof at->u.in;
    CHECK(bind(fd, &at->u.sa, at->len) == 0 && listen(fd, 9) == 0);
    CHECK(getsockname(fd, &at->u.sa, &at->len) == 0);
    return fd;
}

static void check_forgotten(void) {
    CHECK(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
}

/* --- taken over ------------------------------------------------------------------------------------------------- */

static void child_finds_by_address(void) {
    struct addr one, two, at;
    struct listen_fds l;
    struct error e;
    int value;
    socklen_t len = sizeof value;
    char path[] = "/tmp/lg-listen-XXXXXX";
    CHECK(mkdtemp(path));
    char file[64];
    snprintf(file, sizeof file, "%s/s", path);
    int first = listen_tcp(&one, INADDR_LOOPBACK), second = listen_tcp(&two, INADDR_LOOPBACK);
    at = addr_make_unix(file);
    int third = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(first == LISTEN_FDS_FIRST && second == first + 1 && third == second + 1);
    CHECK(bind(third, &at.u.sa, at.len) == 0 && listen(third, 9) == 0);
    unlink(file);
    rmdir(path);
    set_environment(getpid(), "3", "web::control");
    CHECK(listen_fds_init(&l, &e));
    check_forgotten();
    CHECK(l.count == 3 && strcmp(l.v[0].name, "web") == 0 && strcmp(l.v[1].name, "") == 0);
    CHECK(strcmp(l.v[2].name, "control") == 0);
    for (int fd = first; fd <= third; fd++) CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) & O_NONBLOCK);
    CHECK(getsockopt(first, IPPROTO_TCP, TCP_NODELAY, &value, &len) == 0 && value);
    CHECK(listen_fds_take(&l, &two, false) == second && listen_fds_take(&l, &two, true) == -1);
    CHECK(listen_fds_take(&l, &at, false) == third);
    /* Nobody wants the first one: it is closed, the others are not. */
    listen_fds_fini(&l);
    CHECK(fcntl(first, F_GETFD) == -1 && fcntl(second, F_GETFD) >= 0 && fcntl(third, F_GETFD) >= 0);
}

static void child_takes_a_group(void) {
    struct addr one, same;
    struct listen_fds l;
    struct error e;
    int first = listen_tcp(&one, INADDR_ANY), second = dup(first);
    set_environment(getpid(), "2", NULL);
    CHECK(listen_fds_init(&l, &e));
    CHECK(strcmp(l.v[0].name, "") == 0);
    same = one;
    CHECK(listen_fds_take(&l, &one, false) == first);
    /* "*" is [::], for which 0.0.0.0 will do where nothing better is there. */
    struct addr any = {.len = sizeof any.u.in6};
    any.u.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = one.u.in.sin_port};
    CHECK(listen_fds_take(&l, &any, false) == -1);
    CHECK(listen_fds_take(&l, &any, true) == second);
    CHECK(listen_fds_take(&l, &same, true) == -1);
    listen_fds_fini(&l);
}

static void child_shares_a_group(void) {
    struct addr one;
    struct listen_fds l;
    struct error e;
    int first = listen_tcp(&one, INADDR_LOOPBACK), second = dup(first), fds[5];
    bool found = false;
    set_environment(getpid(), "2", NULL);
    CHECK(listen_fds_init(&l, &e));
    CHECK(listen_fds_take_group(&l, &one, false, 5, fds, &found, &e) && found);
    CHECK(fds[0] == first && fds[1] == second);
    for (int i = 2; i < 5; i++) {
        struct addr at;
        CHECK(fds[i] > second && fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
        CHECK(socket_local_addr(fds[i], &at) && addr_eq(&at, &one));
    }
    CHECK(listen_fds_take_group(&l, &one, false, 5, fds, &found, &e) && !found);
    listen_fds_fini(&l);
}

static void child_cannot_duplicate(void) {
    struct addr one;
    struct listen_fds l;
    struct error e;
    int first = listen_tcp(&one, INADDR_LOOPBACK), fds[3];
    bool found;
    struct rlimit limit = {(rlim_t)first + 2, (rlim_t)first + 2};
    set_environment(getpid(), "1", NULL);
    CHECK(listen_fds_init(&l, &e));
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0); /* room for one more */
    CHECK(!listen_fds_take_group(&l, &one, false, 3, fds, &found, &e));
    CHECK(strstr(e.text, "cannot be duplicated: Too many open files"));
    CHECK(fcntl(first, F_GETFD) == -1 && fcntl(first + 1, F_GETFD) == -1);
    listen_fds_fini(&l);
}

static void finds_by_address(void **state) {
    (void)state;
    run_in_child(child_finds_by_address);
    run_in_child(child_takes_a_group);
    run_in_child(child_shares_a_group);
    run_in_child(child_cannot_duplicate);
}

/* --- not ours, or not good -------------------------------------------------------------------------------------- */

static void child_has_none(void) {
    struct listen_fds l;
    struct error e;
    struct addr one;
    int fd = listen_tcp(&one, INADDR_LOOPBACK);
    CHECK(listen_fds_init(&l, &e) && l.count == 0);
    set_environment(getppid(), "1", "x"); /* meant for somebody else: not touched */
    CHECK(listen_fds_init(&l, &e) && l.count == 0);
    check_forgotten();
    CHECK(fcntl(fd, F_GETFD) == 0);
    CHECK(listen_fds_take(&l, &one, true) == -1);
    set_environment(getpid(), "0", NULL);
    CHECK(listen_fds_init(&l, &e) && l.count == 0);
    setenv("LISTEN_FDS", "1", 1); /* nobody says for whom */
    CHECK(listen_fds_init(&l, &e) && l.count == 0);
    check_forgotten();
    listen_fds_fini(&l);
}

static void check_refused(const char *count, const char *told) {
    struct listen_fds l;
    struct error e;
    set_environment(getpid(), count, NULL);
    CHECK(!listen_fds_init(&l, &e));
    CHECK(strstr(e.text, told));
    CHECK(l.count == 0 && !l.v);
    check_forgotten();
}

static void child_refuses(void) {
    struct addr one;
    listen_tcp(&one, INADDR_LOOPBACK);
    check_refused("2", "the inherited descriptor 4 cannot be used: Bad file descriptor");
    int ends[2];
    CHECK(pipe(ends) == 0);
    check_refused("2", "descriptor 4 cannot be used: Socket operation on non-socket");
    close(ends[0]);
    close(ends[1]);
    CHECK(socket(AF_INET, SOCK_STREAM, 0) == 4);
    check_refused("2", "descriptor 4 cannot be used: it does not listen");
    close(4);
    CHECK(socket(AF_INET, SOCK_DGRAM, 0) == 4);
    check_refused("2", "descriptor 4 cannot be used: it is not a stream socket");
    check_refused("two", "LISTEN_FDS is not a number");
    check_refused("1000000", "LISTEN_FDS is not a number up to 65536");
    struct listen_fds l;
    struct error e;
    setenv("LISTEN_PID", "me", 1);
    setenv("LISTEN_FDS", "1", 1);
    CHECK(!listen_fds_init(&l, &e) && strstr(e.text, "LISTEN_PID is not a number: 'me'"));
    check_forgotten();
}

static void leaves_what_is_not_meant_for_it(void **state) {
    (void)state;
    run_in_child(child_has_none);
}

static void refuses_what_is_no_listener(void **state) {
    (void)state;
    run_in_child(child_refuses);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_address),
        cmocka_unit_test(leaves_what_is_not_meant_for_it),
        cmocka_unit_test(refuses_what_is_no_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
