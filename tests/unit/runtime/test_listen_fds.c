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
    bool is_lent;
    CHECK(listen_fds_take(&l, &two, false, &is_lent) == second && is_lent);
    CHECK(listen_fds_take(&l, &two, true, &is_lent) == -1 && !is_lent);
    CHECK(listen_fds_take(&l, &at, false, &is_lent) == third && is_lent);
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
    bool is_lent;
    CHECK(listen_fds_take(&l, &one, false, &is_lent) == first);
    /* "*" is [::], for which 0.0.0.0 will do where nothing better is there. */
    struct addr any = {.len = sizeof any.u.in6};
    any.u.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = one.u.in.sin_port};
    CHECK(listen_fds_take(&l, &any, false, &is_lent) == -1);
    CHECK(listen_fds_take(&l, &any, true, &is_lent) == second);
    CHECK(listen_fds_take(&l, &same, true, &is_lent) == -1);
    listen_fds_fini(&l);
}

static void child_shares_a_group(void) {
    struct addr one;
    struct listen_fds l;
    struct listen_group g;
    struct error e;
    int first = listen_tcp(&one, INADDR_LOOPBACK), second = dup(first);
    set_environment(getpid(), "2", "web:web");
    CHECK(listen_fds_init(&l, &e));
    CHECK(listen_fds_take_group(&l, &one, false, "f", 5, &g, &e) && g.count == 5 && g.distinct == 2);
    CHECK(g.is_inherited && g.is_lent && g.fds[0] == first && g.fds[1] == second);
    for (int i = 2; i < 5; i++) {
        struct addr at;
        CHECK(g.fds[i] > second && fcntl(g.fds[i], F_GETFD) == FD_CLOEXEC);
        CHECK(socket_local_addr(g.fds[i], &at) && addr_eq(&at, &one));
    }
    free(g.fds);
    CHECK(listen_fds_take_group(&l, &one, false, "f", 5, &g, &e) && !g.count && !g.fds && !g.is_inherited);
    listen_fds_fini(&l);
}

/* None may be left out: what waits there would be lost. */
static void child_takes_more_than_there_are_workers(void) {
    struct addr one;
    struct listen_fds l;
    struct listen_group g;
    struct error e;
    int first = listen_tcp(&one, INADDR_LOOPBACK);
    for (int i = 0; i < 3; i++) CHECK(dup(first) == first + 1 + i);
    set_environment(getpid(), "4", NULL);
    CHECK(listen_fds_init(&l, &e));
    CHECK(listen_fds_take_group(&l, &one, false, "f", 2, &g, &e) && g.count == 4 && g.distinct == 4);
    for (int i = 0; i < 4; i++) CHECK(g.fds[i] == first + i);
    free(g.fds);
    listen_fds_fini(&l);
}

/* A port of the kernel's choice is found by whose it was; two of them are two. */
static void child_finds_free_ports(void) {
    struct addr at[3], any = {.len = sizeof any.u.in};
    struct listen_fds l;
    struct listen_group g;
    struct error e;
    char names[3][LISTEN_NAME_MAX], all[4 * LISTEN_NAME_MAX];
    for (int i = 0; i < 3; i++) listen_tcp(&at[i], INADDR_LOOPBACK);
    listen_fds_name(names[0], "a", true);
    listen_fds_name(names[1], "b:c", false);
    listen_fds_name(names[2], "b:c", false);
    CHECK(strcmp(names[1], "frontend/b%c") == 0 && strcmp(names[0], "lent-frontend/a") == 0);
    snprintf(all, sizeof all, "%s:%s:%s", names[0], names[1], names[2]);
    set_environment(getpid(), "3", all);
    CHECK(listen_fds_init(&l, &e));
    any.u.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    CHECK(listen_fds_take_group(&l, &any, false, "a", 1, &g, &e) && !g.count); /* not there */
    any.u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(listen_fds_take_group(&l, &any, false, "c", 1, &g, &e) && !g.count);
    for (int i = 1; i < 3; i++) {
        CHECK(listen_fds_take_group(&l, &any, false, "b:c", 1, &g, &e) && g.count == 1 && !g.is_lent);
        CHECK(g.fds[0] == LISTEN_FDS_FIRST + i);
        free(g.fds);
    }
    CHECK(listen_fds_take_group(&l, &any, false, "b:c", 1, &g, &e) && !g.count);
    CHECK(listen_fds_take_group(&l, &any, false, "a", 1, &g, &e) && g.count == 1 && g.is_lent);
    free(g.fds);
    listen_fds_fini(&l);
}

/* Nobody will: the process before made the file, the service manager may want its own again. */
static void child_removes_files(void) {
    char path[] = "/tmp/lg-listen-XXXXXX", file[2][64];
    struct listen_fds l;
    struct error e;
    CHECK(mkdtemp(path));
    for (int i = 0; i < 2; i++) {
        snprintf(file[i], sizeof file[i], "%s/%d", path, i);
        struct addr at = addr_make_unix(file[i]);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK(fd == LISTEN_FDS_FIRST + i && bind(fd, &at.u.sa, at.len) == 0 && listen(fd, 9) == 0);
    }
    set_environment(getpid(), "2", "control/:lent-control/");
    CHECK(listen_fds_init(&l, &e));
    CHECK(!listen_fds_is_lent(&l.v[0]) && listen_fds_is_lent(&l.v[1]));
    listen_fds_end(&l);
    CHECK(access(file[0], F_OK) != 0 && unlink(file[1]) == 0 && rmdir(path) == 0);
}

static void child_cannot_duplicate(void) {
    struct addr one;
    struct listen_fds l;
    struct listen_group g;
    struct error e;
    int first = listen_tcp(&one, INADDR_LOOPBACK);
    struct rlimit limit = {(rlim_t)first + 2, (rlim_t)first + 2};
    set_environment(getpid(), "1", NULL);
    CHECK(listen_fds_init(&l, &e));
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0); /* room for one more */
    CHECK(!listen_fds_take_group(&l, &one, false, "f", 3, &g, &e));
    CHECK(strstr(e.text, "cannot be duplicated: Too many open files"));
    CHECK(fcntl(first, F_GETFD) == -1 && fcntl(first + 1, F_GETFD) == -1);
    listen_fds_fini(&l);
}

static void finds_by_address(void **state) {
    (void)state;
    run_in_child(child_finds_by_address);
    run_in_child(child_takes_a_group);
    run_in_child(child_shares_a_group);
    run_in_child(child_takes_more_than_there_are_workers);
    run_in_child(child_finds_free_ports);
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
    CHECK(listen_fds_take(&l, &one, true, &(bool){false}) == -1);
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

static void forgets_what_nobody_takes(void **state) {
    (void)state;
    run_in_child(child_removes_files);
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
        cmocka_unit_test(forgets_what_nobody_takes),
        cmocka_unit_test(leaves_what_is_not_meant_for_it),
        cmocka_unit_test(refuses_what_is_no_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
