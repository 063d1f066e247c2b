/* test_health.c: active checks: the rules by themselves; then checks of a server that answers well, wrongly, not at
 * all; and servers that come, stay and go. */
#include "loomgate/backend/health.h"

#include "../../support/addr_make.h"
#include "../../support/conn_pair.h"
#include "../../support/random.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FOREVER_US = 3600000000U, SOON_US = 2000 };

static struct loop loop;
static struct metrics metrics;
static struct checks checks;
static struct server server, other;
static struct health_settings settings;
static struct server_settings server_settings;
static struct peer peer;
static int listener;
static unsigned changes;
static uint64_t slow_start_us;

static void on_change(struct checks *c, struct server *s) {
    assert_ptr_equal(c, &checks);
    assert_true(s == &server || s == &other);
    changes++;
}

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    metrics = (struct metrics){0};
    checks_init(&checks, &loop, &metrics);
    checks.on_change = on_change;
    server = (struct server){.backend = "app", .name = "a1"};
    other = (struct server){.backend = "app", .name = "a2"};
    listener = listener_open(&server.addr);
    other.addr = server.addr;
    settings = (struct health_settings){
        .on = true,
        .kind = HEALTH_HTTP,
        .path = "/ping",
        .method = "GET",
        .expect_status = "200-299,304",
        .interval_us = 2 * SOON_US,
        .fast_interval_us = SOON_US,
        .timeout_us = FOREVER_US,
        .rise = 2,
        .fall = 3,
        .jitter = 0.1,
    };
    server_settings = (struct server_settings){.name = "a1", .address = {.text = "10.1.2.3:80", .port = 80}};
    peer = (struct peer){.fd = -1};
    changes = 0;
    slow_start_us = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    checks_fini(&checks);
    peer_close(&peer);
    close(listener);
    loop_finish(&loop);
    return 0;
}

static void put(struct server *s) {
    checks_put(&checks, s, &settings, &server_settings, slow_start_us);
}

/* A round with this one server. */
static void check(struct server *s) {
    checks_begin(&checks);
    put(s);
    checks_end(&checks);
}

static uint64_t count(enum metric m) {
    struct metrics *shard = &metrics;
    return metrics_sum(&shard, 1, m);
}

static bool is_up(const struct server *s) {
    return server_health_get(s) == SERVER_UP;
}

/* The next check's connection, with all of its question. */
static void take_question(void) {
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    peer_expect_part(&peer, &loop, "\r\n\r\n");
}

static void wait_result(uint64_t checks_before) {
    LOOP_UNTIL(&loop, server.health.checks == checks_before + 1);
}

/* Answers the next check and waits for its result. */
static void answer(const char *text) {
    take_question();
    uint64_t before = server.health.checks;
    peer_say(&peer, text);
    wait_result(before);
}

static void expect_result(bool passed, const char *reason) {
    assert_string_equal(server.health.reason, reason);
    assert_int_equal(server.health.last_passed, passed);
    assert_true(server.health.last_us > 0);
}

#define OK   "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nbegin"
#define BUSY "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"

/* --- the rules -------------------------------------------------------------------------------------------------- */

static void states_change_after_enough_in_a_row(void **state) {
    (void)state;
    static const struct {
        const char *results; /* + passed, - failed */
        const char *after;   /* U up, D down */
    } rows[] = {
        {"+++", "UUU"},         {"---", "UUD"},           {"--+--+---", "UUUUUUUUD"},
        {"---+-++", "UUDDDDU"}, {"---++---", "UUDDUUUD"}, {"----------", "UUDDDDDDDD"},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        struct health_state h = {0};
        enum server_health now = SERVER_UP;
        for (size_t k = 0; rows[i].results[k]; k++) {
            if (health_count(&h, now, &settings, rows[i].results[k] == '+'))
                now = now == SERVER_UP ? SERVER_DOWN : SERVER_UP;
            if (rows[i].after[k] != (now == SERVER_UP ? 'U' : 'D')) fail_msg("%s: check %zu", rows[i].results, k);
        }
    }
}

