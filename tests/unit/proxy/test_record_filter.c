/* test_record_filter.c: expressions over records: each field and operator, precedence, nulls, errors, garbage. */
#include "loomgate/proxy/record_filter.h"

#include "../../support/addr_make.h"
#include "../../support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct addr client, nobody;
static struct record_filter_scratch *scratch;

static int set_up(void **state) {
    (void)state;
    scratch = record_filter_scratch_new();
    client = addr_make_ip("192.0.2.1", 51234);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    record_filter_scratch_free(scratch);
    return 0;
}

/* One of which everything is known. */
static struct access_record full(void) {
    return (struct access_record){
        .id = SLICE("01941f29-7c00"),
        .frontend = "web",
        .route = "api",
        .backend = "app",
        .server = "a2",
        .client = &client,
        .method = SLICE("GET"),
        .host = SLICE("example.com"),
        .path = SLICE("/v1/users?x=\"1\""),
        .protocol = "HTTP/1.1",
        .status = 502,
        .cause = FAILURE_connect_failed,
        .bytes_in = 120,
        .bytes_out = 16384,
        .queue_us = 0,
        .connect_us = 210,
        .first_byte_us = 1200,
        .total_us = 200000,
        .try_count = 2,
        .reused = true,
        .tls = SLICE("TLSv1.3"),
        .traceparent = SLICE("00-4bf9-00f0-01"),
    };
}

/* One of which nothing is known. */
static struct access_record empty(void) {
    return (struct access_record){.bytes_in = ACCESS_NONE,
                                  .bytes_out = ACCESS_NONE,
                                  .queue_us = ACCESS_NONE,
                                  .connect_us = ACCESS_NONE,
                                  .first_byte_us = ACCESS_NONE,
                                  .total_us = ACCESS_NONE,
                                  .client = &nobody};
}

static struct record_filter *compile(const char *text) {
    struct error e;
    struct record_filter *f = record_filter_compile(slice_of(text), NULL, &e);
    if (!f) fail_msg("%s\n%s", text, e.text);
    return f;
}

static bool holds_for(const char *text, const struct access_record *r) {
    struct record_filter *f = compile(text);
    bool holds = record_filter_matches(f, scratch, r);
    record_filter_free(f);
    return holds;
}

static void assert_holds(const char *text, const struct access_record *r, bool wanted) {
    if (holds_for(text, r) != wanted) fail_msg("%s: not %s", text, wanted ? "true" : "false");
}

/* --- terms ------------------------------------------------------------------------------------------------------ */

