/* test_answer.c: answers of our own: errors as text and JSON, fixed responses, redirects. */
#include "loomgate/proxy/answer.h"

#include "../../support/json_check.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define ID "0193e3a6-0b5a-7c11-8e5a-6d1f0a3b9c77"

static struct arena arena;
static struct answer answer;
static struct field field_room[4];
static struct message request;

static int set_up(void **state) {
    (void)state;
    arena_init(&arena, NULL, 0);
    memset(&answer, 0xff, sizeof answer);
    request = (struct message){.fields = {.v = field_room, .room = LG_COUNT(field_room)}};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void accepts(const char *value) {
    request.fields.count = 1;
    field_room[0] = (struct field){SLICE("Accept"), slice_of(value), FIELD_ACCEPT, false};
}

static void assert_field(const char *name, const char *value) {
    const struct field *f = fields_find_name(&answer.head.fields, slice_of(name));
    if (!value) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    if (!slice_is(f->value, value)) fail_msg("%s: %.*s, not %s", name, SLICE_ARG(f->value), value);
}

/* What every answer promises to whoever sends it. */
static void assert_sound(unsigned status) {
    assert_int_equal(answer.head.status, status);
    assert_true(answer.head.keep_alive);
    assert_int_equal(answer.head.body, BODY_LENGTH);
    assert_int_equal(answer.head.length, answer.body.n);
    assert_true(answer.head.has_length);
    assert_true(slice_eq(answer.head.reason, status_reason(status)));
    /* There is room for what response_rewrite adds. */
    for (unsigned i = 0; i < 4; i++) assert_true(fields_add(&answer.head.fields, SLICE("X"), SLICE("y")));
}

static void assert_body(const char *text) {
    if (!slice_is(answer.body, text)) fail_msg("the body is:\n%.*snot:\n%s", SLICE_ARG(answer.body), text);
}

/* --- errors ----------------------------------------------------------------------------------------------------- */

static void an_error_is_text(void **state) {
    (void)state;
    answer_error(&answer, FAILURE_no_route, 0, &request, SLICE(ID), &arena);
    assert_body("404 Not Found: nothing is served here\nid: " ID "\n");
    assert_field("Content-Type", "text/plain; charset=utf-8");
    assert_field("Cache-Control", "no-store");
    assert_field("Retry-After", NULL);
    assert_sound(404);
}

static void an_error_is_json_for_who_asks(void **state) {
    (void)state;
    accepts("application/json");
    answer_error(&answer, FAILURE_no_route, 0, &request, SLICE(ID), &arena);
    assert_body("{\"status\":404,\"error\":\"no_route\",\"message\":\"nothing is served here\",\"id\":\"" ID "\"}\n");
    assert_field("Content-Type", "application/json");
    assert_sound(404);
}

static void who_asks_for_json(void **state) {
    (void)state;
    static const struct {
        const char *accept;
        bool json;
    } rows[] = {
        {"application/json", true},
        {"Application/JSON", true},
        {"text/html, application/json", true},
        {" application/json ; q=0.8 , text/html", true},
        {"application/json;q=0.05", true},
        {"application/json; charset=utf-8", true},
        {"application/json;q=0", false},
        {"application/json; q=0.000", false},
        {"application/json;v=1;q=0", false},
        {"*/*", false},
        {"application/*", false},
        {"application/jsonp", false},
        {"text/html,application/xhtml+xml,*/*;q=0.8", false},
        {"", false},
        {",,;", false},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        accepts(rows[i].accept);
        answer_error(&answer, FAILURE_no_server, 0, &request, SLICE(ID), &arena);
        if ((answer.body.p[0] == '{') != rows[i].json) fail_msg("Accept: %s", rows[i].accept);
    }
}

/* Every failure that has a status can be told, in both forms; names no address and no name of ours. */
static void every_failure_can_be_told(void **state) {
    (void)state;
    for (enum failure f = FAILURE_NONE + 1; f < FAILURE_COUNT; f++) {
        const struct failure_row *row = failure_get(f);
        if (!row->status) continue;
        request.fields.count = 0;
        answer_error(&answer, f, 0, &request, SLICE(ID), &arena);
        assert_sound(row->status);
        assert_non_null(memmem(answer.body.p, answer.body.n, row->sentence, strlen(row->sentence)));
        accepts("application/json");
        answer_error(&answer, f, 0, &request, SLICE(ID), &arena);
        assert_true(json_is_valid(answer.body));
        char wanted[64];
        snprintf(wanted, sizeof wanted, "\"%s\"", row->name);
        assert_true(slice_is(json_member(answer.body, "error"), wanted));
        assert_sound(row->status);
    }
}

static void a_503_says_when_to_come_back(void **state) {
    (void)state;
    answer_error(&answer, FAILURE_no_server, 0, &request, SLICE(ID), &arena);
    assert_field("Retry-After", "1");
    assert_sound(503);
}

/* An id may be the client's own: whatever is in it, the answer stays what it is. */
static void a_strange_id_does_not_break_out(void **state) {
    (void)state;
    char id[128];
    memset(id, '"', sizeof id);
    accepts("application/json");
    answer_error(&answer, FAILURE_no_route, 0, &request, slice_from(id, sizeof id), &arena);
    assert_true(json_is_valid(answer.body));
    answer_error(&answer, FAILURE_no_route, 0, &request, SLICE("<\\\"'&>"), &arena);
    assert_true(json_is_valid(answer.body));
    assert_sound(404);
}

static void an_error_without_a_request(void **state) {
    (void)state;
    static const struct message nothing;
    answer_error(&answer, FAILURE_bad_request_line, 0, &nothing, SLICE(ID), &arena);
    assert_sound(400);
}

/* --- fixed responses -------------------------------------------------------------------------------------------- */

static void a_fixed_response(void **state) {
    (void)state;
    static const struct name_value headers[] = {{"X-A", "1"}, {"X-B", "2"}};
    struct route_settings r = {.respond = {.status = 201, .body = SLICE("made"), .headers = {headers, 2}}};
    answer_respond(&answer, &r, &arena);
    assert_body("made");
    assert_field("X-A", "1");
    assert_field("X-B", "2");
    assert_field("Content-Type", "text/plain; charset=utf-8");
    assert_sound(201);
}

static void a_fixed_response_with_a_type(void **state) {
    (void)state;
    static const struct name_value headers[] = {{"content-type", "image/png"}};
    struct route_settings r = {.respond = {.status = 200, .body = SLICE("x"), .headers = {headers, 1}}};
    answer_respond(&answer, &r, &arena);
    assert_field("Content-Type", "image/png");
    assert_int_equal(answer.head.fields.count, 1);
    assert_sound(200);
}

static void a_fixed_response_without_a_body(void **state) {
    (void)state;
    struct route_settings r = {.respond = {.status = 403}};
    answer_respond(&answer, &r, &arena);
    assert_int_equal(answer.body.n, 0);
    assert_field("Content-Type", NULL);
    assert_sound(403);
}

/* --- redirects -------------------------------------------------------------------------------------------------- */

static const struct answer_facts facts = {.scheme = {"http", 4}, .port = {"8080", 4}};

static void assert_redirect(const char *to, const char *location) {
    struct route_settings r = {.redirect = {.to = to, .status = 308}};
    answer_redirect(&answer, &r, &request, &facts, &arena);
    assert_field("Location", location);
    assert_int_equal(answer.body.n, 0);
    assert_sound(308);
}

static void a_redirect_is_filled_in(void **state) {
    (void)state;
    request.host = SLICE("example.org:8080");
    request.uri = SLICE("/a%20b?x=1&y=%{z}");
    request.path = SLICE("/a%20b");
    request.query = SLICE("x=1&y=%{z}");
    assert_redirect("https://example.org/", "https://example.org/");
    assert_redirect("https://%{host}%{uri}", "https://example.org/a%20b?x=1&y=%{z}");
    assert_redirect("%{scheme}://%{host}:%{port}%{path}", "http://example.org:8080/a%20b");
    assert_redirect("/login?from=%{path}&%{query}", "/login?from=/a%20b&x=1&y=%{z}"); /* not filled in twice */
    assert_redirect("%{path}%{path}", "/a%20b/a%20b");
}

static void a_percent_that_is_no_variable_stays(void **state) {
    (void)state;
    request.path = SLICE("/p");
    assert_redirect("/100%/%7B%{path}%", "/100%/%7B/p%");
    assert_redirect("/%{path", "/%{path");
}

static void the_host_is_told_without_its_port(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"example.org", "http://example.org/"}, {"example.org:", "http://example.org/"},
        {"[::1]:8080", "http://[::1]/"},        {"[::1]", "http://[::1]/"},
        {"192.0.2.1:80", "http://192.0.2.1/"},  {"", "http:///"},
    };
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        request.host = slice_of(rows[i][0]);
        assert_redirect("http://%{host}/", rows[i][1]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_error_is_text),
        TEST(an_error_is_json_for_who_asks),
        TEST(who_asks_for_json),
        TEST(every_failure_can_be_told),
        TEST(a_503_says_when_to_come_back),
        TEST(a_strange_id_does_not_break_out),
        TEST(an_error_without_a_request),
        TEST(a_fixed_response),
        TEST(a_fixed_response_with_a_type),
        TEST(a_fixed_response_without_a_body),
        TEST(a_redirect_is_filled_in),
        TEST(a_percent_that_is_no_variable_stays),
        TEST(the_host_is_told_without_its_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