static void delays_are_spread_evenly(void **state) {
    (void)state;
    enum { DRAWS = 100000, PARTS = 20 };
    struct random random = {7};
    const struct health_state h = {0};
    unsigned parts[PARTS] = {0};
    settings.interval_us = 1000000;
    settings.jitter = 0.2;
    for (unsigned i = 0; i < DRAWS; i++) {
        uint64_t delay = health_delay_us(&h, &settings, random_next(&random));
        assert_in_range(delay, 800000, 1199999);
        parts[(delay - 800000) * PARTS / 400000]++;
    }
    /* Five standard deviations: the numbers are the same each time anyway. */
    for (unsigned i = 0; i < PARTS; i++) assert_in_range(parts[i], DRAWS / PARTS - 350, DRAWS / PARTS + 350);
}

static void delays_end_at_the_jitter(void **state) {
    (void)state;
    static const struct {
        double jitter;
        uint64_t least, most;
    } rows[] = {{0, 1000000, 1000000}, {0.1, 900000, 1099999}, {1, 0, 1999999}};
    const struct health_state h = {0};
    settings.interval_us = 1000000;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        settings.jitter = rows[i].jitter;
        assert_int_equal(health_delay_us(&h, &settings, 0), rows[i].least);
        assert_in_range(health_delay_us(&h, &settings, UINT64_MAX), rows[i].most - 1, rows[i].most + 1);
    }
}

static void checks_come_faster_while_the_state_is_changing(void **state) {
    (void)state;
    const struct health_state calm = {0}, changing = {.streak = 1};
    settings.jitter = 0;
    settings.interval_us = 9000;
    settings.fast_interval_us = 500;
    assert_int_equal(health_delay_us(&calm, &settings, 1), 9000);
    assert_int_equal(health_delay_us(&changing, &settings, 1), 500);
    settings.fast_interval_us = 10000; /* never slower than without */
    assert_int_equal(health_delay_us(&changing, &settings, 1), 9000);
    settings.interval_us = settings.fast_interval_us = UINT64_MAX / 2; /* the longest that can be written */
    settings.jitter = 1;
    assert_in_range(health_delay_us(&changing, &settings, UINT64_MAX), 1, UINT64_MAX / 4);
}

/* --- HTTP ------------------------------------------------------------------------------------------------------- */

static void the_request_is_plain(void **state) {
    (void)state;
    settings.host = "example.com";
    settings.method = "HEAD";
    check(&server);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "HEAD /ping HTTP/1.1\r\nHost: example.com\r\nUser-Agent: loomgate-health\r\n\r\n");
    peer_expect_nothing(&peer, &loop);
}

static void without_a_host_it_is_the_address(void **state) {
    (void)state;
    check(&server);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "GET /ping HTTP/1.1\r\nHost: 10.1.2.3:80\r\n");
}

static void over_a_unix_socket_it_is_localhost(void **state) {
    (void)state;
    char dir[] = "/tmp/lg-health-XXXXXX", path[64];
    struct error e;
    int unix_listener;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/app", dir);
    server.addr = addr_make_unix(path);
    assert_true(socket_listen(&server.addr, false, 16, 1, &unix_listener, &e));
    server_settings.address = (struct address_setting){.kind = ADDRESS_UNIX, .text = "unix:app", .host = path};
    check(&server);
    listener_accept(unix_listener, &loop, &peer);
    peer_expect_part(&peer, &loop, "\r\nHost: localhost\r\n");
    peer_say(&peer, OK);
    wait_result(0);
    expect_result(true, "status 200");
    close(unix_listener);
    unlink(path);
    rmdir(dir);
}

static void a_good_answer_is_known_by_its_head(void **state) {
    (void)state;
    check(&server);
    answer(OK);
    expect_result(true, "status 200");
    assert_int_equal(server.health.last_status, 200);
    assert_true(server.health.checked);
    assert_int_equal(count(METRIC_health_checks_total), 1);
    assert_int_equal(count(METRIC_health_checks_failed_total), 0);
    assert_int_equal(server.health.failed, 0);
    /* The rest is not waited for, and nothing is left in TIME_WAIT. */
    LOOP_UNTIL(&loop, (peer_read(&peer), peer.error || peer.eof));
    assert_int_equal(peer.error, ECONNRESET);
}