static void each_field_and_operator(void **state) {
    static const char *const is_true[] = {
        "status==502",
        "status!=503",
        "status<503",
        "status<=502",
        "status>501",
        "status>=502",
        "status==\"502\"",
        "backend==app",
        "backend!=api",
        "backend~p+$",
        "server==a2",
        "server==\"a2\"",
        "server~^a[0-9]$",
        "frontend==web",
        "route==api",
        "route~\"^(api|web)$\"",
        "method==GET",
        "method!=POST",
        "host==example.com",
        "host~\"(?i)^EXAMPLE\\.\"",
        "path==\"/v1/users?x=\\\"1\\\"\"",
        "path~^/v1",
        "path~\"^/v1/\\w+\\?x\"",
        "protocol==HTTP/1.1",
        "protocol!=tcp",
        "tls==TLSv1.3",
        "id==01941f29-7c00",
        "traceparent~^00-",
        "cause==connect_failed",
        "cause!=ok",
        "cause~^connect",
        "blame==server",
        "blame!=client",
        "blame~serv",
        "bytes_in==120",
        "bytes_in<4096",
        "bytes_out>=16KiB",
        "bytes_out==16384B",
        "bytes_out!=16KB",
        "queue==0",
        "queue<1us",
        "connect==210us",
        "connect<1ms",
        "first_byte>1ms",
        "first_byte==1ms200us",
        "total==200ms",
        "total>=200ms",
        "total<1h",
        "total>1ms999us",
        "queue_ms==0",
        "connect_ms==0.21",
        "connect_ms==0.210",
        "connect_ms>0.2",
        "first_byte_ms<=1.2",
        "total_ms==200",
        "total_ms==200ms",
        "total_ms>199.999",
        "total_ms<1s",
        "tries==2",
        "tries>1",
        "reused==true",
        "reused!=false",
        "reused",
        "client==192.0.2.1",
        "client==192.0.2.1:51234",
        "client==192.0.2.0/24",
        "client!=10.0.0.0/8",
        "client!=192.0.2.1:51235",
        "client!=::/0",
        "client~\"^192\\.0\\.2\\.1:\"",
        "client!=unix:",
        "status != 503",
        "  status\t>=  500 ",
    };
    static const char *const is_false[] = {
        "status==503",       "status!=502",
        "status<502",        "status<=501",
        "status>502",        "status>=503",
        "backend==App",      "backend~^p",
        "server!=a2",        "path~/v2",
        "path==/v1/users",   "cause==ok",
        "blame==client",     "bytes_in>=121",
        "bytes_out<16KiB",   "connect_ms>0.21",
        "total>200ms",       "total<200ms",
        "tries<2",           "reused==false",
        "client==192.0.2.2", "client!=192.0.2.0/24",
        "client==unix:",     "client==[::1]:51234",
        "host~EXAMPLE",
    };
    (void)state;
    struct access_record r = full();
    for (size_t i = 0; i < LG_COUNT(is_true); i++) assert_holds(is_true[i], &r, true);
    for (size_t i = 0; i < LG_COUNT(is_false); i++) assert_holds(is_false[i], &r, false);
}

static const char *const may_be_null[] = {
    "status", "backend",  "server",     "frontend",      "route",     "client", "method",      "host",
    "path",   "protocol", "blame",      "bytes_in",      "bytes_out", "queue",  "connect",     "first_byte",
    "total",  "queue_ms", "connect_ms", "first_byte_ms", "total_ms",  "tls",    "traceparent", "id",
};

static void what_is_missing(void **state) {
    static const char *const is_true[] = {
        "status!=500",
        "backend!=app",
        "client!=10.0.0.0/8",
        "client!=10.0.0.1:80",
        "bytes_in!=0",
        "total!=0",
        "total_ms!=1",
        "blame!=server",
        "cause==ok",
        "tries==0",
        "not reused",
        "not total>1ms",
        "cause==null or cause!=null",
        "tries!=null",
        "reused!=null",
    };
    static const char *const is_false[] = {
        "status==500",   "status<500",        "status>=0",   "backend==app", "backend~a",
        "backend~\"^\"", "client==0.0.0.0/0", "client~.",    "bytes_in<1",   "bytes_out>=0",
        "queue>=0",      "connect<1h",        "total>=0",    "total_ms<=1",  "blame==server",
        "blame~.",       "cause==null",       "tries==null", "reused==null", "reused",
    };
    (void)state;
    struct access_record some = full(), none = empty();
    char text[64];
    for (size_t i = 0; i < LG_COUNT(may_be_null); i++) {
        snprintf(text, sizeof text, "%s==null", may_be_null[i]);
        assert_holds(text, &none, true);
        assert_holds(text, &some, false);
        snprintf(text, sizeof text, "%s!=null", may_be_null[i]);
        assert_holds(text, &none, false);
        assert_holds(text, &some, true);
    }
    for (size_t i = 0; i < LG_COUNT(is_true); i++) assert_holds(is_true[i], &none, true);
    for (size_t i = 0; i < LG_COUNT(is_false); i++) assert_holds(is_false[i], &none, false);
    none.client = NULL;
    assert_holds("client==null", &none, true);
    assert_holds("client!=10.0.0.1", &none, true);
    some.server = "null";
    assert_holds("server==null", &some, false);
    assert_holds("server==\"null\"", &some, true);
}

