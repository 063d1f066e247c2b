/* test_h1_guards.c: the corpus of good and bad messages, whole, in two pieces at every place, and byte by byte. */
#include "h1_play.h"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *what, *asked;
    struct slice bytes;
    const char *account;
};

#define PLAY(what, bytes, account) {what, "", SLICE(bytes), account},
static const struct row requests[] = {
#include "corpus/requests.def"
};
#undef PLAY
#define PLAY(what, asked, bytes, account) {what, asked, SLICE(bytes), account},
static const struct row responses[] = {
#include "corpus/responses.def"
};
#undef PLAY

static void play(struct h1_play *p, const struct row *row, enum h1_role role, size_t first, size_t rest) {
    memset(p, 0, sizeof *p);
    p->role = role;
    p->limits = (struct h1_limits){.head_bytes = 1024, .field_count = 12, .uri_bytes = 100};
    p->upgrade_asked = strcmp(row->asked, "UPGRADE") == 0;
    p->asked = p->upgrade_asked ? METHOD_GET : method_find(slice_of(row->asked));
    h1_play(p, row->bytes, first, rest);
}

static void same(const struct row *row, const struct h1_play *whole, const struct h1_play *cut, size_t first) {
    if (strcmp(whole->full, cut->full) == 0) return;
    fail_msg("%s: whole:\n%sbut cut behind %zu bytes:\n%s", row->what, whole->full, first, cut->full);
}

static void run(const struct row *rows, size_t count, enum h1_role role) {
    static struct h1_play whole, cut;
    for (const struct row *row = rows; row < rows + count; row++) {
        play(&whole, row, role, 0, 0);
        if (strcmp(whole.brief, row->account) != 0)
            fail_msg("%s: expected\n  %s\nbut it went\n  %s", row->what, row->account, whole.brief);
        for (size_t first = 1; first < row->bytes.n; first++) {
            play(&cut, row, role, first, 0);
            same(row, &whole, &cut, first);
        }
        play(&cut, row, role, 1, 1);
        same(row, &whole, &cut, 1);
    }
}

static void test_requests(void **state) {
    (void)state;
    run(requests, LG_COUNT(requests), H1_READS_REQUESTS);
}

static void test_responses(void **state) {
    (void)state;
    run(responses, LG_COUNT(responses), H1_READS_RESPONSES);
}

/* Bytes before and behind the place that a failure tells. */
static const struct {
    enum h1_role role;
    enum failure failure;
    const char *before, *after;
} places[] = {
    {H1_READS_REQUESTS, FAILURE_bad_request_line, "GET /", "\x01 HTTP/1.1\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_version, "GET / HTTP/3.0\r\n", "Host: a\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_field, "GET / HTTP/1.1\r\nHost: a", "\nX: y\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_field, "GET / HTTP/1.1\r\nHost: a\r\n", " y\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_field, "GET / HTTP/1.1\r\nHost: a\r\n", "X y: z\r\nB: c\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_field, "GET / HTTP/1.1\r\n", "Host : a\r\nB: c\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_host, "GET / HTTP/1.1\r\nA: b\r\n", "Host: a b\r\nC: d\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_host, "GET / HTTP/1.1\r\nA: b\r\n", "\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_length, "GET / HTTP/1.1\r\nHost: a\r\n", "content-length: x\r\nC: d\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_framing, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n",
     "Transfer-Encoding: chunked\r\nC: d\r\n\r\n"},
    {H1_READS_REQUESTS, FAILURE_bad_expectation, "GET / HTTP/1.1\r\nHost: a\r\n", "Expect: x\r\nC: d\r\n\r\n"},
    {H1_READS_RESPONSES, FAILURE_bad_response, "", "SSH-2.0-x\r\n"},
    {H1_READS_RESPONSES, FAILURE_bad_response, "HTTP/1.1 200 OK\r\nA: b\r\n", "Content-Length: x\r\nC: d\r\n\r\n"},
    {H1_READS_RESPONSES, FAILURE_bad_response, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
     "Transfer-Encoding: chunked\r\n\r\n"},
};

static void test_places(void **state) {
    (void)state;
    const struct h1_limits limits = {.head_bytes = 1024, .field_count = 12, .uri_bytes = 100};
    for (size_t i = 0; i < LG_COUNT(places); i++) {
        char text[256];
        struct h1_codec codec;
        struct h1_result r;
        int n = snprintf(text, sizeof text, "%s%s", places[i].before, places[i].after);
        struct slice in = slice_from(text, (size_t)n);
        h1_codec_init(&codec, places[i].role);
        if (places[i].role == H1_READS_RESPONSES) h1_codec_expect(&codec, METHOD_GET, false);
        assert_int_equal(h1_codec_next(&codec, &in, &limits, &play_scratch, &r), H1_ERROR);
        assert_int_equal(r.failure, places[i].failure);
        if ((size_t)(r.place - text) != strlen(places[i].before)) fail_msg("%zu: at \"%s\"", i, r.place);
    }
}

/* The parser that is linked, not the header alone, takes nothing but CR LF behind a chunk. */
static void test_llhttp_is_strict(void **state) {
    (void)state;
    static const char head[] = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na";
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    assert_int_equal(llhttp_execute(&parser, head, sizeof head - 1), HPE_OK);
    assert_int_not_equal(llhttp_execute(&parser, "XX", 2), HPE_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_llhttp_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
