/* test_h1_codec.c: limits to the byte, what is taken and what is left, pipelining, expectations, ends. */
#include "loomgate/http/h1_codec.h"

#include "h1_play.h"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

static const struct h1_limits limits = {.head_bytes = 300, .field_count = 5, .uri_bytes = 100};
static struct h1_scratch scratch;

/* --- text of any length */

static char text[200000];
static size_t text_size;

static void text_begin(const char *start) {
    text_size = strlen(start);
    memcpy(text, start, text_size);
}

static void text_fill(size_t n) {
    assert_true(text_size + n < sizeof text);
    memset(text + text_size, 'a', n);
    text_size += n;
}

static void text_add(const char *more) {
    size_t n = strlen(more);
    assert_true(text_size + n < sizeof text);
    memcpy(text + text_size, more, n);
    text_size += n;
}

/* Plays the text whole, in pieces of 1, 7 and 64, all to the same end. */
static void expect_of(enum h1_role role, const char *account) {
    static struct h1_play whole, cut;
    static const size_t pieces[] = {1, 7, 64};
    whole = (struct h1_play){.role = role, .limits = limits, .asked = METHOD_GET};
    h1_play(&whole, slice_from(text, text_size), 0, 0);
    assert_string_equal(whole.brief, account);
    for (size_t i = 0; i < LG_COUNT(pieces); i++) {
        cut = (struct h1_play){.role = role, .limits = limits, .asked = METHOD_GET};
        h1_play(&cut, slice_from(text, text_size), pieces[i], pieces[i]);
        assert_string_equal(whole.full, cut.full);
    }
}

static void expect(const char *account) {
    expect_of(H1_READS_REQUESTS, account);
}

/* --- limits */

static void head_of(const char *start, size_t size) {
    text_begin(start);
    text_fill(size - text_size - 4);
    text_add("\r\n\r\n");
    assert_int_equal(text_size, size);
}

static void test_head_bytes(void **state) {
    (void)state;
    head_of("GET / HTTP/1.1\r\nHost: h\r\nX: ", 300);
    expect("GET / host=h none keep | end | eof:ok");
    head_of("GET / HTTP/1.1\r\nHost: h\r\nX: ", 301);
    expect("!header_too_large");
    head_of("HTTP/1.1 204 OK\r\nX: ", 300);
    expect_of(H1_READS_RESPONSES, "204 none keep | end | eof:ok");
    head_of("HTTP/1.1 204 OK\r\nX: ", 301);
    expect_of(H1_READS_RESPONSES, "!response_too_large");
    head_of("HTTP/1.1 204 ", 301);
    expect_of(H1_READS_RESPONSES, "!response_too_large");
}

static void test_head_is_refused_before_it_ends(void **state) {
    (void)state;
    text_begin("GET / HTTP/1.1\r\nHost: h\r\nX: ");
    text_fill(299 - text_size);
    expect("!client_closed");
    text_fill(1);
    expect("!header_too_large");
    text_begin("GET / HTTP/1.1\r\nHost: h\r\nX: ");
    text_fill(100000);
    expect("!header_too_large");
}

static void uri_of(size_t n) {
    text_begin("GET /");
    text_fill(n - 1);
    text_add(" HTTP/1.1\r\nHost: h\r\n\r\n");
}

static void test_uri_bytes(void **state) {
    (void)state;
    char account[200];
    uri_of(100);
    snprintf(account, sizeof account, "GET %.100s host=h none keep | end | eof:ok", text + 4);
    expect(account);
    uri_of(101);
    expect("!uri_too_long");
    text_begin("GET /");
    text_fill(100000);
    expect("!uri_too_long");
    text_begin("GET http://a?");
    text_fill(87);
    text_add(" HTTP/1.1\r\nHost: h\r\n\r\n");
    snprintf(account, sizeof account, "GET /?%.87s host=a none keep | end | eof:ok", text + 13);
    expect(account);
}

static void test_field_count(void **state) {
    (void)state;
    text_begin("GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n");
    expect("GET / host=h none keep | end | eof:ok");
    text_begin("GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n\r\n");
    expect("!too_many_fields");
    text_begin("HTTP/1.1 204 x\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\nf: 6\r\n\r\n");
    expect_of(H1_READS_RESPONSES, "!response_too_large");
}