/* Clients of other families, and IPv4 ones that came by an IPv6 socket. */
static void clients(void **state) {
    (void)state;
    struct access_record r = full();
    client = addr_make_ip("2001:db8::1", 80);
    assert_holds("client==[2001:db8::1]:80", &r, true);
    assert_holds("client==2001:db8::/32", &r, true);
    assert_holds("client==0.0.0.0/0", &r, false);
    assert_holds("client~\"^\\[2001:\"", &r, true);
    client = addr_make_ip("::ffff:10.1.2.3", 80);
    assert_holds("client==10.1.2.3", &r, true);
    assert_holds("client==10.1.2.3:80", &r, true);
    client = addr_make_unix("");
    assert_holds("client==unix:", &r, true);
    assert_holds("client==10.0.0.0/8", &r, false);
    assert_holds("client~unix", &r, true);
}

/* --- and, or, not ----------------------------------------------------------------------------------------------- */

/* All ways for three facts to be, against what C makes of the same expression. */
static void precedence(void **state) {
    (void)state;
#define and &&
#define or ||
#define not !
#define ROW(expression) \
    { #expression, expression } /* the text keeps the words, the value gets C's */
    for (int facts = 0; facts < 8; facts++) {
        const bool A = facts & 1, B = facts & 2, C = facts & 4;
        const struct {
            const char *text;
            bool wanted;
        } rows[] = {
            ROW(A),
            ROW(not A),
            ROW(not not A),
            ROW(A and B),
            ROW(A or B),
            ROW(A and B and C),
            ROW(A or B or C),
            {"A or B and C", A || (B && C)},
            {"A and B or C", (A && B) || C},
            {"not A and B", !A && B},
            {"not A or B and not C", !A || (B && !C)},
            ROW((A or B) and C),
            ROW(A and (B or C)),
            ROW(not(A or B)),
            ROW(not(A and B)),
            ROW(not(A and not(B or C))),
            ROW(((A)) and (not(not(B)))),
            ROW(not(not(A or B) and C)),
            ROW((A and B) or (not A and C)),
            ROW(not(A and B) and not(A and C) and (B or C)),
        };
#undef and
#undef or
#undef not
#undef ROW
        struct access_record r = full();
        r.reused = A;
        r.tls = B ? SLICE("TLSv1.3") : SLICE("");
        r.status = C ? 200 : 500;
        for (size_t i = 0; i < LG_COUNT(rows); i++) {
            char text[512], *to = text;
            for (const char *p = rows[i].text; *p; p++) {
                const char *term = *p == 'A' ? "reused" : *p == 'B' ? "tls!=null" : *p == 'C' ? "status==200" : NULL;
                to += term ? sprintf(to, "%s", term) : sprintf(to, "%c", *p);
            }
            assert_holds(text, &r, rows[i].wanted);
        }
    }
}

/* As a shell hands over what was one word there. */
static void an_expression_in_quotes(void **state) {
    (void)state;
    struct access_record r = full();
    assert_holds("\"status==502\"", &r, true);
    assert_holds("\"status==502 and path~\\\"^/v1\\\"\"", &r, true);
    assert_holds("status==502 and \"tries>5 or tries==2\"", &r, true);
    assert_holds("not \"tries>5 or tries==2\" or \"reused\"", &r, true);
    assert_holds("not \"tries>5 or tries==2\" and reused", &r, false);
}

static void the_largest(void **state) {
    (void)state;
    struct access_record r = full();
    char text[FILTER_TEXT_MAX + 8];
    size_t n = (size_t)sprintf(text, "tries==9");
    for (int i = 1; i < FILTER_TERMS_MAX - 1; i++) n += (size_t)sprintf(text + n, " or tries==%d", 9 + i);
    strcpy(text + n, " or tries==2");
    assert_holds(text, &r, true);
    r.try_count = 3;
    assert_holds(text, &r, false);
    n = 0;
    for (int i = 0; i < FILTER_DEPTH_MAX; i++) n += (size_t)sprintf(text + n, "not(");
    n += (size_t)sprintf(text + n, "reused");
    for (int i = 0; i < FILTER_DEPTH_MAX; i++) n += (size_t)sprintf(text + n, ")");
    assert_holds(text, &r, true);
    n = (size_t)sprintf(text, "path!=");
    memset(text + n, 'a', FILTER_TEXT_MAX - n);
    text[FILTER_TEXT_MAX] = '\0';
    assert_holds(text, &r, true);
}

/* --- what may follow -------------------------------------------------------------------------------------------- */

static void the_rest_is_somebody_elses(void **state) {
    static const struct {
        const char *text, *rest;
    } rows[] = {
        {"status>=500 sample 10/s count 5", "sample 10/s count 5"},
        {"status>=500 and reused count 5", "count 5"},
        {"(status>=500 or reused)json", "json"},
        {"reused  json", "json"},
        {"path==\"a b\" \"json\"", "\"json\""},
        {"\"reused or tries>1\" count 5", "count 5"},
        {"status>=500", ""},
        {"status>=500  ", ""},
    };
    (void)state;
    struct error e;
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        size_t used = 0;
        struct record_filter *f = record_filter_compile(slice_of(rows[i].text), &used, &e);
        if (!f) fail_msg("%s\n%s", rows[i].text, e.text);
        assert_string_equal(rows[i].text + used, rows[i].rest);
        record_filter_free(f);
    }
}

