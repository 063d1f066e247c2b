/* test_rewrite.c: heads on their way through: received, rewritten, printed, and received again. */
#include "loomgate/http/rewrite.h"

#include "loomgate/base/macros.h"
#include "loomgate/http/h1_codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID   "0190e9a0-0000-7000-8000-000000000001"
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"

static struct h1_scratch scratch;
static const struct h1_limits limits = {16384, 100, 8192};
static struct arena arena;
static char printed[8192];

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_fini(&arena);
    return 0;
}

static struct message *receive(enum h1_role role, struct slice in, enum method asked) {
    static struct h1_codec codec;
    struct h1_result r;
    h1_codec_init(&codec, role);
    if (role == H1_READS_RESPONSES) h1_codec_expect(&codec, asked, true);
    if (h1_codec_next(&codec, &in, &limits, &scratch, &r) != H1_HEAD)
        fail_msg("not received (%s):\n%.*s", failure_get(r.failure)->name, SLICE_ARG(in));
    assert_int_equal(in.n, 0);
    return r.head;
}

/* The framing that says again what the message said. */
static struct h1_framing framing_of(const struct message *m) {
    return (struct h1_framing){.body = m->body,
                               .length = m->length,
                               .has_length = m->has_length,
                               .close = !m->keep_alive,
                               .upgrade = m->upgrade,
                               .te_trailers = m->te_trailers};
}

/* Prints into memory of just the promised size, so that a byte too many is seen. */
static struct slice print(const struct message *m, const struct h1_framing *f) {
    size_t bound = h1_head_bound(m);
    assert_true(bound < sizeof printed);
    char *memory = malloc(bound);
    assert_non_null(memory);
    char *end = m->status ? h1_print_response(memory, m, f) : h1_print_request(memory, m, f);
    size_t n = (size_t)(end - memory);
    assert_true(n <= bound);
    memcpy(printed, memory, n);
    printed[n] = '\0';
    free(memory);
    return slice_from(printed, n);
}

/* What was printed is received again and says the same. */
static void receive_again(const struct message *m, struct slice bytes, enum h1_role role, enum method asked) {
    struct message sent;
    message_copy(&sent, m, &arena, 0);
    const struct message *again = receive(role, bytes, asked);
    assert_true(slice_eq(again->method_name, sent.method_name));
    assert_true(slice_eq(again->uri, sent.uri));
    assert_true(slice_eq(again->host, sent.host));
    assert_true(slice_eq(again->reason, sent.reason));
    assert_int_equal(again->status, sent.status);
    assert_int_equal(again->body, sent.body);
    assert_int_equal(again->length, sent.length);
    assert_int_equal(again->keep_alive, sent.keep_alive);
    assert_int_equal(again->upgrade, sent.upgrade);
    assert_int_equal(again->te_trailers, sent.te_trailers);
    assert_int_equal(again->expect_continue, sent.expect_continue);
}

/* --- requests */

struct request_row {
    const char *what;
    bool forwarded, trusted;
    const char *in, *out;
};

