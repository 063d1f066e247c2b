/* test_access_record.c: the exact record, hostile strings, tight buffers: always whole, always valid. */
#include "loomgate/proxy/access_record.h"

#include "../../support/addr_make.h"
#include "../../support/json_check.h"
#include "../../support/random.h"

#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct addr client;

static struct access_record sample(void) {
    client = addr_make_ip("192.0.2.1", 51234);
    return (struct access_record){
        .unix_us = UINT64_C(1769860800123456), /* 2026-01-31 12:00:00.123 */
        .id = SLICE("01941f29-7c00-7000-8000-000000000001"),
        .frontend = "web",
        .route = "api",
        .backend = "app",
        .server = "a2",
        .client = &client,
        .method = SLICE("GET"),
        .host = SLICE("example.com"),
        .path = SLICE("/v1/users?x=1"),
        .protocol = "HTTP/1.1",
        .status = 200,
        .cause = FAILURE_NONE,
        .bytes_in = 120,
        .bytes_out = 4096,
        .queue_us = 0,
        .connect_us = 210,
        .first_byte_us = 1200,
        .total_us = 61001500,
        .tries = {{"a1", 300, 25000, FAILURE_connect_failed}, {"a2", 1000, ACCESS_NONE, FAILURE_NONE}},
        .try_count = 2,
        .reused = true,
        .tls = SLICE("TLSv1.3"),
        .traceparent = SLICE("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    };
}

static const char sample_json[] =
    "{\"time\":\"2026-01-31T12:00:00.123Z\",\"id\":\"01941f29-7c00-7000-8000-000000000001\",\"frontend\":\"web\","
    "\"route\":\"api\",\"backend\":\"app\",\"server\":\"a2\",\"client\":\"192.0.2.1:51234\",\"method\":\"GET\","
    "\"host\":\"example.com\",\"path\":\"/v1/users?x=1\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"cause\":\"ok\","
    "\"blame\":null,\"bytes_in\":120,\"bytes_out\":4096,\"queue_ms\":0.000,\"connect_ms\":0.210,"
    "\"first_byte_ms\":1.200,\"total_ms\":61001.500,\"tries\":[{\"server\":\"a1\",\"ms\":0.300,"
    "\"cause\":\"connect_failed\",\"backoff_ms\":25.000},{\"server\":\"a2\",\"ms\":1.000,\"cause\":\"ok\","
    "\"backoff_ms\":null}],\"reused\":true,\"tls\":\"TLSv1.3\","
    "\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}\n";
static const char sample_text[] =
    "2026-01-31T12:00:00.123Z 01941f29-7c00-7000-8000-000000000001 192.0.2.1:51234 web/api app/a2 "
    "\"GET example.com /v1/users?x=1\" 200 ok - in=120 out=4096 queue=0.000 connect=0.210 first=1.200 total=61001.500 "
    "tries=2 reused=yes protocol=HTTP/1.1 tls=TLSv1.3 "
    "traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n";

/* Into a heap block of exactly `room` bytes, so that AddressSanitizer sees one byte too many. Free `.p`. */
static struct slice print(const struct access_record *r, enum log_format format, size_t room) {
    char *at = malloc(room ? room : 1);
    assert_non_null(at);
    const char *end = access_record_print(r, format, at, at + room);
    assert_true(end >= at && end <= at + room);
    return slice_from(at, (size_t)(end - at));
}

static void assert_prints(const struct access_record *r, enum log_format format, const char *want) {
    struct slice got = print(r, format, ACCESS_RECORD_MAX);
    if (!slice_is(got, want)) fail_msg("%.*s", SLICE_ARG(got));
    free((char *)got.p);
}

/* One line, of valid JSON or of valid UTF-8 without controls. */
static void assert_valid(struct slice line, enum log_format format) {
    assert_true(line.n > 1);
    assert_int_equal(slice_find(line, '\n'), line.n - 1);
    if (format == FORMAT_JSON) {
        if (!json_is_valid(line)) fail_msg("%.*s", SLICE_ARG(line));
        return;
    }
    /* A text record never has a quote or a backslash but its own, so that it is the inside of a JSON string once those
     * are changed. */
    char copy[ACCESS_RECORD_MAX + 2] = "\"";
    for (size_t i = 0; i < line.n - 1; i++) copy[i + 1] = line.p[i] == '"' || line.p[i] == '\\' ? '_' : line.p[i];
    copy[line.n] = '"';
    if (!json_is_valid(slice_from(copy, line.n + 1))) fail_msg("%.*s", SLICE_ARG(line));
}

static void test_exact(void **state) {
    (void)state;
    struct access_record r = sample();
    assert_prints(&r, FORMAT_JSON, sample_json);
    assert_prints(&r, FORMAT_TEXT, sample_text);
}

static void test_nothing_known(void **state) {
    (void)state;
    struct access_record r = {
        .queue_us = ACCESS_NONE,
        .connect_us = ACCESS_NONE,
        .first_byte_us = ACCESS_NONE,
        .total_us = 999,
        .bytes_out = UINT64_MAX - 1,
        .bytes_in = ACCESS_NONE,
        .cause = FAILURE_header_timeout,
    };
    assert_prints(
        &r, FORMAT_JSON,
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"id\":null,\"frontend\":null,\"route\":null,\"backend\":null,"
        "\"server\":null,\"client\":null,\"method\":null,\"host\":null,\"path\":null,\"protocol\":null,"
        "\"status\":null,\"cause\":\"header_timeout\",\"blame\":\"client\",\"bytes_in\":null,"
        "\"bytes_out\":18446744073709551614,\"queue_ms\":null,\"connect_ms\":null,\"first_byte_ms\":null,"
        "\"total_ms\":0.999,\"tries\":[],\"reused\":false}\n");
    assert_prints(&r, FORMAT_TEXT,
                  "1970-01-01T00:00:00.000Z - - -/- -/- \"- - -\" - header_timeout client in=- "
                  "out=18446744073709551614 queue=- connect=- first=- total=0.999 tries=0 reused=no protocol=-\n");
}

static void test_too_many_tries(void **state) {
    (void)state;
    struct access_record r = sample();
    for (unsigned i = 0; i < ACCESS_TRIES_MAX; i++) r.tries[i] = r.tries[0];
    r.try_count = ACCESS_TRIES_MAX + 3;
    struct slice got = print(&r, FORMAT_JSON, ACCESS_RECORD_MAX), tries = json_member(got, "tries");
    size_t objects = 0;
    assert_valid(got, FORMAT_JSON);
    for (size_t i = 0; i < tries.n; i++) objects += tries.p[i] == '{';
    assert_int_equal(objects, ACCESS_TRIES_MAX);
    free((char *)got.p);
}

static void test_forged(void **state) {
    (void)state;
    struct access_record r = sample();
    struct addr un = addr_make_unix("/tmp/a \"b\"\n{}");
    r.path = SLICE("/x\"}\n{\"time\":\"\\\r\x1b[31m\x7f \xff\xc3\xa9\xe2\x80\xa8");
    r.host = SLICE("h\" 200 ok - \n2026-01-31T12:00:00.123Z");
    r.client = &un;
    struct slice got = print(&r, FORMAT_JSON, ACCESS_RECORD_MAX);
    char text[256];
    assert_valid(got, FORMAT_JSON);
    size_t n = json_unescape(json_member(got, "host"), text, sizeof text);
    assert_true(slice_eq(slice_from(text, n), r.host));
    /* The byte that is no UTF-8 comes as the character of its number. */
    struct slice want = SLICE("/x\"}\n{\"time\":\"\\\r\x1b[31m\x7f \xc3\xbf\xc3\xa9\xe2\x80\xa8");
    n = json_unescape(json_member(got, "path"), text, sizeof text);
    assert_true(slice_eq(slice_from(text, n), want));
    free((char *)got.p);
    got = print(&r, FORMAT_TEXT, ACCESS_RECORD_MAX);
    assert_valid(got, FORMAT_TEXT);
    size_t quotes = 0, words = 1;
    for (size_t i = 0; i < got.n; i++) quotes += got.p[i] == '"', words += got.p[i] == ' ';
    assert_int_equal(quotes, 2);
    assert_int_equal(words, 22); /* as in sample_text */
    free((char *)got.p);
}

static bool ends_in_ellipsis(struct slice s) {
    return slice_has_suffix(s, SLICE("\xe2\x80\xa6")) || slice_has_suffix(s, SLICE("\xe2\x80\xa6\""));
}

/* Every size of buffer down to none, and long strings of each kind. */
static void test_tight(void **state) {
    (void)state;
    static char plain[20000], hostile[20000], wide[20001];
    memset(plain, 'p', sizeof plain);
    memset(hostile, 1, sizeof hostile);
    for (size_t i = 0; i + 3 <= sizeof wide; i += 3) memcpy(wide + i, "\xe2\x82\xac", 3);
    const struct slice strings[] = {slice_from(plain, sizeof plain), slice_from(hostile, sizeof hostile),
                                    slice_from(wide, sizeof wide), SLICE("/")};
    for (size_t i = 0; i < LG_COUNT(strings) * LG_COUNT(strings) * 2; i++) {
        struct access_record r = sample();
        enum log_format format = i % 2 ? FORMAT_TEXT : FORMAT_JSON;
        r.path = strings[i / 2 % LG_COUNT(strings)];
        r.host = r.traceparent = r.method = strings[i / 2 / LG_COUNT(strings)];
        bool fitted = false;
        for (size_t room = 0; room < 1400; room++) {
            struct slice got = print(&r, format, room);
            if (got.n) assert_valid(got, format);
            assert_true(got.n || !fitted); /* what fits a small buffer fits every larger one */
            fitted = got.n > 0;
            if (got.n && format == FORMAT_JSON && r.path.n > 1) assert_true(ends_in_ellipsis(json_member(got, "path")));
            free((char *)got.p);
        }
        assert_true(fitted);
    }
}

static void test_cut(void **state) {
    (void)state;
    static char path[100000];
    memset(path, 'a', sizeof path);
    struct access_record r = sample();
    r.path = slice_from(path, sizeof path);
    struct slice got = print(&r, FORMAT_JSON, ACCESS_RECORD_MAX), member = json_member(got, "path");
    assert_valid(got, FORMAT_JSON);
    assert_true(member.n > 6000); /* the room is used */
    assert_true(ends_in_ellipsis(member));
    assert_true(slice_is(json_member(got, "host"), "\"example.com\""));
    assert_int_equal(json_member(got, "traceparent").n, r.traceparent.n + 2);
    free((char *)got.p);
    /* The longest that is not cut, and one more. */
    r.path.n = 7000;
    got = print(&r, FORMAT_JSON, ACCESS_RECORD_MAX);
    assert_int_equal(json_member(got, "path").n, 7002);
    size_t least = got.n + 16;
    free((char *)got.p);
    got = print(&r, FORMAT_JSON, least);
    assert_int_equal(json_member(got, "path").n, 7002);
    free((char *)got.p);
    got = print(&r, FORMAT_JSON, least - 17);
    assert_true(json_member(got, "path").n < 7002 && ends_in_ellipsis(json_member(got, "path")));
    free((char *)got.p);
}

/* The last field of the record: hardly anything behind it would notice that a character is missing. */
static void test_cut_at_the_end(void **state) {
    (void)state;
    static char hostile[100];
    memset(hostile, 1, sizeof hostile);
    for (size_t room = 400; room < 1400; room++) {
        struct access_record r = sample();
        r.traceparent = slice_from(hostile, sizeof hostile);
        struct slice got = print(&r, FORMAT_JSON, room), member = json_member(got, "traceparent");
        assert_true(got.n == 0 || member.n == 602 || ends_in_ellipsis(member));
        free((char *)got.p);
        got = print(&r, FORMAT_TEXT, room);
        assert_true(got.n == 0 || slice_has_suffix(got, SLICE("\xe2\x80\xa6\n")) ||
                    got.n == sizeof sample_text - 1 - 55 + 400);
        free((char *)got.p);
    }
}

static struct slice random_bytes(struct random *r, char *at, uint32_t max) {
    uint32_t n = random_below(r, max), style = random_below(r, 3);
    for (uint32_t i = 0; i < n; i++)
        at[i] = (char)(style == 0 ? random_next(r) : style == 1 ? 'a' + random_below(r, 26) : random_below(r, 40));
    return slice_from(at, n);
}

static void test_random(void **state) {
    (void)state;
    struct random rnd = {99};
    static char bytes[6][3000];
    for (int i = 0; i < 4000; i++) {
        struct access_record r = sample();
        enum log_format format = i % 2 ? FORMAT_TEXT : FORMAT_JSON;
        r.id = random_bytes(&rnd, bytes[0], 64);
        r.method = random_bytes(&rnd, bytes[1], random_once_in(&rnd, 5) ? 3000 : 9);
        r.host = random_bytes(&rnd, bytes[2], random_once_in(&rnd, 3) ? 3000 : 30);
        r.path = random_bytes(&rnd, bytes[3], 3000);
        r.tls = random_bytes(&rnd, bytes[4], 10);
        r.traceparent = random_bytes(&rnd, bytes[5], random_once_in(&rnd, 3) ? 3000 : 60);
        r.cause = (enum failure)random_below(&rnd, FAILURE_COUNT);
        r.total_us = random_once_in(&rnd, 9) ? ACCESS_NONE : random_next(&rnd) >> random_below(&rnd, 64);
        r.status = random_below(&rnd, 600);
        struct slice got = print(&r, format, 1600 + random_below(&rnd, ACCESS_RECORD_MAX - 1600));
        assert_valid(got, format);
        free((char *)got.p);
    }
}

/* Through the log, into a file. */
static void test_write(void **state) {
    (void)state;
    char path[] = "/tmp/lg-access-XXXXXX", got[4096] = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct error e;
    struct access_record r = sample();
    log_init(64);
    struct log_sink *sink = log_open(LOG_TO_FILE, path, &e);
    assert_non_null(sink);
    access_record_write(&r, sink, FORMAT_JSON);
    access_record_write(&r, sink, FORMAT_TEXT);
    log_flush();
    log_thread_end();
    log_fini(5000);
    ssize_t n = read(fd, got, sizeof got - 1);
    close(fd);
    unlink(path);
    assert_int_equal(n, sizeof sample_json - 1 + sizeof sample_text - 1);
    assert_memory_equal(got, sample_json, sizeof sample_json - 1);
    assert_string_equal(got + sizeof sample_json - 1, sample_text);
}

static void test_checker(void **state) {
    (void)state;
    const struct slice good[] = {SLICE(" {\"a\":[1,-0.5e+3,\"\\u00e9\\ud83d\\ude00\"],\"b\":{}}\n"), SLICE("null"),
                                 SLICE("\"\xf0\x9f\x98\x80\""), SLICE("[]")};
    const struct slice bad[] = {SLICE(""),
                                SLICE("{\"a\":1,}"),
                                SLICE("[1 2]"),
                                SLICE("01"),
                                SLICE("\"\n\""),
                                SLICE("\"\\x\""),
                                SLICE("\"\xff\""),
                                SLICE("\"\xc0\x80\""),
                                SLICE("{\"a\":1"),
                                SLICE("{} {}"),
                                SLICE("1."),
                                SLICE("{a:1}"),
                                SLICE("\"\\ud800\""),
                                SLICE("\"\xed\xa0\x80\""),
                                SLICE("{\"a\":1,\"a\":2}")};
    for (size_t i = 0; i < LG_COUNT(good); i++) assert_true(json_is_valid(good[i]));
    for (size_t i = 0; i < LG_COUNT(bad); i++) assert_false(json_is_valid(bad[i]));
}

static void test_speed(void **state) {
    (void)state;
    struct access_record r = sample();
    char at[ACCESS_RECORD_MAX];
    double best = 1;
    for (int round = 0; round < 5; round++) {
        struct timespec a, b;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        for (int i = 0; i < 5000; i++) {
            r.unix_us += 37;
            r.bytes_out += 11;
            assert_true(access_record_print(&r, FORMAT_JSON, at, at + sizeof at) > at);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        double each = ((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9) / 5000;
        if (each < best) best = each;
    }
    print_message("a record: %.0f ns\n", best * 1e9);
    assert_true(best < 2e-5); /* loose: sanitizers and busy machines too */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),          cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_too_many_tries), cmocka_unit_test(test_forged),
        cmocka_unit_test(test_tight),          cmocka_unit_test(test_cut),
        cmocka_unit_test(test_cut_at_the_end), cmocka_unit_test(test_random),
        cmocka_unit_test(test_write),          cmocka_unit_test(test_checker),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
