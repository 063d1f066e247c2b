/* test_exchange_head.c: a request's head made ready: its id, what is said of the client, refusals, our own answers. */
#include "loomgate/proxy/exchange.h"

#include "../../../src/proxy/exchange_internal.h"
#include "../../support/addr_make.h"
#include "../../support/proxy_bed.h"

#define UUID_LEN 36

/* The value of a field of the last head that went to `f`, ended by a NUL. */
static const char *field_of(const struct fake_stream *f, const char *name) {
    static char value[256];
    size_t n = strlen(name);
    for (const char *at = f->fields; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL) {
        if (strncmp(at, name, n) != 0 || at[n] != ':') continue;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at + n + 2, "\n"), at + n + 2);
        return value;
    }
    return NULL;
}

static void send_with(const char *fields) {
    proxy_add_idle();
    proxy_start(proxy_request("GET", "/", BODY_NONE, 0, fields));
    fake_end(&pb.front);
}

static void answer_with(const char *fields) {
    fake_head(&pb.back, proxy_response(200, BODY_LENGTH, 0, fields));
    fake_end(&pb.back);
    fake_close(&pb.back, FAILURE_NONE);
    assert_int_equal(pb.ends, 1);
}

/* --- the id ----------------------------------------------------------------------------------------------------- */

static void the_id_goes_both_ways(void **state) {
    (void)state;
    char id[64];
    send_with(NULL);
    const char *sent = field_of(&pb.back, "X-Request-Id");
    assert_non_null(sent);
    assert_int_equal(strlen(sent), UUID_LEN);
    snprintf(id, sizeof id, "%s", sent);
    answer_with(NULL);
    assert_string_equal(field_of(&pb.front, "X-Request-Id"), id);
}

static void a_clients_own_id_is_not_believed(void **state) {
    (void)state;
    send_with("X-Request-Id: mine\n");
    assert_string_not_equal(field_of(&pb.back, "X-Request-Id"), "mine");
    fake_expect_no_field(&pb.back, "x-request-id");
    answer_with("X-Request-Id: the server's\n");
    assert_int_equal(strlen(field_of(&pb.front, "X-Request-Id")), UUID_LEN);
}

static void set_up_trusting(void) {
    proxy_set_up(NULL);
    pb.web->request_id = (struct request_id_settings){.header = "X-Trace", .trust = true};
    proxy_build();
}

static void a_clients_own_id_may_be_believed(void **state) {
    (void)state;
    set_up_trusting();
    send_with("x-trace: mine-1\n");
    assert_non_null(strcasestr(pb.back.fields, "x-trace: mine-1\n"));
    answer_with(NULL);
    assert_string_equal(field_of(&pb.front, "X-Trace"), "mine-1");
    fake_expect_no_field(&pb.front, "X-Request-Id");
}

/* Only what is safe to log and to send: visible characters, not too many. */
static void an_id_of_no_use_is_replaced(void **state) {
    (void)state;
    static const char *const bad[] = {"two words", "", "caf\xc3\xa9"};
    char fields[REQUEST_ID_MAX + 32] = "X-Trace: ";
    for (unsigned i = 0; i <= LG_COUNT(bad); i++) {
        set_up_trusting();
        if (i < LG_COUNT(bad)) {
            snprintf(fields, sizeof fields, "X-Trace: %s\n", bad[i]);
        } else {
            memset(fields + 9, 'a', REQUEST_ID_MAX + 1);
            fields[9 + REQUEST_ID_MAX + 1] = '\0';
        }
        send_with(fields);
        assert_int_equal(strlen(field_of(&pb.back, "X-Trace")), UUID_LEN);
        answer_with(NULL);
        if (i < LG_COUNT(bad)) proxy_tear_down(NULL);
    }
}

static void the_longest_id_is_taken(void **state) {
    (void)state;
    char fields[REQUEST_ID_MAX + 32] = "X-Trace: ";
    set_up_trusting();
    memset(fields + 9, 'a', REQUEST_ID_MAX);
    send_with(fields);
    assert_int_equal(strlen(field_of(&pb.back, "X-Trace")), REQUEST_ID_MAX);
    answer_with(NULL);
}

/* --- what is said of the client --------------------------------------------------------------------------------- */

static void the_server_is_told_of_the_client(void **state) {
    (void)state;
    send_with("X-Forwarded-For: 10.9.9.9\nX-Forwarded-Proto: https\n");
    fake_expect_field(&pb.back, "X-Forwarded-For: 192.0.2.7");
    fake_expect_field(&pb.back, "X-Forwarded-Proto: http");
    fake_expect_field(&pb.back, "X-Forwarded-Host: example.org");
    fake_expect_field(&pb.back, "X-Forwarded-Port: 8080");
    answer_with(NULL);
}

