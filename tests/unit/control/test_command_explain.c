/* test_command_explain.c: which frontend a URL means, and the request that is made of the words. What would be done
 * with it the end-to-end tests compare with what is done. */
#include "../../../src/control/command_internal.h"

#include "../../../src/runtime/runtime_internal.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct socket_peer peer = {.pid = 1, .uid = 2, .gid = 3};
static struct runtime runtime;
static struct control *control;
static char answer[16384];
static size_t answer_len;

static bool on_text(struct call *c, struct slice text) {
    (void)c;
    assert_true(answer_len + text.n < sizeof answer);
    memcpy(answer + answer_len, text.p, text.n);
    answer[answer_len += text.n] = '\0';
    return true;
}

static void on_end(struct call *c) {
    (void)c;
}

static const struct call_events events = {on_text, on_end};

/* web: 127.0.0.1:80, *:8080; api: 127.0.0.2:80, [::1]:81; local: a UNIX socket; same: *:8080 */
static const struct listener_settings web[] = {{.address = {ADDRESS_IP, "127.0.0.1:80", "127.0.0.1", 80}},
                                               {.address = {ADDRESS_ANY, "*:8080", NULL, 8080}}};
static const struct listener_settings api[] = {{.address = {ADDRESS_IP, "127.0.0.2:80", "127.0.0.2", 80}},
                                               {.address = {ADDRESS_IP, "[::1]:81", "::1", 81}}};
static const struct listener_settings local[] = {{.address = {ADDRESS_UNIX, "unix:/x", "/x", 0}}};
static const struct listener_settings same[] = {{.address = {ADDRESS_ANY, "*:8080", NULL, 8080}}};

static void add_frontend(struct config *c, const char *name, const struct listener_settings *listeners,
                         uint32_t count) {
    struct frontend_settings *f = config_add_frontend(c, name);
    f->listeners = listeners;
    f->listener_count = count;
    f->limits = (struct limit_settings){.header_size = 1000, .header_count = 10, .uri_size = 100};
}

static int set_up(void **state) {
    struct error e;
    struct config *c = config_make();
    (void)state;
    log_set_level(LEVEL_ERROR);
    runtime = (struct runtime){.state = RUNTIME_RUNNING};
    loop_init(&runtime.loop);
    registry_init(&runtime.registry);
    add_frontend(c, "web", web, 2);
    add_frontend(c, "api", api, 2);
    add_frontend(c, "local", local, 1);
    add_frontend(c, "same", same, 1);
    runtime.snapshot = snapshot_build(c, &runtime.registry, &e);
    assert_non_null(runtime.snapshot);
    for (uint32_t i = 0; i < runtime.snapshot->frontend_count; i++) {
        const struct frontend *f = &runtime.snapshot->frontends[i];
        for (uint32_t k = 0; k < f->settings->listener_count; k++) f->ports[k] = f->settings->listeners[k].address.port;
    }
    control = calloc(1, sizeof *control);
    *control = (struct control){.runtime = &runtime};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    snapshot_free(runtime.snapshot, &runtime.registry);
    registry_fini(&runtime.registry);
    loop_fini(&runtime.loop);
    free(control);
    return 0;
}

static struct call *begin(const char *words, struct question *q, bool *ok) {
    struct slice rest = slice_of(words);
    answer[answer_len = 0] = '\0';
    struct call *c = call_new(control, &events, NULL, CONTROL_USER, &peer, &rest);
    c->command = &commands_explain[0];
    *ok = question_take(q, c);
    return c;
}

static void end(struct call *c) {
    call_ok(c, "done");
}

/* Of "METHOD URL ...": frontend, port and head. */
static void means(const char *words, const char *frontend, uint16_t port, const char *head) {
    struct question q;
    bool ok;
    struct call *c = begin(words, &q, &ok);
    if (!ok) fail_msg("%s: %s", words, answer);
    assert_string_equal(q.frontend->settings->name, frontend);
    assert_int_equal(q.port, port);
    if (head && !slice_is(q.head, head)) fail_msg("%s:\n%.*s", words, SLICE_ARG(q.head));
    end(c);
}

static void fails(const char *words, const char *part) {
    struct question q;
    bool ok;
    begin(words, &q, &ok);
    assert_false(ok);
    if (!strstr(answer, part)) fail_msg("%s: %s", words, answer);
}

