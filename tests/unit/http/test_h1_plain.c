/* test_h1_plain.c: the two ways to read a head give the same account. A head in one piece is read at once where nothing
 * in it is unusual; byte by byte it goes through the scanner and llhttp, which so are the judge of all that is here. */
#include "h1_play.h"

#include "../../support/random.h"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

enum { HEADS = 6000, TEXT_MAX = 4096, LINE_BYTES_MAX = 40 };

static struct random draw = {20240427};
static char text[TEXT_MAX];
static size_t text_size;

static void text_add(struct slice more) {
    assert_true(text_size + more.n <= sizeof text);
    if (more.n) memcpy(text + text_size, more.p, more.n);
    text_size += more.n;
}

static void text_puts(const char *more) {
    text_add(slice_of(more));
}

static const struct h1_play *play(struct h1_play *p, enum h1_role role, size_t piece) {
    *p = (struct h1_play){.role = role, .limits = {.head_bytes = 2048, .field_count = 24, .uri_bytes = 100}};
    p->asked = METHOD_GET;
    h1_play(p, slice_from(text, text_size), piece, piece);
    return p;
}

/* Plays the text both ways; whether a head came of it. */
static bool both_ways(enum h1_role role) {
    static struct h1_play at_once, by_bytes;
    play(&at_once, role, 0);
    play(&by_bytes, role, 1);
    if (strcmp(at_once.full, by_bytes.full) != 0)
        fail_msg("%.*s\nat once:\n%s\nbyte by byte:\n%s", (int)text_size, text, at_once.full, by_bytes.full);
    return at_once.heads > 0;
}

/* --- one odd byte: every byte at every place of a name and of a value, so that each step of the search sees it */

static bool line_passes(const char *before, unsigned char odd, size_t place, size_t size, const char *behind) {
    text_size = 0;
    text_puts("GET / HTTP/1.1\r\nHost: h\r\n");
    text_puts(before);
    size_t at = text_size + place;
    while (size-- > 0) text_puts("~");
    text[at] = (char)odd;
    text_puts(behind);
    text_puts("\r\n\r\n");
    return both_ways(H1_READS_REQUESTS);
}

static void test_every_byte_in_a_value(void **state) {
    (void)state;
    for (size_t size = 1; size <= LINE_BYTES_MAX; size += size < 10 ? 1 : 5)
        for (size_t place = 0; place < size; place++)
            for (unsigned c = 0; c < 256; c++) {
                bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
                assert_int_equal(line_passes("X: ", (unsigned char)c, place, size, ""), !is_control);
            }
}

static void test_every_byte_in_a_name(void **state) {
    (void)state;
    for (size_t place = 0; place < 4; place++)
        for (unsigned c = 0; c < 256; c++) {
            const char byte = (char)c;
            bool is_fine = slice_is_token(slice_from(&byte, 1)) || (c == ':' && place > 0);
            assert_int_equal(line_passes("", (unsigned char)c, place, 4, ": v"), is_fine);
        }
}

/* --- generated heads */

struct words {
    const char *const *v;
    uint32_t count;
};
#define WORDS(...) \
    { (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *) }

static const struct words starts[] = {
    [H1_READS_REQUESTS] = WORDS("GET / HTTP/1.1", "POST /a?b HTTP/1.1", "GET http://a/b HTTP/1.1", "PUT /x HTTP/1.0"),
    [H1_READS_RESPONSES] =
        WORDS("HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204 None", "HTTP/1.1 304", "HTTP/1.1 404 "),
};
static const struct words names =
    WORDS("Host", "host", "Content-Length", "content-length", "Connection", "Upgrade", "Transfer-Encoding", "TE",
          "Expect", "Keep-Alive", "Trailer", "Cookie", "X-A", "User-Agent", "Accept", "X-Forwarded-For",
          "proxy-connection", "!#$%&'*+-.^_`|~");
static const struct words values =
    WORDS("h", "a:80", "5", "05", "0", "", "chunked", "Chunked", "gzip, chunked", "close", "keep-alive", "Upgrade, TE",
          "websocket", "100-continue", "trailers", "5, 5", "+5", "18446744073709551616", "\xff~\xff~",
          "\"quoted: text\"", "a b  c", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)");
static const struct words spaces = WORDS("", " ", "  ", "\t", " \t ");
static const struct words bodies = WORDS("", "hello", "5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n");

static const char *one_of(const struct words *w) {
    return w->v[random_below(&draw, w->count)];
}

/* What most of them are: "Name: value". */
static void add_field(void) {
    const char *before = random_once_in(&draw, 8) ? one_of(&spaces) : " ";
    text_puts(one_of(&names));
    if (random_once_in(&draw, 200)) text_puts(one_of(&spaces));
    text_puts(":");
    text_puts(before);
    text_puts(one_of(&values));
    if (random_once_in(&draw, 8)) text_puts(one_of(&spaces));
    text_puts("\r\n");
    if (random_once_in(&draw, 200)) text_puts(one_of(&spaces));
}

static void change_a_byte(void) {
    static const char odd[] = "\r\n\t :;,\0\x7f\x80\xff=\"0aZ_";
    text[random_below(&draw, (uint32_t)text_size)] = odd[random_below(&draw, sizeof odd - 1)];
}

static void make_head(enum h1_role role) {
    text_size = 0;
    text_puts(one_of(&starts[role]));
    text_puts("\r\n");
    if (role == H1_READS_REQUESTS && !random_once_in(&draw, 8)) text_puts("Host: a.example\r\n");
    for (uint32_t fields = random_below(&draw, 6); fields > 0; fields--) add_field();
    text_puts("\r\n");
    if (random_once_in(&draw, 4)) change_a_byte();
    text_puts(one_of(&bodies));
}

static void generated(enum h1_role role) {
    unsigned heads = 0;
    for (unsigned i = 0; i < HEADS; i++) {
        make_head(role);
        heads += both_ways(role);
    }
    assert_in_range(heads, HEADS / 10, HEADS * 9 / 10); /* there was something to see of either sort */
}

static void test_generated_requests(void **state) {
    (void)state;
    generated(H1_READS_REQUESTS);
}

static void test_generated_responses(void **state) {
    (void)state;
    generated(H1_READS_RESPONSES);
}

/* --- heads as browsers send them */

static void test_browsers(void **state) {
    (void)state;
    static const char *const files[] = {"curl", "chrome", "firefox"};
    for (size_t i = 0; i < LG_COUNT(files); i++) {
        char path[64];
        snprintf(path, sizeof path, "tests/bench/heads/%s", files[i]);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        text_size = fread(text, 1, sizeof text, file);
        fclose(file);
        assert_true(both_ways(H1_READS_REQUESTS));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_byte_in_a_value),
        cmocka_unit_test(test_every_byte_in_a_name),
        cmocka_unit_test(test_generated_requests),
        cmocka_unit_test(test_generated_responses),
        cmocka_unit_test(test_browsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