static const struct request_row request_rows[] = {
    {"nothing to do but Host first", false, false, "GET /a?b HTTP/1.1\r\nAccept: */*\r\nHost: h\r\nX-A: b\r\n\r\n",
     "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nX-A: b\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"white space is normal afterwards", false, false,
     "GET / HTTP/1.1\r\nHost:h\r\nA:b\r\nC: \t d \t\r\nE:\r\nF: g\r\nH: i \r\nJ:\tk\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\nE: \r\nF: g\r\nH: i\r\nJ:\tk\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"hop-by-hop fields", false, false,
     "POST / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\nX-Hop: "
     "1\r\n"
     "TE: gzip\r\nx-hop: 2\r\nX-End: 3\r\nUpgrade: a\r\nHTTP2-Settings: b\r\nContent-Length: 5\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: h\r\nX-End: 3\r\nX-Request-Id: " ID "\r\nContent-Length: 5\r\n\r\n"},
    {"names that Connection cannot remove", true, true,
     "POST / HTTP/1.1\r\nHost: h\r\nConnection: Host, Content-Length, X-Forwarded-For, x-forwarded-proto, "
     "X-Request-Id, Cookie, connection\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nCookie: a\r\n"
     "Content-Length: 5\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 9.9.9.9, 10.0.0.1\r\n"
     "X-Forwarded-Host: h\r\nX-Forwarded-Port: 80\r\nX-Request-Id: " ID "\r\nContent-Length: 5\r\n\r\n"},
    {"several Connection fields", false, false,
     "GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nA: 1\r\nB: 2\r\nConnection: ,b,\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"chunked is written anew", false, false,
     "POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: CHUNKED\r\nTrailer: X-Sum\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nX-Request-Id: " ID "\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"a length is written anew", false, false, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0042\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " ID "\r\nContent-Length: 42\r\n\r\n"},
    {"the authority of an absolute target becomes Host", true, false, "GET http://a:8/b HTTP/1.1\r\nHost: h\r\n\r\n",
     "GET /b HTTP/1.1\r\nHost: a:8\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"
     "X-Forwarded-Host: a:8\r\nX-Forwarded-Port: 80\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"OPTIONS * by an absolute target", false, false, "OPTIONS http://a HTTP/1.1\r\nHost: h\r\n\r\n",
     "OPTIONS * HTTP/1.1\r\nHost: a\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"Expect stays", false, false, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nX-Request-Id: " ID "\r\nContent-Length: 1\r\n\r\n"},
    {"TE: trailers", false, false, "GET / HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: gzip, trailers\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " ID "\r\nConnection: TE\r\nTE: trailers\r\n\r\n"},
    {"upgrade", false, false,
     "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\nSec-WebSocket-Key: "
     "a\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: a\r\nX-Request-Id: " ID
     "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
    {"an untrusted client's X-Forwarded-*", true, false,
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 2.2.2.2\r\n"
     "x-forwarded-proto: https\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Prefix: /a\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Prefix: /a\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"
     "X-Forwarded-Host: h\r\nX-Forwarded-Port: 80\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"a trusted client's X-Forwarded-*", true, true,
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Host: outer\r\nX-Forwarded-For:\r\n"
     "X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nx-forwarded-proto: https\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: outer\r\nx-forwarded-proto: https\r\n"
     "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1\r\nX-Forwarded-Port: 80\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"X-Forwarded-* off", false, false,
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded_Host: a\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded_Host: a\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"spelling variants", true, true,
     "GET / HTTP/1.1\r\nHost: h\r\nX_Forwarded_For: 1.1.1.1\r\nx-forwarded_host: a\r\nX-FORWARDED_PROTO: b\r\n"
     "X_Forwarded-Port: c\r\nX_Request_Id: d\r\nx-request_id: e\r\nX_Other_Name: f\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX_Other_Name: f\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n"
     "X-Forwarded-Host: h\r\nX-Forwarded-Port: 80\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"a client's own id", false, false,
     "GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: mine\r\nx-request-id: " ID "\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " ID "\r\n\r\n"},
    {"the last message of a connection", false, false, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: " ID "\r\nConnection: close\r\n\r\n"},
};

static struct request_rewrite request_rules(const struct request_row *row) {
    return (struct request_rewrite){.id_name = SLICE("X-Request-Id"),
                                    .id = SLICE(ID),
                                    .forwarded = row->forwarded,
                                    .trusted = row->trusted,
                                    .client_ip = SLICE("10.0.0.1"),
                                    .proto = SLICE("http"),
                                    .port = SLICE("80")};
}

static void test_requests(void **state) {
    (void)state;
    for (const struct request_row *row = request_rows; row < request_rows + LG_COUNT(request_rows); row++) {
        struct message *m = receive(H1_READS_REQUESTS, slice_of(row->in), METHOD_GET), copy;
        const struct request_rewrite rules = request_rules(row);
        message_copy(&copy, m, &arena, REWRITE_SPARE_FIELDS);
        struct message *const both[] = {m, &copy}; /* where it was received, and copied elsewhere */
        for (size_t i = 0; i < LG_COUNT(both); i++) {
            request_rewrite(both[i], &rules, &arena);
            struct h1_framing framing = framing_of(both[i]);
            struct slice bytes = print(both[i], &framing);
            if (!slice_is(bytes, row->out)) fail_msg("%s: expected\n%s\nbut got\n%s", row->what, row->out, printed);
        }
        receive_again(&copy, slice_of(printed), H1_READS_REQUESTS, METHOD_GET);
    }
}

static void test_without_host(void **state) {
    (void)state;
    struct message *m = receive(H1_READS_REQUESTS, SLICE("GET / HTTP/1.0\r\nA: b\r\n\r\n"), METHOD_GET);
    const struct request_rewrite rules = {.forwarded = true, .client_ip = SLICE("::1"), .proto = SLICE("http")};
    request_rewrite(m, &rules, &arena);
    assert_true(
        slice_is(print(m, &(struct h1_framing){0}),
                 "GET / HTTP/1.1\r\nHost: \r\nA: b\r\nX-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\n\r\n"));
}

/* Many fields of every kind that is added or replaced: the promised room is enough. */
static void test_spare_room(void **state) {
    (void)state;
    struct message *m = receive(H1_READS_REQUESTS, SLICE("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), METHOD_GET), copy;
    message_copy(&copy, m, &arena, REWRITE_SPARE_FIELDS);
    const struct request_rewrite rules = request_rules(&(struct request_row){.forwarded = true});
    request_rewrite(&copy, &rules, &arena);
    assert_true(copy.fields.count <= copy.fields.room);
}

/* --- responses */

static const struct {
    const char *what, *in, *out;
    enum method asked;
} response_rows[] = {
    {"a plain one", "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\n\r\n",
     "HTTP/1.1 200 OK\r\nServer: s\r\nX-Request-Id: " ID "\r\nDate: " DATE "\r\nContent-Length: 5\r\n\r\n", METHOD_GET},
    {"Date stays, the server's id does not",
     "HTTP/1.1 404 Gone fishing\r\ndate: x\r\nx-request-id: 1\r\nX_Request_Id: 2\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 404 Gone fishing\r\ndate: x\r\nX-Request-Id: " ID "\r\nContent-Length: 0\r\n\r\n", METHOD_GET},
    {"hop-by-hop fields",
     "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nTransfer-Encoding: chunked\r\n"
     "Trailer: X-Sum\r\nUpgrade: h2c\r\nHost: not hop-by-hop\r\n\r\n",
     "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nHost: not hop-by-hop\r\nX-Request-Id: " ID "\r\nDate: " DATE
     "\r\nTransfer-Encoding: chunked\r\n\r\n",
     METHOD_GET},
    {"an interim one is passed on as it is", "HTTP/1.1 103 Early Hints\r\nLink: a\r\nKeep-Alive: 1\r\n\r\n",
     "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", METHOD_GET},
    {"HEAD says how long it would be", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nDate: x\r\n\r\n",
     "HTTP/1.1 200 OK\r\nDate: x\r\nX-Request-Id: " ID "\r\nContent-Length: 7\r\n\r\n", METHOD_HEAD},
    {"101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nDate: x\r\nA: b\r\n\r\n",
     "HTTP/1.1 101 Switching Protocols\r\nDate: x\r\nA: b\r\nX-Request-Id: " ID
     "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
     METHOD_GET},
    {"no reason", "HTTP/1.1 204\r\nDate: x\r\n\r\n", "HTTP/1.1 204 \r\nDate: x\r\nX-Request-Id: " ID "\r\n\r\n",
     METHOD_GET},
};

static void test_responses(void **state) {
    (void)state;
    const struct response_rewrite rules = {.id_name = SLICE("X-Request-Id"), .id = SLICE(ID), .date = SLICE(DATE)};
    for (size_t i = 0; i < LG_COUNT(response_rows); i++) {
        struct message *m = receive(H1_READS_RESPONSES, slice_of(response_rows[i].in), response_rows[i].asked);
        response_rewrite(m, &rules);
        struct h1_framing framing = framing_of(m);
        struct slice bytes = print(m, &framing);
        if (!slice_is(bytes, response_rows[i].out))
            fail_msg("%s: expected\n%s\nbut got\n%s", response_rows[i].what, response_rows[i].out, printed);
        struct message copy;
        message_copy(&copy, m, &arena, 0);
        receive_again(&copy, bytes, H1_READS_RESPONSES, response_rows[i].asked);
    }
}

/* --- printing alone */

static void test_framing(void **state) {
    (void)state;
    static const struct {
        struct h1_framing framing;
        const char *out;
    } rows[] = {
        {{.body = BODY_NONE}, ""},
        {{.body = BODY_UNTIL_CLOSE, .close = true}, "Connection: close\r\n"},
        {{.body = BODY_LENGTH}, "Content-Length: 0\r\n"},
        {{.body = BODY_LENGTH, .length = UINT64_MAX}, "Content-Length: 18446744073709551615\r\n"},
        {{.body = BODY_NONE, .has_length = true, .length = 10}, "Content-Length: 10\r\n"},
        {{.body = BODY_CHUNKED, .has_length = true, .length = 10}, "Transfer-Encoding: chunked\r\n"},
        {{.body = BODY_CHUNKED, .trailer = {"a, b", 4}}, "Transfer-Encoding: chunked\r\nTrailer: a, b\r\n"},
        {{.keep_alive_10 = true}, "Connection: keep-alive\r\n"},
        {{.upgrade = true}, "Connection: upgrade\r\nUpgrade: foo\r\n"},
        {{.close = true, .te_trailers = true}, "Connection: close, TE\r\nTE: trailers\r\n"},
    };
    const struct message m = {.status = 200, .reason = SLICE("OK"), .upgrade_to = SLICE("foo")};
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "HTTP/1.1 200 OK\r\n%s\r\n", rows[i].out);
        print(&m, &rows[i].framing);
        assert_string_equal(printed, expected);
    }
}

static void test_chunk_sizes(void **state) {
    (void)state;
    static const struct {
        uint64_t size;
        const char *text;
    } rows[] = {
        {0, "0\r\n"}, {9, "9\r\n"}, {16, "10\r\n"}, {0xabcdef, "abcdef\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char text[18];
        size_t n = (size_t)(h1_print_chunk_size(text, rows[i].size) - text);
        assert_true(slice_is(slice_from(text, n), rows[i].text));
    }
}

static void test_field(void **state) {
    (void)state;
    char text[16];
    size_t n = (size_t)(h1_print_field(text, SLICE("A"), SLICE("b c")) - text);
    assert_true(slice_is(slice_from(text, n), "A: b c\r\n"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_host, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spare_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_responses, set_up, tear_down),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_chunk_sizes),
        cmocka_unit_test(test_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