static void urls_and_frontends(void **state) {
    (void)state;
    means("GET http://127.0.0.1/", "web", 80, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    means("GET http://127.0.0.2:80/x?y", "api", 80, "GET /x?y HTTP/1.1\r\nHost: 127.0.0.2:80\r\n\r\n");
    means("GET http://[::1]:81", "api", 81, "GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n");
    means("GET HTTP://h:81?q#frag", "api", 81, "GET /?q HTTP/1.1\r\nHost: h:81\r\n\r\n");
    fails("GET http://h/", "error: conflict: several frontends could be meant: web (port 80), api (port 80); name one");
    fails("GET http://h:8080/", "several frontends could be meant: web (port 80), same (port 8080)");
    means("GET http://h:8080/ frontend same", "same", 8080, NULL);
    means("GET http://h:8080/ frontend api", "api", 80, NULL); /* it has not that port */
    means("GET http://h:81/ frontend api", "api", 81, NULL);
    fails("GET https://h/", "error: usage: no frontend listens on port 443; there are web (port 80), api");
    fails("GET /", "several frontends could be meant: web (port 80), api (port 80), local (port 0), same");
    means("GET /x frontend local", "local", 0, "GET /x HTTP/1.0\r\n\r\n");
    fails("GET http://h:/ frontend nobody", "there is no frontend 'nobody'");
    fails("GET http://h:99999/", "port in the URL");
    fails("GET example.org/", "begins with http://");
}

static void fields_and_clients(void **state) {
    char ip[ADDR_TEXT_MAX];
    struct question q;
    bool ok;
    (void)state;
    means("GET / \"A: b c\" D: e F:g frontend web", "web", 80, "GET / HTTP/1.0\r\nA: b c\r\nD: e\r\nF: g\r\n\r\n");
    means("GET / host: h frontend web", "web", 80, "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    means("GET http://h:81/ Host: other", "api", 81, "GET / HTTP/1.1\r\nHost: other\r\n\r\n");
    means("GET / \"A:\" D: e frontend web", "web", 80, "GET / HTTP/1.0\r\nA: \r\nD: e\r\n\r\n");
    means("GET / X: from frontend web", "web", 80, "GET / HTTP/1.0\r\nX: from\r\n\r\n");
    fails("GET / A frontend web", "'A' is not a field");
    fails("GET / A: b c frontend web", "'c' is not a field");
    struct call *c = begin("GET / from 192.0.2.7 frontend web", &q, &ok);
    assert_true(ok);
    addr_print_ip(&q.client, ip);
    assert_string_equal(ip, "192.0.2.7");
    const struct addr same_client = addr_make_ip("192.0.2.7", 0);
    assert_true(addr_eq(&q.client, &same_client));
    end(c);
    c = begin("GET / frontend web", &q, &ok);
    assert_true(ok);
    assert_int_equal(q.client.len, 0);
    end(c);
    fails("GET / from x frontend web", "IP address");
    fails("GET / from 10.0.0.0/8 frontend web", "IP address");
}

/* Whatever the words hold, it is one head, which the codec takes or refuses. */
static void what_the_frontend_makes_of_it(void **state) {
    static const struct {
        const char *words;
        enum failure failure;
    } rows[] = {
        {"GET http://h:81/", FAILURE_NONE},
        {"OPTIONS * Host: h frontend web", FAILURE_NONE},
        {"CONNECT h:1 Host: h frontend web", FAILURE_method_refused},
        {"\"GET /x HTTP/1.1\" http://h:81/", FAILURE_bad_request_line},
        {"GET http://h:81/ \"A: b\rHost: x\"", FAILURE_bad_field},
        {"GET http://h:81/ \"A b: c\"", FAILURE_bad_field},
        {"GET http://h:81/ \" A: b\"", FAILURE_bad_field},
        {"GET http://h:81/\x01 frontend web", FAILURE_bad_request_line},
        {"\"\" http://h:81/", FAILURE_bad_request_line},
        {"GET \"http://h:81/ \"", FAILURE_bad_request_line},
        {"GET http:///x frontend web", FAILURE_NONE}, /* HTTP/1.0 without a host */
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        struct question q;
        bool ok;
        struct call *c = begin(rows[i].words, &q, &ok);
        if (!ok) fail_msg("%s: %s", rows[i].words, answer);
        enum failure f = question_read(&q);
        if (f != rows[i].failure) fail_msg("%s: %s", rows[i].words, failure_get(f)->name);
        end(c);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(urls_and_frontends),
        TEST(fields_and_clients),
        TEST(what_the_frontend_makes_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