static void an_answer_may_come_in_pieces(void **state) {
    (void)state;
    check(&server);
    take_question();
    for (const char *at = "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"; *at; at++) {
        assert_int_equal(server.health.checks, 0);
        peer_say_slice(&peer, slice_from(at, 1));
        loop_settle(&loop);
    }
    wait_result(0);
    expect_result(true, "status 204");
}

static void interim_answers_are_passed_over(void **state) {
    (void)state;
    check(&server);
    answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n");
    expect_result(true, "status 304");
}

/* --- connections that are kept ---------------------------------------------------------------------------------- */

#define WHOLE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* Once: the next one sees again whether the server accepts. */
static void every_second_check_uses_a_kept_connection(void **state) {
    (void)state;
    check(&server);
    for (unsigned i = 0; i < 3; i++) {
        answer(WHOLE);
        peer_expect_part(&peer, &loop, "User-Agent: loomgate-health\r\nConnection: close\r\n\r\n");
        peer_say(&peer, WHOLE);
        wait_result(2 * i + 1);
        expect_result(true, "status 200");
    }
}

static void a_kept_connection_may_be_closed(void **state) {
    (void)state;
    check(&server);
    answer(WHOLE);
    peer_close(&peer);
    answer(WHOLE);
    expect_result(true, "status 200");
}

/* The question was on its way. */
static void a_kept_connection_that_closes_as_it_is_used_is_no_failure(void **state) {
    (void)state;
    check(&server);
    answer(WHOLE);
    peer_expect_part(&peer, &loop, "Connection: close\r\n\r\n");
    peer_close(&peer);
    answer(WHOLE);
    expect_result(true, "status 200");
    assert_int_equal(server.health.failed, 0);
}

static void bytes_that_nobody_asked_for_end_it(void **state) {
    (void)state;
    check(&server);
    answer(WHOLE);
    peer_say(&peer, "more");
    answer(WHOLE);
    expect_result(true, "status 200");
}

static void what_failed_is_not_kept(void **state) {
    (void)state;
    check(&server);
    for (unsigned i = 0; i < 3; i++) {
        answer("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        expect_result(false, "status 500");
    }
}

/* --- up and down ------------------------------------------------------------------------------------------------ */

static void it_goes_down_and_comes_back(void **state) {
    (void)state;
    slow_start_us = 60000000;
    check(&server);
    answer(OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(is_up(&server));
        answer(BUSY);
        expect_result(false, "status 503");
    }
    assert_false(is_up(&server));
    assert_int_equal(changes, 1);
    assert_int_equal(server.health.since_us, server.health.last_us);
    assert_int_equal(server.health.streak, 0);
    assert_int_equal(count(METRIC_health_down_total), 1);
    assert_int_equal(server_share(&server, loop.now_us), SHARE_ONE);
    answer(OK);
    answer(BUSY);
    answer(OK);
    assert_false(is_up(&server));
    answer(OK);
    assert_true(is_up(&server));
    assert_int_equal(changes, 2);
    assert_in_range(server_share(&server, loop.now_us), 1, SHARE_ONE / 2); /* of slow_start */
    assert_int_equal(count(METRIC_health_up_total), 1);
    assert_int_equal(count(METRIC_health_down_total), 1);
    assert_int_equal(count(METRIC_health_checks_total), 8);
    assert_int_equal(count(METRIC_health_checks_failed_total), 4);
    assert_int_equal(server.health.checks, 8);
    assert_int_equal(server.health.failed, 4);
}

static void it_comes_back_at_once_without_slow_start(void **state) {
    (void)state;
    settings.starts_down = true;
    check(&server);
    answer(OK);
    answer(OK);
    assert_true(is_up(&server));
    assert_int_equal(server_share(&server, loop.now_us), SHARE_ONE);
}

static void it_may_begin_down(void **state) {
    (void)state;
    settings.starts_down = true;
    check(&server);
    assert_false(is_up(&server));
    answer(BUSY); /* nothing new */
    assert_int_equal(changes, 0);
    answer(OK);
    assert_false(is_up(&server));
    answer(OK);
    assert_true(is_up(&server));
    assert_int_equal(changes, 1);
}

static void answers_that_are_none(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"SSH-2.0-OpenSSH\r\n", "the server's answer is malformed"},
        {"\x16\x03\x01", "the server's answer is malformed"},
        {"HTTP/1.1 999999 OK\r\n\r\n", "the server's answer is malformed"},
        {"HTTP/1.1 200 OK\r\nA\x01: b\r\n\r\n", "the server's answer is malformed"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "the server's answer is malformed"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
         "the server's answer is malformed"},
        {"HTTP/1.1 404 Not Found\r\n\r\n", "status 404"},
    };
    check(&server);
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        answer(rows[i].text);
        expect_result(false, rows[i].reason);
        assert_int_equal(server.health.failed, i + 1);
    }
    assert_int_equal(changes, 1);
}

