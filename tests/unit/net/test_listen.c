/* test_listen.c: a listening socket on a loop: every connection is told, also after a lack of descriptors. */
#include "loomgate/net/listen.h"

#include "../../support/conn_pair.h"

#include "loomgate/net/socket.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CLIENTS = 40 };

static struct loop loop;
static struct listen_watch watch;
static struct addr at;
static unsigned accepted;
static bool stops;
static struct rlimit limit;

static void on_accept(struct listen_watch *l, int fd, const struct addr *peer) {
    assert_ptr_equal(l, &watch);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(peer->len > 0);
    close(fd);
    accepted++;
    if (stops) listen_stop(l);
}

static int set_up(void **state) {
    (void)state;
    accepted = 0;
    stops = false;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    loop_init(&loop);
    int fd = listener_open(&at);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    listen_start(&watch, &loop, fd, on_accept);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    setrlimit(RLIMIT_NOFILE, &limit);
    loop_finish(&loop);
    return 0;
}

static int connect_client(void) {
    bool done;
    int fd = socket_connect(&at, &done);
    assert_true(fd >= 0);
    return fd;
}

static void all_connections_are_told(void **state) {
    int clients[CLIENTS];
    (void)state;
    for (unsigned i = 0; i < CLIENTS; i++) clients[i] = connect_client();
    LOOP_UNTIL(&loop, accepted == CLIENTS);
    for (unsigned i = 0; i < CLIENTS; i++) close(clients[i]);
    listen_stop(&watch);
}

static void it_may_be_stopped_from_inside(void **state) {
    (void)state;
    int first = connect_client(), second = connect_client();
    stops = true;
    LOOP_UNTIL(&loop, accepted == 1);
    loop_settle(&loop);
    assert_int_equal(accepted, 1);
    close(first);
    close(second);
}

static void a_lack_of_descriptors_passes(void **state) {
    (void)state;
    int client = connect_client();
    int highest = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(highest);
    struct rlimit none = {(rlim_t)highest, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    LOOP_UNTIL(&loop, timer_is_set(&watch.retry));
    assert_int_equal(accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    LOOP_UNTIL(&loop, accepted == 1);
    close(client);
    listen_stop(&watch);
}

/* In the list of an epoll descriptor of this process (proc_pid_fdinfo(5)). */
static bool is_watched(int fd) {
    char path[64], line[256];
    bool found = false;
    for (int epoll = 0; epoll < 256 && !found; epoll++) {
        int target;
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", epoll);
        FILE *info = fopen(path, "re");
        while (info && !found && fgets(line, sizeof line, info))
            found = sscanf(line, "tfd: %d", &target) == 1 && target == fd; /* NOLINT(cert-err34-c) */
        if (info) fclose(info);
    }
    return found;
}

/* Another process has the socket, too: closing it here is not the end of it. */
static void a_socket_that_lives_on_wakes_nobody(void **state) {
    (void)state;
    int fd = watch.io.fd, elsewhere = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    loop_settle(&loop);
    assert_true(is_watched(fd));
    listen_stop(&watch);
    assert_false(is_watched(fd));
    int client = connect_client();
    loop_settle(&loop);
    assert_int_equal(accepted, 0);
    close(client);
    close(elsewhere);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(all_connections_are_told),
        TEST(it_may_be_stopped_from_inside),
        TEST(a_lack_of_descriptors_passes),
        TEST(a_socket_that_lives_on_wakes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