/* --- errors ----------------------------------------------------------------------------------------------------- */

static void assert_error(const char *text, const char *wanted) {
    struct error e = {""};
    struct record_filter *f = record_filter_compile(slice_of(text), NULL, &e);
    record_filter_free(f);
    if (f) fail_msg("%s: is valid", text);
    if (!strstr(e.text, wanted)) fail_msg("%s\n%s\nnot %s", text, e.text, wanted);
    assert_int_equal(strncmp(e.text, "column ", 7), 0);
}

static void errors_say_where_and_what(void **state) {
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"", "column 1: a comparison is expected here, such as status>=500"},
        {"   ", "column 4: a comparison is expected here"},
        {"()", "column 2: a comparison is expected, such as status>=500, not ')'"},
        {"status>=high", "column 9: a number is expected after 'status>=', not 'high'"},
        {"status>=", "column 9: a number is expected after 'status>='"},
        {"status>=(", "column 9: a number is expected after 'status>='"},
        {"status>=-1", "a number is expected after 'status>=', not '-1'"},
        {"status==0500", "a number is expected"},
        {"status==18446744073709551615", "a number is expected"},
        {"status==99999999999999999999999", "a number is expected"},
        {"status", "column 7: an operator is expected after 'status': one of == != < <= > >="},
        {"status and reused", "column 8: an operator is expected after 'status'"},
        {"stauts==500", "column 1: no field is called 'stauts': did you mean 'status'?"},
        {"reused and zzz==1",
         "column 12: no field is called 'zzz': there are status, backend, server, frontend, route,"
         " client, method, host, path, protocol, cause, blame, bytes_in, bytes_out, queue, connect,"
         " first_byte, total, queue_ms, connect_ms, first_byte_ms, total_ms, tries, reused, tls,"
         " traceparent, id"},
        {"status=500", "column 7: '=' is no operator: write =="},
        {"status=~5", "column 7: '=' is no operator: write == or =~ as == and ~"},
        {"!reused", "column 1: '!' is no operator: write != or not"},
        {"status~5", "column 7: '~' does not go with 'status', which takes == != < <= > >="},
        {"path>=a", "column 5: '>=' does not go with 'path', which takes == != ~"},
        {"reused<true", "'<' does not go with 'reused', which takes == !="},
        {"reused==1", "true or false is expected after 'reused==', not '1'"},
        {"total>200", "column 7: a duration such as 200ms or 2s is expected after 'total>', not '200'"},
        {"total>0.5s", "a duration such as 200ms"},
        {"total_ms>x", "a number of milliseconds, or a duration such as 200ms, is expected after 'total_ms>', not 'x'"},
        {"total_ms>0.1234", "a number of milliseconds"},
        {"total_ms>0.", "a number of milliseconds"},
        {"bytes_in>16k", "a size such as 4096 or 16KiB is expected after 'bytes_in>', not '16k'"},
        {"cause==conect_failed", "ok or the name of a failure is expected after 'cause==', not 'conect_failed'"},
        {"blame==me", "client, gateway or server is expected"},
        {"client==here", "an address or a network such as 10.0.0.0/8 is expected after 'client==', not 'here'"},
        {"client==10.0.0.1/8", "an address or a network"},
        {"client==localhost:80", "an address or a network"},
        {"client==10.0.0.1:99999", "an address or a network"},
        {"path==\"\"", "column 7: there are no empty texts: write path==null"},
        {"path!=\"\"", "write path!=null"},
        {"path==", "column 7: a text is expected after 'path=='"},
        {"backend== and reused", "column 11: a text is expected after 'backend=='"},
        {"total>null", "column 7: null goes with == and != only"},
        {"path~null", "null goes with == and != only"},
        {"path~\"a(b\"", "column 6: the regular expression is wrong at its character 3: missing closing parenthesis"},
        {"path~*", "the regular expression is wrong at its character 1: quantifier does not follow"},
        {"path~\"(*UTF)a\"", "the regular expression is wrong"},
        {"path~", "a regular expression is expected after 'path~'"},
        {"\"\"", "column 1: a comparison is expected here"},
        {"reused and \"status>=high\"", "column 9: a number is expected after 'status>=', not 'high'"},
        {"\"reused json\"", "column 8: 'and', 'or' or the end is expected, not 'json'"},
        {"\"(reused\")", "column 1: the parenthesis is not closed"},
        {"path==\"abc", "column 7: the quote is not closed"},
        {"path==\"abc\\\"", "column 7: the quote is not closed"},
        {"(reused", "column 1: the parenthesis is not closed"},
        {"reused and (tries>1 or (reused)", "column 12: the parenthesis is not closed"},
        {"(reused tries>1)", "column 9: 'and', 'or' or ')' is expected, not 'tries'"},
        {"reused)", "column 7: there is no '(' for this ')'"},
        {"reused and", "column 11: a comparison is expected here"},
        {"reused or or reused", "column 11: a comparison is expected, such as status>=500, not 'or'"},
        {"and reused", "column 1: a comparison is expected, such as status>=500, not 'and'"},
        {"not", "column 4: a comparison is expected here"},
        {"reused not reused", "column 8: 'and', 'or' or the end is expected, not 'not'"},
        {"reused tries>1", "column 8: 'and', 'or' or the end is expected, not 'tries'"},
        {"reused && reused", "column 8: write 'and' for '&&'"},
        {"reused || reused", "column 8: write 'or' for '||'"},
        {"500<=status", "column 1: no field is called '500'"},
        {"status>=500\x01", "column 12: a control character"},
        {"path==\"\xc3\xa4\xc3\xa4\" and x==1", "column 16: no field is called 'x'"},
        {"path\x1b", "a control character"},
        {"tries==\"\x1b[31m\"", "a number is expected after 'tries==', not '\"?[31m\"'"},
    };
    (void)state;
    for (size_t i = 0; i < LG_COUNT(rows); i++) assert_error(rows[i].text, rows[i].wanted);
}