static void an_answer_that_ends_too_early(void **state) {
    (void)state;
    check(&server);
    take_question();
    peer_shut(&peer);
    wait_result(0);
    expect_result(false, "closed without an answer");
    take_question();
    peer_say(&peer, "HTTP/1.1 200 OK\r\nServer:");
    peer_shut(&peer);
    wait_result(1);
    expect_result(false, "the server's answer ended too early");
    take_question();
    peer_reset(&peer);
    wait_result(2);
    expect_result(false, "Connection reset by peer");
    assert_int_equal(server.health.last_status, 0);
}

static bool push_until_counted(const char *unit, uint64_t before) {
    peer_push(&peer, slice_of(unit));
    return server.health.checks > before;
}

static void an_endless_head_is_cut(void **state) {
    (void)state;
    check(&server);
    take_question();
    peer_say(&peer, "HTTP/1.1 200 OK\r\nX: ");
    LOOP_UNTIL(&loop, push_until_counted("0123456789abcdef", 0));
    expect_result(false, "the head of the server's answer is too large");
    assert_in_range(loop.chunks.bytes, 0, 1048576);
}

static void endless_interim_answers_are_cut(void **state) {
    (void)state;
    check(&server);
    take_question();
    LOOP_UNTIL(&loop, push_until_counted("HTTP/1.1 100 Continue\r\n\r\n", 0));
    expect_result(false, "the head of the server's answer is too large");
}

static void no_answer_in_time(void **state) {
    (void)state;
    settings.timeout_us = 20000;
    check(&server);
    take_question();
    wait_result(0);
    expect_result(false, "no answer within 20 ms");
    assert_in_range(server.health.latency_us, 20000, LOOP_PATIENCE_US);
}

static void a_trickled_head_is_not_waited_for(void **state) {
    (void)state;
    settings.timeout_us = 20000;
    check(&server);
    take_question();
    peer_say(&peer, "HTTP/1.1 200 OK\r\nA: ");
    LOOP_UNTIL(&loop, push_until_counted("b", 0)); /* moving bytes do not renew the time */
    expect_result(false, "no whole answer within 20 ms");
}

/* --- connections that do not come about ------------------------------------------------------------------------- */

static void refused(void **state) {
    (void)state;
    int port = port_refusing(&server.addr);
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        if (tcp) settings.kind = HEALTH_TCP;
        uint64_t before = server.health.checks;
        check(&server);
        LOOP_UNTIL(&loop, server.health.checks > before);
        expect_result(false, "Connection refused");
    }
    close(port);
}

static void a_socket_file_that_is_missing(void **state) {
    (void)state;
    server.addr = addr_make_unix("/nonexistent/socket");
    check(&server);
    LOOP_UNTIL(&loop, server.health.checks == 3);
    expect_result(false, "No such file or directory");
    assert_false(is_up(&server));
    assert_int_equal(changes, 1);
}

/* A queue of no more room: the kernel leaves the connection half made. */
static void no_connection_in_time(void **state) {
    (void)state;
    struct addr at = addr_make_ip("127.0.0.1", 0);
    int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fill[4];
    assert_return_code(bind(full, &at.u.sa, at.len), errno);
    assert_return_code(listen(full, 0), errno);
    socklen_t len = sizeof at.u;
    assert_return_code(getsockname(full, &at.u.sa, &len), errno);
    for (unsigned i = 0; i < LG_COUNT(fill); i++) {
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], &at.u.sa, at.len);
    }
    server.addr = at;
    settings.timeout_us = 10000;
    for (unsigned tcp = 0; tcp < 2; tcp++) {
        if (tcp) settings.kind = HEALTH_TCP;
        uint64_t before = server.health.checks;
        check(&server);
        LOOP_UNTIL(&loop, server.health.checks > before);
        expect_result(false, "no connection within 10 ms");
    }
    for (unsigned i = 0; i < LG_COUNT(fill); i++) close(fill[i]);
    close(full);
}

