/* stream_bed.h: a control thread without workers: a configuration, its telemetry, and clients who read or do not. */
#ifndef TESTS_UNIT_STREAM_BED_H
#define TESTS_UNIT_STREAM_BED_H

#include "../../../src/control/command_internal.h"

#include "../../../src/runtime/runtime_internal.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"
#include "../../support/json_check.h"
#include "../../support/loop_run.h"

#include <stdio.h>
#include <stdlib.h>

enum { READ_MAX = 1 << 20, S = 1000000 };

/* Who asked, and what came. */
struct reader {
    char text[READ_MAX];
    size_t len;
    unsigned frames; /* parts that were taken */
    unsigned ends;
    bool deaf;
};

static struct stream_bed {
    struct runtime runtime;
    struct recorder recorder;
    struct control *control;
} sb;

static bool on_text(struct call *c, struct slice text) {
    struct reader *r = c->owner;
    if (r->deaf && c->on_stop) return false;
    assert_true(r->len + text.n < READ_MAX);
    memcpy(r->text + r->len, text.p, text.n);
    r->text[r->len += text.n] = '\0';
    r->frames++;
    return true;
}

static void on_end(struct call *c) {
    ((struct reader *)c->owner)->ends++;
}

static inline struct config *bed_config(void) {
    struct config *c = config_make();
    struct addr at = addr_make_ip("127.0.0.1", 9);
    config_add_frontend(c, "web")->default_backend = 0;
    struct backend_settings *app = config_add_backend(c, "app");
    app->breaker.on = true;
    config_add_server(c, app, "a1", &at)->weight = 3;
    config_add_server(c, app, "a/\"2\"", &at)->backup = true;
    config_add_backend(c, "web");
    return c;
}

static inline int bed_set_up(void **state) {
    static const uint64_t windows[] = {S, 10 * S};
    static const struct control_options options = {.file = "/none"};
    struct error e;
    (void)state;
    log_set_level(LEVEL_ERROR);
    sb.runtime = (struct runtime){.state = RUNTIME_RUNNING};
    loop_init(&sb.runtime.loop);
    registry_init(&sb.runtime.registry);
    sb.runtime.snapshot = snapshot_build(bed_config(), &sb.runtime.registry, &e);
    assert_non_null(sb.runtime.snapshot);
    recorder_init(&sb.recorder);
    telemetry_add_recorder(&sb.runtime.registry.telemetry, &sb.recorder);
    telemetry_set_windows(&sb.runtime.registry.telemetry, windows, 2, sb.runtime.loop.now_us);
    sb.control = calloc(1, sizeof *sb.control);
    sb.control->options = &options;
    control_start(sb.control, &sb.runtime);
    return 0;
}

static inline int bed_tear_down(void **state) {
    (void)state;
    control_stop(sb.control);
    free(sb.control);
    snapshot_free(sb.runtime.snapshot, &sb.runtime.registry);
    registry_fini(&sb.runtime.registry);
    recorder_fini(&sb.recorder);
    loop_finish(&sb.runtime.loop);
    return 0;
}

/* The call may have ended when this returns: r->ends says. */
static inline struct call *bed_ask(struct reader *r, const char *line) {
    static const struct call_events events = {on_text, on_end};
    static const struct socket_peer peer = {.pid = 1};
    struct slice rest = slice_of(line);
    r->text[r->len = 0] = '\0';
    r->frames = r->ends = 0;
    r->deaf = false;
    struct call *c = call_new(sb.control, &events, r, CONTROL_ADMIN, &peer, &rest);
    call_run(c);
    return c;
}

/* Line `i` of what came, without its end; empty when there is none. */
static inline struct slice bed_line(const struct reader *r, unsigned i) {
    struct slice rest = slice_from(r->text, r->len), line = {NULL, 0};
    for (unsigned k = 0; k <= i; k++)
        if (!slice_split(&rest, '\n', &line)) return slice_from(NULL, 0);
    return line;
}

/* One exchange of a frontend, its backend and a server of it. */
static inline void bed_exchange(const char *server, uint64_t total_us, enum failure error) {
    const struct telemetry *t = &sb.runtime.registry.telemetry;
    const uint32_t ids[] = {telemetry_find(t, SERIES_FRONTEND, "", "web")->id,
                            telemetry_find(t, SERIES_BACKEND, "", "app")->id,
                            telemetry_find(t, SERIES_SERVER, "app", server)->id};
    struct sample s = {.us = {total_us, total_us, SAMPLE_NONE, SAMPLE_NONE}, .tries = 1, .error = error};
    recorder_add(&sb.recorder, ids, 3, &s);
}

#define BED_TEST(name) cmocka_unit_test_setup_teardown(name, bed_set_up, bed_tear_down)

#endif