static const char chunked[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

static void test_chunk_extensions(void **state) {
    (void)state;
    text_begin(chunked);
    text_add("1;");
    text_fill(H1_CHUNK_EXTENSION_MAX - 1);
    text_add("\r\nx\r\n0\r\n\r\n");
    expect("POST / host=h chunked keep | \"x\" | end | eof:ok");
    text_begin(chunked);
    text_add("1;");
    text_fill(H1_CHUNK_EXTENSION_MAX);
    text_add("\r\nx\r\n0\r\n\r\n");
    expect("POST / host=h chunked keep | !bad_chunk");
    text_begin(chunked);
    text_add("1;");
    text_fill(100000);
    expect("POST / host=h chunked keep | !bad_chunk");
}

/* Extensions with next to no data behind them add up; with data they do not. */
static void test_chunk_extensions_are_paid_for(void **state) {
    (void)state;
    text_begin(chunked);
    for (int i = 0; i < 2; i++) {
        text_add("1;");
        text_fill(599);
        text_add("\r\nx\r\n");
    }
    text_add("0\r\n\r\n");
    expect("POST / host=h chunked keep | \"x\" | !bad_chunk");
    text_begin(chunked);
    for (int i = 0; i < 20; i++) {
        text_add("258;");
        text_fill(599);
        text_add("\r\n");
        text_fill(600);
        text_add("\r\n");
    }
    text_add("0\r\n\r\n");
    expect("POST / host=h chunked keep | 12000 bytes | end | eof:ok");
}

static void test_chunk_digits(void **state) {
    (void)state;
    text_begin(chunked);
    for (int i = 0; i < 31; i++) text_add("0");
    text_add("1\r\nx\r\n0\r\n\r\n");
    expect("POST / host=h chunked keep | \"x\" | end | eof:ok");
    text_begin(chunked);
    for (int i = 0; i < 32; i++) text_add("0");
    text_add("1\r\nx\r\n0\r\n\r\n");
    expect("POST / host=h chunked keep | !bad_chunk");
}

static void trailers_of(size_t size) {
    text_begin(chunked);
    text_add("0\r\n");
    size_t start = text_size;
    text_add("X: ");
    text_fill(size - (text_size - start) - 4);
    text_add("\r\n\r\n");
}

static void test_trailers(void **state) {
    (void)state;
    trailers_of(H1_TRAILER_BYTES_MAX);
    expect("POST / host=h chunked keep | end 1 of 1 trailers | eof:ok");
    trailers_of(H1_TRAILER_BYTES_MAX + 1);
    expect("POST / host=h chunked keep | !header_too_large");
    text_begin(chunked);
    text_add("0\r\n");
    for (int i = 0; i < H1_TRAILER_COUNT_MAX; i++) text_add("x: 1\r\n");
    size_t at = text_size;
    text_add("\r\n");
    expect("POST / host=h chunked keep | end 64 of 64 trailers | eof:ok");
    text_size = at;
    text_add("x: 1\r\n\r\n");
    expect("POST / host=h chunked keep | !too_many_fields");
}

/* --- event by event */

static struct h1_codec codec;
static struct h1_result result;
static struct slice in;

static void present(const char *bytes) {
    in = slice_of(bytes);
}

static enum h1_event next(void) {
    return h1_codec_next(&codec, &in, &limits, &scratch, &result);
}

static void test_what_more_leaves(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    present("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Enc");
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 38);
    assert_false(h1_codec_in_message(&codec));
    present("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(in.n, 0);
    assert_true(h1_codec_in_message(&codec));
    assert_int_equal(next(), H1_MORE);
    present("5;a=b");
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 5);
    present("5;a=b\r\nab");
    assert_int_equal(next(), H1_BODY);
    assert_true(slice_is(result.body, "ab"));
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 0);
    present("cde\r");
    assert_int_equal(next(), H1_BODY);
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 0);
    present("\n0\r\nX: 1\r\n");
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 6);
    assert_true(h1_codec_in_message(&codec));
    present("X: 1\r\n\r\nGET");
    assert_int_equal(next(), H1_END);
    assert_int_equal(in.n, 3);
    assert_int_equal(result.trailers->count, 1);
    assert_false(h1_codec_in_message(&codec));
}