/* How often a word stands in a file; closes it. */
static unsigned count_in(FILE *f, const char *word) {
    char line[512];
    unsigned found = 0;
    rewind(f);
    while (fgets(line, sizeof line, f)) found += strstr(line, word) != NULL;
    fclose(f);
    return found;
}

/* Not the server's fault: it is as if the check had not been due. */
static void without_descriptors_checks_are_left_out(void **state) {
    (void)state;
    struct rlimit before, none;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    none = before;
    none.rlim_cur = 0;
    FILE *log = tmpfile();
    int kept = dup(2);
    dup2(fileno(log), 2);
    check(&server);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    LOOP_UNTIL(&loop, checks.shortage_us);
    uint64_t first = checks.shortage_us;
    LOOP_UNTIL(&loop, checks.shortage_us > first);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    dup2(kept, 2);
    close(kept);
    assert_int_equal(count_in(log, "checks_skipped"), 1); /* told once */
    assert_int_equal(server.health.checks, 0);
    assert_int_equal(count(METRIC_health_checks_total), 0);
    answer(OK);
    expect_result(true, "status 200");
}

/* --- TCP -------------------------------------------------------------------------------------------------------- */

static void connecting_may_be_enough(void **state) {
    (void)state;
    settings.kind = HEALTH_TCP;
    check(&server);
    LOOP_UNTIL(&loop, server.health.checks == 1);
    expect_result(true, "connected");
}

static void what_is_sent_is_answered(void **state) {
    (void)state;
    settings.kind = HEALTH_TCP;
    settings.send = SLICE("PING\r\n");
    settings.expect = SLICE("+PONG");
    check(&server);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "PING\r\n");
    peer_say(&peer, "+PO");
    loop_settle(&loop);
    assert_int_equal(server.health.checks, 0);
    peer_say(&peer, "NG\r\n");
    wait_result(0);
    expect_result(true, "answer as expected");
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "PING\r\n");
    peer_say(&peer, "-E");
    wait_result(1);
    expect_result(false, "another answer than expected");
}

static void a_greeting_is_awaited(void **state) {
    (void)state;
    settings.kind = HEALTH_TCP;
    settings.expect = SLICE("220 ");
    settings.timeout_us = 200000;
    check(&server);
    listener_accept(listener, &loop, &peer);
    peer_say(&peer, "220 mail\r\n");
    wait_result(0);
    expect_result(true, "answer as expected");
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    wait_result(1);
    expect_result(false, "no answer within 200 ms");
}

static void what_is_sent_may_be_all(void **state) {
    (void)state;
    settings.kind = HEALTH_TCP;
    settings.send = SLICE("QUIT\r\n");
    check(&server);
    listener_accept(listener, &loop, &peer);
    LOOP_UNTIL(&loop, server.health.checks == 1);
    expect_result(true, "connected");
}

/* --- PROXY ------------------------------------------------------------------------------------------------------ */

static void a_proxy_header_tells_of_no_client(void **state) {
    (void)state;
    server_settings.send_proxy = SEND_PROXY_V1;
    check(&server);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "PROXY UNKNOWN\r\nGET /ping HTTP/1.1\r\n");
    server_settings.send_proxy = SEND_PROXY_V2;
    settings.kind = HEALTH_TCP;
    settings.expect = SLICE("x");
    check(&server);
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    LOOP_UNTIL(&loop, peer_has(&peer, 16));
    assert_memory_equal(peer.got, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
    assert_int_equal(peer.count, 16);
}

/* --- which servers ---------------------------------------------------------------------------------------------- */

