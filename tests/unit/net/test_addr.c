/* test_addr.c: addresses of all kinds: resolved, printed, compared, matched against networks. */
#include "loomgate/net/addr.h"

#include "../../support/addr_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct addr resolve(enum address_kind kind, const char *host, uint16_t port) {
    struct address_setting s = {.kind = kind, .text = host, .host = host, .port = port};
    struct addr a;
    struct error e = {{0}};
    if (!addr_resolve(&a, &s, &e)) fail_msg("%s", e.text);
    return a;
}

static void assert_prints(const struct addr *a, const char *full, const char *ip) {
    char out[ADDR_TEXT_MAX];
    memset(out, '#', sizeof out);
    assert_int_equal(addr_print(a, out), strlen(full));
    assert_string_equal(out, full);
    memset(out, '#', sizeof out);
    assert_int_equal(addr_print_ip(a, out), strlen(ip));
    assert_string_equal(out, ip);
}

static void test_resolve_ip(void **state) {
    (void)state;
    struct addr a = resolve(ADDRESS_IP, "192.0.2.7", 80);
    assert_int_equal(a.u.sa.sa_family, AF_INET);
    assert_int_equal(a.len, sizeof(struct sockaddr_in));
    assert_int_equal(addr_port(&a), 80);
    assert_prints(&a, "192.0.2.7:80", "192.0.2.7");
    a = resolve(ADDRESS_IP, "2001:DB8::0:1", 65535);
    assert_int_equal(a.u.sa.sa_family, AF_INET6);
    assert_prints(&a, "[2001:db8::1]:65535", "2001:db8::1");
}

static void test_resolve_name_and_any(void **state) {
    (void)state;
    struct addr a = resolve(ADDRESS_NAME, "localhost", 8080);
    char text[ADDR_TEXT_MAX];
    addr_print_ip(&a, text);
    assert_true(strcmp(text, "127.0.0.1") == 0 || strcmp(text, "::1") == 0);
    assert_int_equal(addr_port(&a), 8080);
    a = resolve(ADDRESS_ANY, NULL, 443);
    assert_prints(&a, "[::]:443", "::");
}

static void test_resolve_unix(void **state) {
    (void)state;
    struct addr a = resolve(ADDRESS_UNIX, "/run/app.sock", 0);
    assert_true(addr_is_unix(&a));
    assert_int_equal(addr_port(&a), 0);
    assert_prints(&a, "unix:/run/app.sock", "unix");
    char longest[sizeof a.u.un.sun_path], full[ADDR_TEXT_MAX];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    a = resolve(ADDRESS_UNIX, longest, 0);
    snprintf(full, sizeof full, "unix:%s", longest);
    assert_prints(&a, full, "unix");
}