/* A head stays as it was given while the end of a message without a body is asked for. */
static void test_end_without_bytes(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    present("GET http://a?b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(next(), H1_HEAD);
    const struct message *m = result.head;
    in = slice_from(NULL, 0);
    assert_int_equal(next(), H1_END);
    assert_int_equal(result.trailers->count, 0);
    assert_true(slice_is(m->uri, "/?b"));
    assert_int_equal(m->fields.count, 1);
    assert_int_equal(next(), H1_MORE);
}

static void test_room_for_added_fields(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    present("GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n");
    assert_int_equal(next(), H1_HEAD);
    for (int i = 0; i < 32; i++) assert_true(fields_add(&result.head->fields, SLICE("A"), SLICE("b")));
}

static void test_failed_stays_failed(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    present("GET / HTTP/1.1\r\n\r\n");
    assert_int_equal(next(), H1_ERROR);
    assert_int_equal(result.failure, FAILURE_bad_host);
    present("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(next(), H1_ERROR);
    assert_int_equal(h1_codec_eof(&codec, in, &result), H1_ERROR);
}

static void test_nonsense_is_refused_at_once(void **state) {
    (void)state;
    static const char *const starts[] = {"\x16\x03\x01",        "GET / HTTP/1.0\n",        "GET /\r\n",
                                         "GET / HTTP/2.0\r\n",  "GET / HTTP/1.1\r\nA\x01", "GET / HTTP/1.1\r\nA: b\rc",
                                         "GET / HTTP/1.1\r\n A"};
    for (size_t i = 0; i < LG_COUNT(starts); i++) {
        h1_codec_init(&codec, H1_READS_REQUESTS);
        present(starts[i]);
        assert_int_equal(next(), H1_ERROR);
    }
}

/* A reload may bring smaller limits while a head is under way. */
static void test_limits_that_shrink(void **state) {
    (void)state;
    static const struct h1_limits smaller[] = {{20, 5, 100}, {300, 5, 10}, {300, 1, 100}};
    static const enum failure failures[] = {FAILURE_header_too_large, FAILURE_uri_too_long, FAILURE_too_many_fields};
    for (size_t i = 0; i < LG_COUNT(smaller); i++) {
        h1_codec_init(&codec, H1_READS_REQUESTS);
        present("GET /0123456789abcdef HTTP/1.1\r\nHost: h\r\nA: b\r\n");
        assert_int_equal(next(), H1_MORE);
        present("GET /0123456789abcdef HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
        assert_int_equal(h1_codec_next(&codec, &in, &smaller[i], &scratch, &result), H1_ERROR);
        assert_int_equal(result.failure, failures[i]);
    }
}

static void test_unasked_response(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_RESPONSES);
    in = slice_from(NULL, 0);
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(h1_codec_eof(&codec, in, &result), H1_MORE);
    present("HTTP/1.1 204 No Content\r\n\r\n");
    assert_int_equal(next(), H1_ERROR);
    assert_int_equal(result.failure, FAILURE_bad_response);
}

static void test_surplus_response(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_RESPONSES);
    h1_codec_expect(&codec, METHOD_GET, false);
    present("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(next(), H1_END);
    assert_true(in.n > 0);
    assert_int_equal(next(), H1_ERROR);
}

static void test_expectations(void **state) {
    (void)state;
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    h1_codec_init(&codec, H1_READS_RESPONSES);
    h1_codec_expect(&codec, METHOD_HEAD, false);
    present(answer);
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(result.head->body, BODY_NONE);
    assert_true(result.head->has_length);
    assert_int_equal(result.head->length, 2);
    assert_int_equal(next(), H1_END);
    h1_codec_expect(&codec, METHOD_GET, false);
    present(answer);
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(result.head->body, BODY_LENGTH);
    present("ab");
    assert_int_equal(next(), H1_BODY);
    assert_int_equal(next(), H1_END);
}

static void test_upgrade_leaves_the_rest(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_RESPONSES);
    h1_codec_expect(&codec, METHOD_GET, true);
    present("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n\x01\x02");
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(in.n, 2);
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 2);
}

static void test_bytes_after_close_are_dropped(void **state) {
    (void)state;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    present("GET / HTTP/1.0\r\n\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(next(), H1_END);
    assert_int_equal(next(), H1_MORE);
    assert_int_equal(in.n, 0);
    assert_int_equal(h1_codec_eof(&codec, in, &result), H1_MORE);
}

/* Body bytes are told where they lie, in one piece, however many. */
static void test_large_body(void **state) {
    (void)state;
    text_begin("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    size_t head = text_size;
    text_fill(100000);
    h1_codec_init(&codec, H1_READS_REQUESTS);
    in = slice_from(text, text_size);
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(next(), H1_BODY);
    assert_ptr_equal(result.body.p, text + head);
    assert_int_equal(result.body.n, 100000);
    assert_int_equal(next(), H1_END);
    text_begin(chunked);
    text_add("186a0\r\n");
    head = text_size;
    text_fill(100000);
    text_add("\r\n0\r\n\r\n");
    in = slice_from(text, text_size);
    assert_int_equal(next(), H1_HEAD);
    assert_int_equal(next(), H1_BODY);
    assert_ptr_equal(result.body.p, text + head);
    assert_int_equal(result.body.n, 100000);
    assert_int_equal(next(), H1_END);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_bytes),
        cmocka_unit_test(test_head_is_refused_before_it_ends),
        cmocka_unit_test(test_uri_bytes),
        cmocka_unit_test(test_field_count),
        cmocka_unit_test(test_chunk_extensions),
        cmocka_unit_test(test_chunk_extensions_are_paid_for),
        cmocka_unit_test(test_chunk_digits),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_what_more_leaves),
        cmocka_unit_test(test_end_without_bytes),
        cmocka_unit_test(test_room_for_added_fields),
        cmocka_unit_test(test_failed_stays_failed),
        cmocka_unit_test(test_nonsense_is_refused_at_once),
        cmocka_unit_test(test_limits_that_shrink),
        cmocka_unit_test(test_unasked_response),
        cmocka_unit_test(test_surplus_response),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_upgrade_leaves_the_rest),
        cmocka_unit_test(test_bytes_after_close_are_dropped),
        cmocka_unit_test(test_large_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