static void a_server_in_maintenance_rests(void **state) {
    (void)state;
    atomic_store(&server.shared.admin, SERVER_MAINT);
    settings.kind = HEALTH_TCP;
    checks_begin(&checks);
    put(&server);
    put(&other);
    checks_end(&checks);
    LOOP_UNTIL(&loop, other.health.checks > 20);
    assert_int_equal(server.health.checks, 0);
    atomic_store(&server.shared.admin, SERVER_DRAIN); /* a draining one is checked */
    LOOP_UNTIL(&loop, server.health.checks > 0);
}

static void a_result_that_comes_in_maintenance_is_dropped(void **state) {
    (void)state;
    check(&server);
    take_question();
    atomic_store(&server.shared.admin, SERVER_MAINT);
    peer_say(&peer, BUSY);
    LOOP_UNTIL(&loop, (peer_read(&peer), peer.error || peer.eof));
    assert_int_equal(server.health.checks, 0);
    atomic_store(&server.shared.admin, SERVER_READY);
    answer(OK);
}

/* --- pinned ----------------------------------------------------------------------------------------------------- */

static void pinned_checks_change_nothing(void **state) {
    (void)state;
    check(&server);
    health_pin(&server, SERVER_UP);
    for (unsigned i = 0; i < 4; i++) answer(BUSY);
    assert_true(is_up(&server));
    assert_int_equal(changes, 0);
    assert_int_equal(server.health.found, SERVER_DOWN);
    assert_int_equal(server.health.failed, 4);
    health_unpin(&server);
    assert_false(is_up(&server)); /* what they have found meanwhile */
    answer(OK);
    answer(OK);
    assert_true(is_up(&server));
    assert_int_equal(changes, 1);
    health_pin(&server, SERVER_DOWN);
    assert_false(is_up(&server));
    answer(OK);
    assert_false(is_up(&server));
    health_unpin(&server);
    assert_true(is_up(&server));
}

static void pinned_without_checks(void **state) {
    (void)state;
    health_pin(&server, SERVER_DOWN);
    assert_false(is_up(&server));
    settings.starts_down = true;
    check(&server); /* is checked from now on */
    answer(OK);
    answer(OK);
    assert_false(is_up(&server));
    assert_int_equal(server.health.found, SERVER_UP);
    checks_begin(&checks);
    checks_end(&checks); /* and no more */
    assert_false(is_up(&server));
    assert_true(server.health.pinned);
    assert_int_equal(changes, 0);
    health_unpin(&server);
    assert_true(is_up(&server));
}

/* --- which servers, once more ----------------------------------------------------------------------------------- */

static void a_server_that_stays_keeps_its_state(void **state) {
    (void)state;
    check(&server);
    for (unsigned i = 0; i < 3; i++) answer(BUSY);
    assert_false(is_up(&server));
    struct health_settings reloaded = settings;
    reloaded.path = "/new";
    checks_begin(&checks);
    checks_put(&checks, &server, &reloaded, &server_settings, 0);
    checks_end(&checks);
    assert_false(is_up(&server));
    assert_int_equal(server.health.checks, 3);
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "GET /new ");
    assert_int_equal(changes, 1);
}

static void a_check_under_way_begins_anew(void **state) {
    (void)state;
    check(&server);
    take_question();
    struct health_settings reloaded = settings;
    reloaded.path = "/new";
    reloaded.interval_us = reloaded.fast_interval_us = FOREVER_US;
    checks_begin(&checks);
    checks_put(&checks, &server, &reloaded, &server_settings, 0);
    checks_end(&checks);
    LOOP_UNTIL(&loop, (peer_read(&peer), peer.error || peer.eof));
    peer_close(&peer);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "GET /new ");
    assert_int_equal(server.health.checks, 0);
}

static void a_shorter_interval_holds_at_once(void **state) {
    (void)state;
    settings.interval_us = FOREVER_US;
    check(&server);
    answer(OK);
    struct health_settings reloaded = settings;
    reloaded.interval_us = 2 * SOON_US;
    checks_begin(&checks);
    checks_put(&checks, &server, &reloaded, &server_settings, 0);
    checks_end(&checks);
    answer(OK);
    assert_int_equal(server.health.checks, 2);
}

