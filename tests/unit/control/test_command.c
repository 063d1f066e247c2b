/* test_command.c: the table; a call from its words to the end of its answer, also when who asked has gone. */
#include "../../../src/control/command_internal.h"

#include "../../../src/runtime/runtime_internal.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/json_check.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct socket_peer peer = {.pid = 1, .uid = 2, .gid = 3};
static struct runtime runtime;
static struct control *control;
static char answer[16384];
static size_t answer_len;
static unsigned ends, stops, goes;
static bool deaf, wants_prompt, wants_quit;

static bool on_text(struct call *c, struct slice text) {
    assert_ptr_equal(c->owner, &answer);
    if (deaf) return false;
    assert_true(answer_len + text.n < sizeof answer);
    memcpy(answer + answer_len, text.p, text.n);
    answer[answer_len += text.n] = '\0';
    return true;
}

static void on_end(struct call *c) {
    ends++;
    wants_prompt = c->wants_prompt;
    wants_quit = c->wants_quit;
}

static const struct call_events events = {on_text, on_end};

static struct config *make_config(void) {
    struct config *c = config_make();
    struct addr at = addr_make_ip("127.0.0.1", 9);
    struct backend_settings *app = config_add_backend(c, "app");
    app->breaker.on = true;
    config_add_server(c, app, "a1", &at);
    config_add_server(c, app, "unix:/run/a/b", &at)->backup = true;
    config_add_backend(c, "api");
    return c;
}

static int set_up(void **state) {
    struct error e;
    (void)state;
    log_set_level(LEVEL_ERROR);
    runtime = (struct runtime){.state = RUNTIME_RUNNING};
    loop_init(&runtime.loop);
    list_init(&runtime.overrides);
    registry_init(&runtime.registry);
    runtime.snapshot = snapshot_build(make_config(), &runtime.registry, &e);
    assert_non_null(runtime.snapshot);
    control = calloc(1, sizeof *control);
    static const struct control_options options = {.file = "/none"};
    *control = (struct control){.runtime = &runtime, .options = &options};
    answer[answer_len = 0] = '\0';
    ends = stops = goes = 0;
    deaf = wants_prompt = wants_quit = false;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    snapshot_free(runtime.snapshot, &runtime.registry);
    registry_fini(&runtime.registry);
    loop_fini(&runtime.loop);
    free(control);
    return 0;
}

static struct call *make(enum control_level level, const char *line) {
    struct slice rest = slice_of(line);
    return call_new(control, &events, &answer, level, &peer, &rest);
}

/* The whole answer to one command. */
static const char *ask_at(enum control_level level, const char *line) {
    answer[answer_len = 0] = '\0';
    unsigned before = ends;
    call_run(make(level, line));
    assert_int_equal(ends, before + 1);
    assert_true(answer_len >= 2 && strcmp(answer + answer_len - 2, "\n\n") == 0);
    assert_ptr_equal(strstr(answer, "\n\n"), answer + answer_len - 2);
    return answer;
}

static const char *ask(const char *line) {
    return ask_at(CONTROL_ADMIN, line);
}

/* --- the table -------------------------------------------------------------------------------------------------- */

static void every_row_is_whole(void **state) {
    const struct command *row, *other;
    (void)state;
    for (size_t i = 0; (row = command_at(i)); i++) {
        assert_non_null(row->run);
        assert_true(row->min <= row->max);
        assert_true(strlen(row->help) > 10 && row->help[strlen(row->help) - 1] != '.');
        assert_int_equal(strncmp(row->example, row->words, strlen(row->words)), 0);
        assert_int_equal(!*row->arguments, !row->max);
        if (strncmp(row->words, "show", 4) == 0) assert_true(row->level == CONTROL_USER && !row->changes);
        if (row->changes) assert_true(row->level > CONTROL_USER);
        for (size_t k = 0; k < i && (other = command_at(k)); k++) assert_string_not_equal(row->words, other->words);
    }
}

static void rows_are_found_by_their_words(void **state) {
    struct word v[] = {{SLICE("show"), true}, {SLICE("servers"), true}, {SLICE("app"), true}};
    struct words words = {v, 3};
    (void)state;
    assert_string_equal(command_find(&words)->words, "show servers");
    assert_true(words.count == 1 && slice_is(words.v[0].text, "app"));
    words = (struct words){v, 1};
    assert_null(command_find(&words));
    assert_int_equal(words.count, 1);
    words = (struct words){v + 2, 1};
    assert_null(command_find(&words));
}

static void the_nearest_command_is_told(void **state) {
    (void)state;
    assert_non_null(strstr(ask("shw servers"),
                           "error: unknown_command: there is no command 'shw servers'; did you mean "
                           "'show servers'?\n"));
    assert_non_null(strstr(ask("braeker reset app"), "did you mean 'breaker reset'?"));
    assert_non_null(strstr(ask("qiut"), "did you mean 'quit'?"));
    assert_non_null(strstr(ask("breaker"), "'breaker' goes on with: reset, trip, hold, release"));
    assert_non_null(strstr(ask("xyz"), "'help' lists"));
    assert_non_null(strstr(ask("\x01\xff"), "'\\x01\\xff'"));
}