static void limits(void **state) {
    (void)state;
    char text[FILTER_TEXT_MAX + 8], wanted[64];
    memset(text, ' ', sizeof text);
    memcpy(text, "reused", 6);
    text[FILTER_TEXT_MAX + 1] = '\0';
    assert_error(text, "an expression has at most 4096 bytes");

    size_t n = (size_t)sprintf(text, "reused");
    for (int i = 0; i < FILTER_TERMS_MAX; i++) n += (size_t)sprintf(text + n, " and reused");
    snprintf(wanted, sizeof wanted, "column %zu: an expression has at most 64 comparisons", n - 5);
    assert_error(text, wanted);

    memset(text, '(', FILTER_DEPTH_MAX + 1);
    strcpy(text + FILTER_DEPTH_MAX + 1, "reused");
    assert_error(text, "column 33: parentheses are nested more than 32 deep");
    memset(text, '(', FILTER_TEXT_MAX);
    text[FILTER_TEXT_MAX] = '\0';
    assert_error(text, "nested more than 32 deep");

    n = (size_t)sprintf(text, "path~");
    memset(text + n, 'a', FILTER_REGEX_MAX + 1);
    text[n + FILTER_REGEX_MAX + 1] = '\0';
    assert_error(text, "column 6: a regular expression has at most 1024 bytes");

    /* What is shown of it is cut, at a whole character. */
    n = (size_t)sprintf(text, "status==");
    memset(text + n, 'a', 59);
    strcpy(text + n + 59, "\xc3\xa4");
    char cut[96] = "not '";
    memcpy(cut + 5, text + n, 59);
    strcat(cut, "...'");
    assert_error(text, cut);
}

