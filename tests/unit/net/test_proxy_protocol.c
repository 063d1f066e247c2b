/* test_proxy_protocol.c: both versions read (whole, cut, byte by byte, broken) and written. */
#include "loomgate/net/proxy_protocol.h"

#include "../../support/addr_make.h"
#include "../../support/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct parsed {
    enum proxy_parse answer;
    size_t used;
    bool has_addr;
    char client[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];
};

/* From a heap copy of exact size, so that AddressSanitizer sees a read past the end. */
static struct parsed parse(const char *bytes, size_t n) {
    struct parsed p = {.used = SIZE_MAX, .has_addr = true};
    struct addr client = {0}, local = {0};
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    p.answer = proxy_parse(slice_from(copy, n), &p.used, &p.has_addr, &client, &local);
    free(copy);
    addr_print(&client, p.client);
    addr_print(&local, p.local);
    return p;
}

/* Every shorter input wants more; the whole is done, also with bytes behind it, and takes exactly its own. */
static void assert_done(const char *bytes, size_t n, const char *client, const char *local) {
    char longer[PROXY_V2_READ_MAX + 64];
    assert_true(n + 16 < sizeof longer);
    for (size_t cut = 0; cut < n; cut++) assert_int_equal(parse(bytes, cut).answer, PROXY_MORE);
    memcpy(longer, bytes, n);
    memcpy(longer + n, "GET / HTTP/1.1\r\n", 16);
    for (size_t more = 0; more <= 16; more += 16) {
        struct parsed p = parse(longer, n + more);
        assert_int_equal(p.answer, PROXY_DONE);
        assert_int_equal(p.used, n);
        assert_int_equal(p.has_addr, client != NULL);
        if (!client) continue;
        assert_string_equal(p.client, client);
        assert_string_equal(p.local, local);
    }
}

/* Refused at some byte, however it arrives, and never done. */
static void assert_bad(const char *bytes, size_t n) {
    assert_int_equal(parse(bytes, n).answer, PROXY_BAD);
    for (size_t cut = 0; cut < n; cut++) assert_int_not_equal(parse(bytes, cut).answer, PROXY_DONE);
    assert_false(parse(bytes, n).has_addr);
}

#define DONE(literal, client, local) assert_done(literal, sizeof(literal) - 1, client, local)
#define BAD(literal)                 assert_bad(literal, sizeof(literal) - 1)

static void test_v1(void **state) {
    (void)state;
    DONE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324", "198.51.100.2:443");
    DONE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535",
         "255.255.255.255:65535");
    DONE("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0", "0.0.0.0:0");
    DONE("PROXY TCP6 2001:db8::1 ::1 1024 80\r\n", "[2001:db8::1]:1024", "[::1]:80");
    DONE("PROXY TCP6 ::ffff:10.0.0.1 ::1 1024 80\r\n", "10.0.0.1:1024", "[::1]:80");
    DONE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    DONE("PROXY UNKNOWN\r\n", NULL, NULL);
    /* The longest line the specification knows: 107 bytes. */
    DONE(
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        NULL, NULL);
}