static void the_table_as_markdown(void **state) {
    char *text;
    size_t len, rows = 0;
    (void)state;
    FILE *out = open_memstream(&text, &len);
    commands_print(out);
    fclose(out);
    assert_non_null(strstr(text, "| `log level debug\\|info\\|warn\\|error` | operator | "));
    for (const char *p = text; (p = strchr(p, '\n')); p++) rows++;
    size_t count = 0;
    while (command_at(count)) count++;
    assert_int_equal(rows, count + 3);
    free(text);
}

/* --- calls ------------------------------------------------------------------------------------------------------ */

static void what_is_not_allowed(void **state) {
    (void)state;
    assert_string_equal(ask_at(CONTROL_USER, "log reopen"),
                        "error: denied: 'log reopen' needs the level operator; this socket gives user\n\n");
    assert_string_equal(
        ask_at(CONTROL_OPERATOR, "shutdown json"),
        "{\"ok\":false,\"error\":\"denied\",\"message\":\"'shutdown' needs the level admin; this socket "
        "gives operator\"}\n\n");
    assert_int_equal(control->audit.count, 2);
    assert_string_equal(audit_find(&control->audit, 0)->result, "denied");
    assert_int_equal(audit_find(&control->audit, 1)->peer.uid, 2);
    ask("breaker trip app/a1 now");
    assert_string_equal(answer, "error: usage: breaker trip BACKEND/SERVER [for DURATION]\n\n");
    ask("show version x");
    assert_int_equal(control->audit.count, 3); /* looking changes nothing */
}

static void an_answer_is_over_once(void **state) {
    (void)state;
    ask("prompt");
    assert_string_equal(answer, "ok: a prompt from now on\n\n");
    assert_true(wants_prompt && !wants_quit);
    ask("quit json");
    assert_string_equal(answer, "{\"ok\":true,\"message\":\"closing\",\"data\":{}}\n\n");
    assert_true(wants_quit);
    assert_null(make(CONTROL_ADMIN, "  ; ;"));
}

static void an_error_may_have_data(void **state) {
    struct call *c = make(CONTROL_USER, "x");
    (void)state;
    view_number(&c->view.root, "left", 3);
    call_fail(c, COMMAND_TIMEOUT, "3 exchanges still run");
    assert_string_equal(answer, "error: timeout: 3 exchanges still run\nleft  3\n\n");
    c = make(CONTROL_USER, "x json");
    view_number(&c->view.root, "left", 3);
    answer[answer_len = 0] = '\0';
    call_fail(c, COMMAND_TIMEOUT, "3 exchanges still run");
    assert_string_equal(answer, "{\"ok\":false,\"error\":\"timeout\",\"message\":\"3 exchanges still run\","
                                "\"data\":{\"left\":3}}\n\n");
}

static void progress_is_for_eyes(void **state) {
    struct call *c = make(CONTROL_USER, "x");
    (void)state;
    call_tell(c, "%d left\n", 2);
    call_ok(c, "done");
    assert_string_equal(answer, "2 left\\x0a\nok: done\n\n");
    c = make(CONTROL_USER, "x json");
    answer[answer_len = 0] = '\0';
    call_tell(c, "%d left", 2);
    call_ok(c, "done");
    assert_true(json_is_valid(slice_from(answer, answer_len - 1)));
}

static void note_stop(struct call *c) {
    (void)c;
    stops++;
}

static void end_stream(struct call *c) {
    stops++;
    call_end_stream(c);
}

static void a_stream_drops_what_is_not_read(void **state) {
    struct call *c = make(CONTROL_USER, "x");
    (void)state;
    call_begin_stream(c, note_stop);
    assert_true(call_emit(c, SLICE("{\"n\":1}")));
    deaf = true;
    assert_false(call_emit(c, SLICE("{\"n\":2}")));
    deaf = false;
    assert_true(call_emit(c, SLICE("{\"n\":3}")));
    call_end_stream(c);
    assert_string_equal(answer, "{\"n\":1}\n{\"n\":3}\n\n");
    assert_int_equal(ends, 1);
}

static void note_gone(struct call *c) {
    (void)c;
    goes++;
}

