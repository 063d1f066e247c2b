/* test_socket.c: listening groups, UNIX socket files left and in use, connecting, resets. */
#include "loomgate/net/socket.h"

#include "../../support/addr_make.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PATIENCE_MS = 5000 };

static int get_option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void assert_tuned(int fd) {
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void wait_for(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

static void listen_on(const struct addr *a, bool any_family, unsigned count, int *fds) {
    struct error e = {{0}};
    if (!socket_listen(a, any_family, 64, count, fds, &e)) fail_msg("%s", e.text);
}

static int connect_to(const struct addr *a) {
    bool done = false;
    int fd = socket_connect(a, &done);
    assert_true(fd >= 0);
    assert_tuned(fd);
    if (!done) wait_for(fd, POLLOUT);
    assert_int_equal(socket_error(fd), 0);
    return fd;
}

static unsigned open_descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_reuseport_group(void **state) {
    (void)state;
    struct addr a = addr_make_ip("127.0.0.1", 0), chosen, local;
    int fds[4];
    struct pollfd ready[4];
    listen_on(&a, false, 4, fds);
    assert_true(socket_local_addr(fds[0], &chosen));
    assert_true(addr_port(&chosen) != 0);
    for (int i = 0; i < 4; i++) {
        assert_tuned(fds[i]);
        assert_int_equal(get_option(fds[i], SOL_SOCKET, SO_REUSEPORT), 1);
        assert_true(socket_local_addr(fds[i], &local));
        assert_true(addr_eq(&local, &chosen));
        ready[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    /* The kernel spreads connections: with 64 of them, more than one socket of four sees some. */
    int clients[64];
    unsigned sockets_used = 0;
    for (size_t i = 0; i < LG_COUNT(clients); i++) clients[i] = connect_to(&chosen);
    assert_true(poll(ready, 4, PATIENCE_MS) > 0);
    for (int i = 0; i < 4; i++) sockets_used += (ready[i].revents & POLLIN) != 0;
    assert_true(sockets_used > 1);
    for (size_t i = 0; i < LG_COUNT(clients); i++) close(clients[i]);
    for (int i = 0; i < 4; i++) close(fds[i]);
}

static void test_address_in_use(void **state) {
    (void)state;
    struct addr a = addr_make_ip("127.0.0.1", 0), chosen;
    int fd, again[3];
    struct error e = {{0}};
    listen_on(&a, false, 1, &fd);
    assert_true(socket_local_addr(fd, &chosen));
    unsigned before = open_descriptors();
    assert_false(socket_listen(&chosen, false, 64, 3, again, &e));
    char text[ADDR_TEXT_MAX];
    addr_print(&chosen, text);
    assert_non_null(strstr(e.text, text));
    assert_non_null(strstr(e.text, "in use"));
    assert_int_equal(open_descriptors(), before);
    close(fd);
    /* Free again, also when connections of before linger. */
    listen_on(&chosen, false, 1, &fd);
    int client = connect_to(&chosen);
    struct addr peer;
    wait_for(fd, POLLIN);
    int accepted = socket_accept(fd, &peer);
    close(accepted);
    close(fd);
    listen_on(&chosen, false, 2, again);
    close(client);
    close(again[0]);
    close(again[1]);
}

static void test_foreign_address(void **state) {
    (void)state;
    struct addr a = addr_make_ip("192.0.2.1", 0);
    int fds[2];
    struct error e = {{0}};
    unsigned before = open_descriptors();
    assert_false(socket_listen(&a, false, 64, 2, fds, &e));
    assert_int_equal(open_descriptors(), before);
}

static void test_any_takes_both_families(void **state) {
    (void)state;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    if (probe < 0) skip();
    close(probe);
    struct addr any = addr_make_ip("::", 0), chosen, peer;
    int fd;
    listen_on(&any, true, 1, &fd);
    assert_true(socket_local_addr(fd, &chosen));
    struct addr to4 = addr_make_ip("127.0.0.1", addr_port(&chosen)), to6 = addr_make_ip("::1", addr_port(&chosen));
    char text[ADDR_TEXT_MAX];
    int c4 = connect_to(&to4);
    wait_for(fd, POLLIN);
    int a4 = socket_accept(fd, &peer);
    addr_print_ip(&peer, text);
    assert_string_equal(text, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    int c6 = connect_to(&to6);
    wait_for(fd, POLLIN);
    int a6 = socket_accept(fd, &peer);
    addr_print_ip(&peer, text);
    assert_string_equal(text, "::1");
    const int all[] = {c4, a4, c6, a6, fd};
    for (size_t i = 0; i < LG_COUNT(all); i++) close(all[i]);
    /* "[::]" as an address of its own leaves IPv4 to others. */
    listen_on(&any, false, 1, &fd);
    assert_int_equal(get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    close(fd);
}

static void test_accept(void **state) {
    (void)state;
    struct addr a = addr_make_ip("127.0.0.1", 0), chosen, peer, own;
    int fd;
    listen_on(&a, false, 1, &fd);
    assert_true(socket_local_addr(fd, &chosen));
    assert_int_equal(socket_accept(fd, &peer), -1);
    assert_int_equal(errno, EAGAIN);
    int client = connect_to(&chosen);
    assert_int_equal(get_option(client, IPPROTO_TCP, TCP_NODELAY), 1);
    wait_for(fd, POLLIN);
    int accepted = socket_accept(fd, &peer);
    assert_true(accepted >= 0);
    assert_tuned(accepted);
    assert_int_equal(get_option(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_true(socket_local_addr(client, &own));
    assert_true(addr_eq(&own, &peer));
    close(accepted);
    close(client);
    close(fd);
    assert_false(socket_local_addr(fd, &own));
}

static void test_refused(void **state) {
    (void)state;
    struct addr a = addr_make_ip("127.0.0.1", 0), chosen;
    int fd;
    bool done = true;
    listen_on(&a, false, 1, &fd);
    assert_true(socket_local_addr(fd, &chosen));
    close(fd);
    fd = socket_connect(&chosen, &done);
    if (fd < 0) {
        assert_int_equal(errno, ECONNREFUSED);
        return;
    }
    assert_false(done);
    wait_for(fd, POLLOUT);
    assert_int_equal(socket_error(fd), ECONNREFUSED);
    close(fd);
}

static void test_reset(void **state) {
    (void)state;
    struct addr a = addr_make_ip("127.0.0.1", 0), chosen, peer;
    int fd;
    char byte;
    listen_on(&a, false, 1, &fd);
    assert_true(socket_local_addr(fd, &chosen));
    int client = connect_to(&chosen);
    wait_for(fd, POLLIN);
    int accepted = socket_accept(fd, &peer);
    socket_set_reset(accepted);
    close(accepted);
    wait_for(client, POLLIN);
    assert_int_equal(read(client, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(client);
    close(fd);
}

/* --- UNIX sockets, in a folder of their own --------------------------------------------------------------------- */

static char folder[64], path[96];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/lg-socket-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/s", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void test_unix_group(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path), peer, local;
    int fds[3];
    listen_on(&a, false, 3, fds);
    int client = connect_to(&a);
    for (int i = 0; i < 3; i++) {
        assert_tuned(fds[i]);
        wait_for(fds[i], POLLIN); /* one queue behind all of them */
        assert_true(socket_local_addr(fds[i], &local));
        assert_true(addr_eq(&local, &a));
    }
    close(fds[0]);
    close(fds[1]);
    int accepted = socket_accept(fds[2], &peer);
    assert_true(accepted >= 0);
    assert_true(addr_is_unix(&peer));
    char text[ADDR_TEXT_MAX];
    addr_print(&peer, text);
    assert_string_equal(text, "unix:");
    close(accepted);
    close(client);
    close(fds[2]);
}

static void test_unix_stale_and_live(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path);
    int first, second;
    struct error e = {{0}};
    listen_on(&a, false, 1, &first);
    assert_false(socket_listen(&a, false, 64, 1, &second, &e));
    assert_non_null(strstr(e.text, "in use"));
    assert_int_equal(access(path, F_OK), 0); /* the live one keeps its file */
    close(connect_to(&a));
    close(first);
    assert_int_equal(access(path, F_OK), 0);
    bool done;
    assert_int_equal(socket_connect(&a, &done), -1);
    assert_int_equal(errno, ECONNREFUSED);
    listen_on(&a, false, 1, &second);
    close(connect_to(&a));
    close(second);
}

static void test_unix_live_with_a_full_queue(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path);
    int first, second, clients[8];
    size_t n = 0;
    bool done;
    struct error e = {{0}};
    if (!socket_listen(&a, false, 1, 1, &first, &e)) fail_msg("%s", e.text);
    while (n < LG_COUNT(clients) && (clients[n] = socket_connect(&a, &done)) >= 0) n++;
    assert_true(n < LG_COUNT(clients));
    assert_int_equal(errno, EAGAIN);
    assert_false(socket_listen(&a, false, 64, 1, &second, &e));
    assert_int_equal(access(path, F_OK), 0);
    while (n > 0) close(clients[--n]);
    close(first);
}

static void test_unix_spares_other_files(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path);
    struct stat st;
    struct error e = {{0}};
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), fds[2];
    assert_true(fd >= 0);
    close(fd);
    assert_false(socket_listen(&a, false, 64, 2, fds, &e));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    struct addr nowhere = addr_make_unix("/nonexistent/folder/s");
    assert_false(socket_listen(&nowhere, false, 64, 2, fds, &e));
    bool done;
    assert_int_equal(socket_connect(&nowhere, &done), -1);
    assert_int_equal(errno, ENOENT);
}

static void assert_file(const char *at, mode_t mode, uid_t uid, gid_t gid) {
    struct stat st;
    assert_int_equal(lstat(at, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, mode);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

static void test_unix_rights(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path);
    struct error e = {{0}};
    struct socket_rights rights = {.mode = 0640, .uid = (uid_t)-1, .gid = (gid_t)-1};
    int fd = socket_listen_unix(&a, 64, &rights, &e);
    assert_true(fd >= 0);
    assert_file(path, 0640, geteuid(), getegid());
    assert_int_equal(socket_listen_unix(&a, 64, &rights, &e), -1); /* it lives */
    close(connect_to(&a));
    close(fd);
    if (geteuid() == 0) rights = (struct socket_rights){.mode = 0666, .uid = 12345, .gid = 54321};
    fd = socket_listen_unix(&a, 64, &rights, &e); /* it was stale */
    assert_true(fd >= 0);
    if (geteuid() == 0) assert_file(path, 0666, 12345, 54321);
    close(fd);
}

static void test_unix_rights_that_cannot_be_given(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path);
    struct error e = {{0}};
    struct socket_rights rights = {.mode = 0600, .uid = 12345, .gid = (gid_t)-1};
    if (geteuid() == 0) skip();
    assert_int_equal(socket_listen_unix(&a, 64, &rights, &e), -1);
    assert_non_null(strstr(e.text, "not permitted"));
    assert_int_equal(access(path, F_OK), -1);
}

static void test_unix_peer(void **state) {
    (void)state;
    struct addr a = addr_make_unix(path), from;
    struct socket_peer peer;
    int fd;
    listen_on(&a, false, 1, &fd);
    int client = connect_to(&a), accepted = socket_accept(fd, &from);
    assert_true(socket_get_peer(accepted, &peer));
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, geteuid());
    assert_int_equal(peer.gid, getegid());
    close(accepted);
    close(client);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuseport_group),
        cmocka_unit_test(test_address_in_use),
        cmocka_unit_test(test_foreign_address),
        cmocka_unit_test(test_any_takes_both_families),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_reset),
        cmocka_unit_test_setup_teardown(test_unix_group, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_stale_and_live, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_live_with_a_full_queue, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_spares_other_files, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_rights, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_rights_that_cannot_be_given, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unix_peer, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