static void a_trusted_proxy_is_appended_to(void **state) {
    (void)state;
    proxy_set_up(NULL);
    static struct cidr trusted[1];
    trusted[0] = cidr_make("192.0.2.0/24");
    pb.web->forwarded.trusted = (struct cidr_list){trusted, 1};
    proxy_build();
    send_with("X-Forwarded-For: 10.9.9.9\n");
    fake_expect_field(&pb.back, "X-Forwarded-For: 10.9.9.9, 192.0.2.7");
    answer_with(NULL);
}

static void nothing_may_be_said(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->forwarded.x_forwarded = X_FORWARDED_OFF;
    proxy_build();
    send_with("X-Forwarded-For: 10.9.9.9\n");
    fake_expect_field(&pb.back, "X-Forwarded-For: 10.9.9.9");
    fake_expect_no_field(&pb.back, "X-Forwarded-Port");
    answer_with(NULL);
}

static void hop_by_hop_fields_stay_here(void **state) {
    (void)state;
    send_with("Connection: close, X-Mine\nX-Mine: 1\nKeep-Alive: 5\nX-Kept: 1\n");
    fake_expect_no_field(&pb.back, "Connection");
    fake_expect_no_field(&pb.back, "X-Mine");
    fake_expect_no_field(&pb.back, "Keep-Alive");
    fake_expect_field(&pb.back, "X-Kept: 1");
    assert_true(pb.back.keep_alive); /* what the client asks of its connection is not the server's affair */
    answer_with("Connection: X-Theirs\nX-Theirs: 1\n");
    fake_expect_no_field(&pb.front, "X-Theirs");
}

static void a_response_has_a_date(void **state) {
    (void)state;
    send_with(NULL);
    answer_with("Server: s\n");
    assert_int_equal(strlen(field_of(&pb.front, "Date")), ENV_DATE_LEN);
    fake_expect_field(&pb.front, "Server: s");
}

static void a_servers_own_date_stays(void **state) {
    (void)state;
    send_with(NULL);
    answer_with("Date: Sun, 06 Nov 1994 08:49:37 GMT\n");
    fake_expect_field(&pb.front, "Date: Sun, 06 Nov 1994 08:49:37 GMT");
}

/* --- refused ---------------------------------------------------------------------------------------------------- */

static void connect_is_refused(void **state) {
    (void)state;
    proxy_start(proxy_request("CONNECT", "example.org:443", BODY_NONE, 0, NULL));
    assert_memory_equal(pb.front.log, "head:501/", 9);
    assert_int_equal(proxy_cause(), FAILURE_method_refused);
    assert_int_equal(pb.ends, 1);
}

/* --- our own answers -------------------------------------------------------------------------------------------- */

static void our_answers_carry_the_id_and_a_date(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->default_backend = -1;
    proxy_build();
    proxy_get("/");
    assert_int_equal(strlen(field_of(&pb.front, "X-Request-Id")), UUID_LEN);
    assert_non_null(strstr(pb.front.log, field_of(&pb.front, "X-Request-Id"))); /* in the text as well */
    assert_int_equal(strlen(field_of(&pb.front, "Date")), ENV_DATE_LEN);
    assert_true(pb.front.keep_alive);
}

static void our_answers_close_when_we_go(void **state) {
    (void)state;
    proxy_set_up(NULL);
    pb.web->default_backend = -1;
    proxy_build();
    pb.env.draining = true;
    proxy_get("/");
    assert_false(pb.front.keep_alive);
}

/* A large head does not fit the exchange's own room: it takes more, and gives it back. */
static void a_large_head(void **state) {
    (void)state;
    char fields[3600] = "X-Large: ";
    memset(fields + 9, 'a', 1500);
    strcat(fields, "\nX-Larger: ");
    size_t n = strlen(fields);
    memset(fields + n, 'b', 300);
    send_with(fields);
    assert_int_equal(strspn(strstr(pb.back.fields, "X-Large: ") + 9, "a"), 1500);
    assert_int_equal(strspn(strstr(pb.back.fields, "X-Larger: ") + 10, "b"), 300);
    answer_with(NULL);
}

#define BUILT(name)  cmocka_unit_test_setup_teardown(name, proxy_set_up_built, proxy_tear_down)
#define UNMADE(name) cmocka_unit_test_teardown(name, proxy_tear_down) /* sets up by itself */

int main(void) {
    const struct CMUnitTest tests[] = {
        BUILT(the_id_goes_both_ways),
        BUILT(a_clients_own_id_is_not_believed),
        UNMADE(a_clients_own_id_may_be_believed),
        UNMADE(an_id_of_no_use_is_replaced),
        UNMADE(the_longest_id_is_taken),
        BUILT(the_server_is_told_of_the_client),
        UNMADE(a_trusted_proxy_is_appended_to),
        UNMADE(nothing_may_be_said),
        BUILT(hop_by_hop_fields_stay_here),
        BUILT(a_response_has_a_date),
        BUILT(a_servers_own_date_stays),
        BUILT(connect_is_refused),
        UNMADE(our_answers_carry_the_id_and_a_date),
        UNMADE(our_answers_close_when_we_go),
        BUILT(a_large_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