static void test_resolve_fails(void **state) {
    (void)state;
    char too_long[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    memset(too_long, 'x', sizeof too_long);
    too_long[sizeof too_long - 1] = '\0';
    const struct address_setting bad[] = {
        {.kind = ADDRESS_UNIX, .host = too_long},
        {.kind = ADDRESS_UNIX, .host = ""},
        {.kind = ADDRESS_IP, .host = "localhost", .port = 1},
        {.kind = ADDRESS_IP, .host = "1.2.3.4.5", .port = 1},
        {.kind = ADDRESS_NAME, .host = "no..name", .port = 1},
    };
    for (size_t i = 0; i < LG_COUNT(bad); i++) {
        struct addr a;
        struct error e = {{0}};
        assert_false(addr_resolve(&a, &bad[i], &e));
        assert_true(e.text[0] != '\0');
        assert_int_equal(a.len, 0);
    }
}

static void test_print_edges(void **state) {
    (void)state;
    struct addr a = addr_make_ip("0.0.0.0", 0);
    assert_prints(&a, "0.0.0.0:0", "0.0.0.0");
    a = addr_make_ip("255.255.255.255", 65535);
    assert_prints(&a, "255.255.255.255:65535", "255.255.255.255");
    a = addr_make_ip("10.200.99.100", 10009);
    assert_prints(&a, "10.200.99.100:10009", "10.200.99.100");
    a = addr_make_ip("::ffff:10.0.0.1", 81);
    assert_prints(&a, "10.0.0.1:81", "10.0.0.1");
    a = addr_make_ip("1111:2222:3333:4444:5555:6666:7777:8888", 12345);
    assert_prints(&a, "[1111:2222:3333:4444:5555:6666:7777:8888]:12345", "1111:2222:3333:4444:5555:6666:7777:8888");
    a = (struct addr){0};
    assert_prints(&a, "unknown", "unknown");
    a.len = sizeof(struct sockaddr_in) - 1; /* shorter than it says */
    a.u.sa.sa_family = AF_INET;
    assert_prints(&a, "unknown", "unknown");
    a = addr_make_unix("");
    assert_prints(&a, "unix:", "unix");
    /* The kernel reports a path that fills sun_path without a NUL, with a length one past the structure. */
    a = (struct addr){.len = sizeof(struct sockaddr_un) + 1};
    a.u.un.sun_family = AF_UNIX;
    memset(a.u.un.sun_path, 'y', sizeof a.u.un.sun_path);
    char full[ADDR_TEXT_MAX] = "unix:";
    memset(full + 5, 'y', sizeof a.u.un.sun_path);
    assert_prints(&a, full, "unix");
}

static void test_ip6(void **state) {
    (void)state;
    struct in6_addr ip;
    struct addr a = addr_make_ip("1.2.3.4", 1), mapped = addr_make_ip("::ffff:1.2.3.4", 1);
    assert_true(addr_ip6(&a, &ip));
    assert_memory_equal(&ip, &mapped.u.in6.sin6_addr, sizeof ip);
    assert_true(addr_ip6(&mapped, &ip));
    assert_memory_equal(&ip, &mapped.u.in6.sin6_addr, sizeof ip);
    a = addr_make_unix("/x");
    assert_false(addr_ip6(&a, &ip));
    a = (struct addr){0};
    assert_false(addr_ip6(&a, &ip));
}

static bool in(const char *net, const char *ip) {
    struct cidr c[] = {cidr_make("198.51.100.0/24"), cidr_make(net)};
    struct cidr_list list = {c, 2};
    struct addr a = addr_make_ip(ip, 1234);
    return cidr_list_has(&list, &a);
}

static void test_cidr(void **state) {
    (void)state;
    assert_true(in("10.0.0.0/8", "10.255.0.1"));
    assert_false(in("10.0.0.0/8", "11.0.0.1"));
    assert_true(in("10.0.0.0/8", "::ffff:10.1.1.1"));
    assert_true(in("10.0.0.0/8", "198.51.100.255")); /* the list's other network */
    assert_true(in("10.1.2.3/32", "10.1.2.3"));
    assert_false(in("10.1.2.3/32", "10.1.2.2"));
    assert_true(in("10.1.2.128/25", "10.1.2.255"));
    assert_false(in("10.1.2.128/25", "10.1.2.127"));
    assert_true(in("10.1.2.254/31", "10.1.2.255"));
    assert_false(in("10.1.2.254/31", "10.1.2.253"));
    assert_true(in("128.0.0.0/1", "255.0.0.1"));
    assert_false(in("128.0.0.0/1", "127.0.0.1"));
    assert_true(in("0.0.0.0/0", "203.0.113.9"));
    assert_false(in("0.0.0.0/0", "2001:db8::1"));
    assert_true(in("::/0", "2001:db8::1"));
    assert_false(in("::/0", "203.0.113.9")); /* IPv4 is in no IPv6 network */
    assert_true(in("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(in("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(in("::1/128", "::1"));
    assert_false(in("::1/128", "::2"));
    assert_true(in("10.1.2.3/8", "10.9.9.9")); /* bits behind the prefix do not count */
}

static void test_cidr_without_ip(void **state) {
    (void)state;
    struct cidr all[] = {cidr_make("::/0"), cidr_make("0.0.0.0/0")};
    struct cidr_list list = {all, 2}, empty = {NULL, 0};
    struct addr un = addr_make_unix("/x"), unknown = {0}, ip = addr_make_ip("10.0.0.1", 1);
    assert_false(cidr_list_has(&list, &un));
    assert_false(cidr_list_has(&list, &unknown));
    assert_true(cidr_list_has(&list, &ip));
    assert_false(cidr_list_has(&empty, &ip));
}

static void test_eq(void **state) {
    (void)state;
    struct addr a = addr_make_ip("10.0.0.1", 80), same = addr_make_ip("::ffff:10.0.0.1", 80);
    struct addr port = addr_make_ip("10.0.0.1", 81), ip = addr_make_ip("10.0.0.2", 80);
    struct addr six = addr_make_ip("::1", 80), scoped = six;
    scoped.u.in6.sin6_scope_id = 3;
    assert_true(addr_eq(&a, &a));
    assert_true(addr_eq(&a, &same));
    assert_false(addr_eq(&a, &port));
    assert_false(addr_eq(&a, &ip));
    assert_false(addr_eq(&a, &six));
    assert_true(addr_eq(&six, &six));
    assert_false(addr_eq(&six, &scoped));
    struct addr un = addr_make_unix("/a"), other = addr_make_unix("/ab"), un2 = un, none = {0};
    un2.len--; /* the NUL is counted or not */
    assert_true(addr_eq(&un, &un2));
    assert_false(addr_eq(&un, &other));
    assert_false(addr_eq(&un, &a));
    assert_false(addr_eq(&un, &none));
    assert_true(addr_eq(&none, &none));
}

static void assert_keeps(const struct addr *a, socklen_t len) {
    struct addr_kept kept;
    struct addr back;
    memset(&back, '#', sizeof back);
    addr_keep(&kept, a);
    addr_recall(&kept, &back);
    assert_int_equal(back.len, len);
    assert_true(addr_eq(&back, a));
    char text[2][ADDR_TEXT_MAX];
    addr_print(a, text[0]);
    addr_print(&back, text[1]);
    assert_string_equal(text[0], text[1]);
    addr_forget(&kept);
    addr_recall(&kept, &back);
    assert_prints(&back, "unknown", "unknown");
}

static void test_kept(void **state) {
    (void)state;
    struct addr a = addr_make_ip("192.0.2.7", 80);
    assert_keeps(&a, sizeof(struct sockaddr_in));
    a = addr_make_ip("::ffff:192.0.2.7", 80);
    assert_keeps(&a, sizeof(struct sockaddr_in6));
    a = addr_make_ip("fe80::1", 65535);
    a.u.in6.sin6_scope_id = 3;
    assert_keeps(&a, sizeof(struct sockaddr_in6));
    a = addr_make_unix("/run/a.sock");
    assert_keeps(&a, a.len);
    a = addr_make_unix("");
    assert_keeps(&a, offsetof(struct sockaddr_un, sun_path));
    a = (struct addr){0};
    assert_keeps(&a, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve_ip),   cmocka_unit_test(test_resolve_name_and_any),
        cmocka_unit_test(test_resolve_unix), cmocka_unit_test(test_resolve_fails),
        cmocka_unit_test(test_print_edges),  cmocka_unit_test(test_ip6),
        cmocka_unit_test(test_cidr),         cmocka_unit_test(test_cidr_without_ip),
        cmocka_unit_test(test_eq),           cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