static void test_v1_bad(void **state) {
    (void)state;
    BAD("GET / HTTP/1.1\r\n");
    BAD("proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
    BAD("PROXY\r\n");
    BAD("PROXY \r\n");
    BAD("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP4\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n");
    BAD("PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1  1.1.1.1 1 1\r\n");
    BAD("PROXY\tTCP4 1.1.1.1 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 0x1 1\r\n");
    BAD("PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP4 ::1 ::1 1 1\r\n");
    BAD("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n");
    BAD("PROXY TCP6 fe80::1%lo ::1 1 1\r\n");
    BAD("PROXY TCP6 00000000000000000000000000000000000000000000000001 ::1 1 1\r\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n");
    BAD("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\r\n");
    BAD("PROXY UNKNOWN\0\r\n");
    BAD("PROXY UNKNOWN \xc3\xa9\r\n");
    /* One byte too long, with and without an end. */
    BAD("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
        "65535x\r\n");
    char endless[4096] = "PROXY UNKNOWN ";
    memset(endless + 14, 'x', sizeof endless - 14);
    assert_bad(endless, sizeof endless);
    assert_int_equal(parse(endless, 105).answer, PROXY_MORE);
    assert_int_equal(parse(endless, 106).answer, PROXY_BAD);
}

#define IP4_BLOCK "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"

static void test_v2(void **state) {
    (void)state;
    DONE(V2_SIGNATURE "\x21\x11\0\x0c" IP4_BLOCK, "192.0.2.1:56324", "198.51.100.2:443");
    /* TLVs: a NOOP of three bytes and an authority. */
    DONE(V2_SIGNATURE "\x21\x11\0\x1d" IP4_BLOCK "\x04\0\x03"
                      "abc"
                      "\x02\0\x08"
                      "x.test.y",
         "192.0.2.1:56324", "198.51.100.2:443");
    DONE(V2_SIGNATURE "\x21\x21\0\x24"
                      "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                      "\x04\0\0\x50",
         "[2001:db8::1]:1024", "[::1]:80");
    DONE(V2_SIGNATURE "\x20\0\0\0", NULL, NULL);
    DONE(V2_SIGNATURE "\x20\x11\0\x0c" IP4_BLOCK, NULL, NULL); /* LOCAL with addresses: not used */
    DONE(V2_SIGNATURE "\x20\xff\0\x03xyz", NULL, NULL);        /* LOCAL: the family is not looked at */
    DONE(V2_SIGNATURE "\x21\0\0\0", NULL, NULL);               /* unspecified */
    DONE(V2_SIGNATURE "\x21\x12\0\x0c" IP4_BLOCK, NULL, NULL); /* datagrams */
    DONE(V2_SIGNATURE "\x21\x10\0\x02\xff\xff", NULL, NULL);
}

static void test_v2_unix(void **state) {
    (void)state;
    char bytes[16 + 216] = V2_SIGNATURE "\x21\x31\0\xd8/run/a";
    strcpy(bytes + 16 + 108, "/run/b");
    assert_done(bytes, sizeof bytes, "unix:/run/a", "unix:/run/b");
    memset(bytes + 16, 'p', 216); /* paths without a NUL */
    struct parsed p = parse(bytes, sizeof bytes);
    assert_int_equal(p.answer, PROXY_DONE);
    assert_int_equal(strlen(p.client), 5 + 108);
}

static void test_v2_bad(void **state) {
    (void)state;
    BAD("\r\n\r\n\0\r\nQUIT\r");
    BAD("\r\nGET / HTTP/1.1\r\n");
    BAD(V2_SIGNATURE "\x11\x11\0\x0c" IP4_BLOCK); /* version 1 */
    BAD(V2_SIGNATURE "\x31\x11\0\x0c" IP4_BLOCK);
    BAD(V2_SIGNATURE "\x22\x11\0\x0c" IP4_BLOCK); /* an unknown command */
    BAD(V2_SIGNATURE "\x21\x41\0\x0c" IP4_BLOCK); /* an unknown family */
    BAD(V2_SIGNATURE "\x21\x13\0\x0c" IP4_BLOCK); /* an unknown protocol */
    BAD(V2_SIGNATURE "\x21\x11\0\x0b\xc0\0\x02\x01\xc6\x33\x64\x02\xdc\x04\x01");
    BAD(V2_SIGNATURE "\x21\x21\0\x0c" IP4_BLOCK);
    BAD(V2_SIGNATURE "\x21\x31\0\x0c" IP4_BLOCK);
    BAD(V2_SIGNATURE "\x21\x11\0\0");
}

static void test_v2_size(void **state) {
    (void)state;
    char bytes[PROXY_V2_READ_MAX + 1] = V2_SIGNATURE "\x21\x11\x08\0" IP4_BLOCK; /* 2048 bytes behind the head */
    assert_done(bytes, PROXY_V2_READ_MAX, "192.0.2.1:56324", "198.51.100.2:443");
    bytes[15] = 1; /* 2049: refused as soon as the length is known */
    assert_int_equal(parse(bytes, 15).answer, PROXY_MORE);
    assert_int_equal(parse(bytes, 16).answer, PROXY_BAD);
    bytes[14] = bytes[15] = (char)0xff;
    assert_int_equal(parse(bytes, 16).answer, PROXY_BAD);
}

static void test_print(void **state) {
    (void)state;
    char out[PROXY_HEADER_MAX];
    struct addr a = addr_make_ip("192.0.2.1", 56324), b = addr_make_ip("198.51.100.2", 443);
    struct addr six = addr_make_ip("2001:db8::1", 9), un = addr_make_unix("/x"), unknown = {0};
    const char *want = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";
    assert_int_equal(proxy_print_v1(out, &a, &b), strlen(want));
    assert_memory_equal(out, want, strlen(want));
    want = "PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 9 443\r\n";
    assert_int_equal(proxy_print_v1(out, &six, &b), strlen(want));
    assert_memory_equal(out, want, strlen(want));
    want = "PROXY UNKNOWN\r\n";
    assert_int_equal(proxy_print_v1(out, &a, &un), strlen(want));
    assert_memory_equal(out, want, strlen(want));
    assert_int_equal(proxy_print_v1(out, &unknown, &b), strlen(want));
    assert_int_equal(proxy_print_v2(out, &a, &b), 28);
    assert_memory_equal(out, V2_SIGNATURE "\x21\x11\0\x0c" IP4_BLOCK, 28);
    assert_int_equal(proxy_print_v2(out, &six, &b), 52);
    assert_int_equal(proxy_print_v2(out, &un, &b), 16);
    assert_memory_equal(out, V2_SIGNATURE "\x20\0\0\0", 16);
}

static struct addr random_addr(struct random *r) {
    struct addr a = addr_make_ip(random_once_in(r, 2) ? "0.0.0.0" : "::", (uint16_t)random_next(r));
    for (int i = 0; i < 16; i++) {
        uint8_t byte = random_once_in(r, 3) ? 0 : (uint8_t)random_next(r);
        if (a.u.sa.sa_family == AF_INET6)
            a.u.in6.sin6_addr.s6_addr[i] = byte;
        else
            ((uint8_t *)&a.u.in.sin_addr)[i % 4] = byte;
    }
    return a;
}

static void test_round_trip(void **state) {
    (void)state;
    struct random r = {42};
    for (int i = 0; i < 5000; i++) {
        struct addr a = random_addr(&r), b = random_addr(&r), client, local;
        char out[PROXY_HEADER_MAX];
        size_t n = i % 2 ? proxy_print_v1(out, &a, &b) : proxy_print_v2(out, &a, &b), used;
        bool has_addr;
        assert_true(n <= sizeof out);
        assert_int_equal(proxy_parse(slice_from(out, n), &used, &has_addr, &client, &local), PROXY_DONE);
        assert_int_equal(used, n);
        assert_true(has_addr && addr_eq(&client, &a) && addr_eq(&local, &b));
    }
}

/* Broken copies of valid headers never crash, never take more than there is, and decide by the maximum length. */
static void test_mutated(void **state) {
    (void)state;
    struct random r = {7};
    static char bytes[PROXY_V2_READ_MAX];
    for (int i = 0; i < 20000; i++) {
        struct addr a = random_addr(&r), b = random_addr(&r);
        memset(bytes, i % 3 ? 'x' : 0, sizeof bytes);
        size_t n = i % 2 ? proxy_print_v1(bytes, &a, &b) : proxy_print_v2(bytes, &a, &b);
        for (uint32_t k = random_below(&r, 4); k > 0; k--) bytes[random_below(&r, (uint32_t)n)] = (char)random_next(&r);
        struct parsed p = parse(bytes, sizeof bytes);
        assert_int_not_equal(p.answer, PROXY_MORE);
        if (p.answer == PROXY_DONE) assert_true(p.used <= sizeof bytes);
        p = parse(bytes, n);
        if (p.answer == PROXY_DONE) assert_true(p.used <= n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),      cmocka_unit_test(test_v1_bad),     cmocka_unit_test(test_v2),
        cmocka_unit_test(test_v2_unix), cmocka_unit_test(test_v2_bad),     cmocka_unit_test(test_v2_size),
        cmocka_unit_test(test_print),   cmocka_unit_test(test_round_trip), cmocka_unit_test(test_mutated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
