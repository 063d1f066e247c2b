/* test_prepare.c: what a frontend makes of a request: refusals, whose id counts, what is said of the client. */
#include "loomgate/proxy/prepare.h"

#include "loomgate/http/rewrite.h"

#include "../../support/addr_make.h"

#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

static struct frontend_settings settings;
static struct frontend frontend;
static struct message request;
static struct field room[16];
static struct arena arena;

static int set_up(void **state) {
    (void)state;
    settings = (struct frontend_settings){.name = "web"};
    frontend = (struct frontend){.settings = &settings, .id_name = SLICE("X-Request-Id")};
    request = (struct message){.method = METHOD_GET, .host = SLICE("h"), .fields = {.v = room, .room = 16}};
    arena_init(&arena, NULL, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void add(const char *name, const char *value) {
    assert_true(fields_add(&request.fields, slice_of(name), slice_of(value)));
}

static void what_is_refused(void **state) {
    (void)state;
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_NONE);
    request.method = METHOD_CONNECT;
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_method_refused);
    request.method = METHOD_POST;
    request.body = BODY_LENGTH;
    request.length = 1001;
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_NONE);
    settings.limits.body_size = 1000;
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_body_too_large);
    request.length = 1000;
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_NONE);
    request.length = 1001;
    request.body = BODY_CHUNKED; /* it is seen when it comes */
    assert_int_equal(prepare_check(&frontend, &request), FAILURE_NONE);
}

static void whose_id_counts(void **state) {
    (void)state;
    assert_int_equal(prepare_id(&frontend, &request).n, 0);
    add("x-request-id", "mine");
    assert_int_equal(prepare_id(&frontend, &request).n, 0);
    settings.request_id.trust = true;
    assert_true(slice_is(prepare_id(&frontend, &request), "mine"));
    room[0].value = SLICE("two words");
    assert_int_equal(prepare_id(&frontend, &request).n, 0);
}

static void ports_as_text(void **state) {
    (void)state;
    const uint16_t ports[] = {0, 7, 80, 8080, 65535};
    for (size_t i = 0; i < LG_COUNT(ports); i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", ports[i]);
        assert_true(slice_is(prepare_port(ports[i], &arena), text));
    }
}

static const char *sent(const char *name) {
    static char value[64];
    const struct field *f = fields_find_name(&request.fields, slice_of(name));
    if (f) snprintf(value, sizeof value, "%.*s", SLICE_ARG(f->value));
    return f ? value : NULL;
}

static void what_the_server_is_told(void **state) {
    (void)state;
    const struct cidr nets[] = {cidr_make("192.0.2.0/24")};
    const struct addr client = addr_make_ip("192.0.2.7", 5), other = addr_make_ip("198.51.100.1", 5);
    for (int round = 0; round < 3; round++) {
        request.fields.count = 0;
        add("X-Forwarded-For", "10.0.0.1");
        add("X-Request-Id", "mine");
        settings.forwarded.x_forwarded = round == 2 ? X_FORWARDED_OFF : X_FORWARDED_APPEND;
        settings.forwarded.trusted = (struct cidr_list){nets, 1};
        prepare_request(&request, &frontend, round ? &other : &client, 8080, SLICE("1"), &arena);
        assert_string_equal(sent("X-Request-Id"), "1");
        assert_string_equal(sent("X-Forwarded-For"), round == 0   ? "10.0.0.1, 192.0.2.7"
                                                     : round == 1 ? "198.51.100.1"
                                                                  : "10.0.0.1");
        if (round == 2)
            assert_null(sent("X-Forwarded-Port"));
        else
            assert_string_equal(sent("X-Forwarded-Port"), "8080");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_is_refused),
        TEST(whose_id_counts),
        TEST(ports_as_text),
        TEST(what_the_server_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