static void a_server_that_goes_is_up(void **state) {
    (void)state;
    settings.kind = HEALTH_TCP;
    settings.expect = SLICE("x"); /* nobody says so */
    settings.timeout_us = 5000;
    checks_begin(&checks);
    put(&server);
    put(&other);
    checks_end(&checks);
    LOOP_UNTIL(&loop, !is_up(&server) && !is_up(&other));
    assert_int_equal(changes, 2);
    uint64_t made = server.health.checks, others = other.health.checks;
    check(&other);
    assert_true(is_up(&server));
    assert_false(is_up(&other));
    assert_int_equal(changes, 3);
    assert_false(server.health.checked);
    assert_int_equal(server.health.checks, made);
    LOOP_UNTIL(&loop, other.health.checks > others + 3);
    assert_int_equal(server.health.checks, made);
    check(&server); /* it is a new one, although it was known */
    assert_true(is_up(&server));
    assert_true(server.health.checked);
    LOOP_UNTIL(&loop, server.health.checks > made);
}

static void many_begin_within_a_fast_interval(void **state) {
    (void)state;
    enum { MANY = 50, SPREAD_US = 1000000 };
    static struct server many[MANY];
    settings.fast_interval_us = SPREAD_US;
    settings.interval_us = FOREVER_US;
    settings.kind = HEALTH_TCP;
    uint64_t began_us = loop.now_us;
    checks_begin(&checks);
    for (unsigned i = 0; i < MANY; i++) {
        many[i] = (struct server){.backend = "app", .name = "m", .addr = server.addr};
        put(&many[i]);
    }
    checks_end(&checks);
    unsigned done;
    do {
        loop_step(&loop, UINT64_MAX);
        done = 0;
        for (unsigned i = 0; i < MANY; i++) done += many[i].health.checks > 0;
    } while (done < MANY);
    unsigned first_half = 0;
    for (unsigned i = 0; i < MANY; i++) first_half += many[i].health.last_us < began_us + SPREAD_US / 2;
    assert_in_range(first_half, 0, MANY - 1);
    assert_true(loop.now_us - began_us >= SPREAD_US / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define CHECK(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        CHECK(states_change_after_enough_in_a_row),
        CHECK(delays_are_spread_evenly),
        CHECK(delays_end_at_the_jitter),
        CHECK(checks_come_faster_while_the_state_is_changing),
        CHECK(the_request_is_plain),
        CHECK(without_a_host_it_is_the_address),
        CHECK(over_a_unix_socket_it_is_localhost),
        CHECK(a_good_answer_is_known_by_its_head),
        CHECK(an_answer_may_come_in_pieces),
        CHECK(interim_answers_are_passed_over),
        CHECK(every_second_check_uses_a_kept_connection),
        CHECK(a_kept_connection_may_be_closed),
        CHECK(a_kept_connection_that_closes_as_it_is_used_is_no_failure),
        CHECK(bytes_that_nobody_asked_for_end_it),
        CHECK(what_failed_is_not_kept),
        CHECK(it_goes_down_and_comes_back),
        CHECK(it_comes_back_at_once_without_slow_start),
        CHECK(it_may_begin_down),
        CHECK(answers_that_are_none),
        CHECK(an_answer_that_ends_too_early),
        CHECK(an_endless_head_is_cut),
        CHECK(endless_interim_answers_are_cut),
        CHECK(no_answer_in_time),
        CHECK(a_trickled_head_is_not_waited_for),
        CHECK(refused),
        CHECK(a_socket_file_that_is_missing),
        CHECK(no_connection_in_time),
        CHECK(without_descriptors_checks_are_left_out),
        CHECK(connecting_may_be_enough),
        CHECK(what_is_sent_is_answered),
        CHECK(a_greeting_is_awaited),
        CHECK(what_is_sent_may_be_all),
        CHECK(a_proxy_header_tells_of_no_client),
        CHECK(a_server_in_maintenance_rests),
        CHECK(a_result_that_comes_in_maintenance_is_dropped),
        CHECK(pinned_checks_change_nothing),
        CHECK(pinned_without_checks),
        CHECK(a_server_that_stays_keeps_its_state),
        CHECK(a_check_under_way_begins_anew),
        CHECK(a_shorter_interval_holds_at_once),
        CHECK(a_server_that_goes_is_up),
        CHECK(many_begin_within_a_fast_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