/* A regular expression that would take for ever is given up, and the next record is looked at as always. */
static void a_hopeless_regular_expression(void **state) {
    (void)state;
    static char path[8192];
    struct access_record r = full();
    struct record_filter *f = compile("path~\"^(a+)+$\"");
    memset(path, 'a', sizeof path);
    r.path = slice_from(path, sizeof path);
    assert_true(record_filter_matches(f, scratch, &r));
    path[sizeof path - 1] = '!';
    assert_false(record_filter_matches(f, scratch, &r));
    r.path = SLICE("aaa");
    assert_true(record_filter_matches(f, scratch, &r));
    record_filter_free(f);
}

/* --- garbage ---------------------------------------------------------------------------------------------------- */

/* Pieces of expressions in any order: valid or refused, and then with a column; not (E) is never E. */
static void any_sequence_of_pieces(void **state) {
    static const char *const pieces[] = {
        "status", "==",     "!=",         "<",    ">=",       "~",     "500",   "and",      "or",
        "not",    "(",      ")",          "path", "\"^/v1\"", "null",  "total", "200ms",    "reused",
        "true",   "client", "10.0.0.0/8", "\"",   "\\",       "cause", "ok",    "bytes_in", "4KiB",
        "!",      "=",      "backend",    "app",  "total_ms", "0.5",   "\xff",  "(a",       "[a-z]+",
    };
    (void)state;
    struct random random = {20260131};
    struct access_record some = full(), none = empty();
    unsigned valid = 0;
    for (int round = 0; round < 60000; round++) {
        char text[256] = "not (", *inner = text + 5;
        size_t n = 5;
        for (uint32_t k = random_below(&random, 9) + 1; k > 0; k--)
            n += (size_t)sprintf(text + n, "%s%s", pieces[random_below(&random, LG_COUNT(pieces))],
                                 random_once_in(&random, 3) ? "" : " ");
        struct error e = {""};
        struct record_filter *f = record_filter_compile(slice_of(inner), NULL, &e);
        if (!f) {
            assert_int_equal(strncmp(e.text, "column ", 7), 0);
            continue;
        }
        valid++;
        strcpy(text + n, ")");
        assert_int_equal(record_filter_matches(f, scratch, &some), !holds_for(text, &some));
        assert_int_equal(record_filter_matches(f, scratch, &none), !holds_for(text, &none));
        record_filter_free(f);
    }
    assert_true(valid > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(each_field_and_operator),
        TEST(what_is_missing),
        TEST(clients),
        TEST(precedence),
        TEST(an_expression_in_quotes),
        TEST(the_largest),
        TEST(the_rest_is_somebody_elses),
        TEST(errors_say_where_and_what),
        TEST(limits),
        TEST(a_hopeless_regular_expression),
        TEST(any_sequence_of_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