/* A change goes on without who asked for it, and is in the audit. */
static void who_asked_may_go(void **state) {
    struct call *c = make(CONTROL_ADMIN, "log reopen");
    (void)state;
    c->command = command_find(&c->words);
    c->on_gone = note_gone;
    call_abandon(c);
    assert_int_equal(goes, 1);
    call_tell(c, "still at it");
    call_ok(c, "done at last");
    assert_int_equal(answer_len, 0);
    assert_int_equal(ends, 0);
    assert_string_equal(audit_find(&control->audit, 0)->message, "done at last");
    c = make(CONTROL_USER, "x");
    call_begin_stream(c, end_stream);
    call_abandon(c); /* ends it there and then */
    assert_int_equal(stops, 1);
    c = make(CONTROL_USER, "x");
    call_abandon(c); /* nobody minds */
    call_show(c);
}

/* --- what commands are about ------------------------------------------------------------------------------------ */

/* The answer when word 0 is taken as a target: "backend/server,server" or an error's code. */
static const char *target_of(const char *word, enum target_form form) {
    static char out[200];
    struct call *c = make(CONTROL_USER, "show servers x");
    struct target t;
    size_t n = 0;
    c->command = command_find(&c->words);
    c->words.v[0].text = slice_of(word);
    answer[answer_len = 0] = '\0';
    if (!call_take_target(c, 0, form, &t)) {
        char *code = strchr(answer, ' ') + 1;
        *strchr(code, ':') = '\0';
        return code;
    }
    const struct balance_member *m;
    n = (size_t)snprintf(out, sizeof out, "%s:", t.backend->settings->name);
    for (uint32_t at = 0; (m = target_next(&t, &at));)
        n += (size_t)snprintf(out + n, sizeof out - n, " %s", m->server->name);
    call_show(c);
    return out;
}

static void targets(void **state) {
    (void)state;
    assert_string_equal(target_of("app", TARGET_BACKEND), "app: a1 unix:/run/a/b");
    assert_string_equal(target_of("app/a1", TARGET_SERVER), "app: a1");
    assert_string_equal(target_of("app/unix:/run/a/b", TARGET_EITHER), "app: unix:/run/a/b");
    assert_string_equal(target_of("app", TARGET_EITHER), "app: a1 unix:/run/a/b");
    assert_string_equal(target_of("api", TARGET_EITHER), "api:");
    assert_string_equal(target_of("app", TARGET_SERVER), "usage");
    assert_string_equal(target_of("app/a1", TARGET_BACKEND), "usage");
    assert_string_equal(target_of("ap", TARGET_EITHER), "no_such_backend");
    assert_string_equal(target_of("", TARGET_EITHER), "no_such_backend");
    assert_string_equal(target_of("/", TARGET_EITHER), "no_such_backend");
    assert_string_equal(target_of("app/", TARGET_EITHER), "no_such_server");
    assert_string_equal(target_of("api/a1", TARGET_EITHER), "no_such_server");
    assert_string_equal(target_of("app/a1/", TARGET_EITHER), "no_such_server");
}

static void words_as_values(void **state) {
    struct call *c = make(CONTROL_USER, "show events \"for\" for 90s 12");
    uint64_t value = 0;
    (void)state;
    c->command = command_find(&c->words);
    assert_false(call_word_is(c, 0, "for"));
    assert_true(call_word_is(c, 1, "for"));
    assert_false(call_word_is(c, 9, "for"));
    assert_true(call_take_duration(c, 2, &value) && value == 90000000);
    unsigned at = 1;
    assert_true(call_take_for(c, &at, &value) && value == 90000000 && at == 3);
    assert_true(call_take_for(c, &at, &value) && value == 0 && at == 3);
    assert_true(call_take_number(c, 3, 12, &value) && value == 12);
    assert_false(call_take_number(c, 3, 11, &value));
    assert_string_equal(answer, "error: usage: '12' is not a number from 0 to 11\n\n");
    c = make(CONTROL_USER, "show events 5 x");
    c->command = command_find(&c->words);
    answer[answer_len = 0] = '\0';
    assert_false(call_take_duration(c, 0, &value));
    assert_non_null(strstr(answer, "error: usage: the duration '5' has no unit"));
    c = make(CONTROL_USER, "show events");
    c->command = command_find(&c->words);
    assert_false(call_take_duration(c, 0, &value));
    assert_int_equal(ends, 3);
    static const char *const bad[] = {"show events for", "show events for 0", "show events for 8761h"};
    for (unsigned i = 0; i < LG_COUNT(bad); i++) {
        c = make(CONTROL_USER, bad[i]);
        c->command = command_find(&c->words);
        answer[answer_len = 0] = '\0';
        at = 0;
        assert_false(call_take_for(c, &at, &value));
        assert_non_null(strstr(answer, "error: usage: "));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_row_is_whole),
        TEST(rows_are_found_by_their_words),
        TEST(the_nearest_command_is_told),
        TEST(the_table_as_markdown),
        TEST(what_is_not_allowed),
        TEST(an_answer_is_over_once),
        TEST(an_error_may_have_data),
        TEST(progress_is_for_eyes),
        TEST(a_stream_drops_what_is_not_read),
        TEST(who_asked_may_go),
        TEST(targets),
        TEST(words_as_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
