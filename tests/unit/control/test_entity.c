/* test_entity.c: what has a name: the walk, names, and the line of JSON with its contract of fields. */
#include "stream_bed.h"

#include "loomgate/control/entity.h"

#include <math.h>

static struct telemetry *telemetry(void) {
    return &sb.runtime.registry.telemetry;
}

/* "kind:owner/name kind:owner/name ..." of those that `name` means; NULL: all. */
static const char *walk(const char *name) {
    static char out[500];
    size_t n = 0;
    out[0] = '\0';
    for (struct entity e = {0}; entity_next(sb.runtime.snapshot, &e);) {
        if (name && !entity_is(&e, slice_of(name))) continue;
        assert_ptr_equal(e.series, telemetry_find(telemetry(), e.kind, e.owner, e.name));
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%s:%s/%s", n ? " " : "", series_kind_name(e.kind), e.owner,
                              e.name);
    }
    return out;
}

static void walks_and_names(void **state) {
    (void)state;
    assert_string_equal(walk(NULL), "frontend:/web backend:/app server:app/a1 server:app/a/\"2\" backend:/web");
    assert_string_equal(walk("web"), "frontend:/web backend:/web");
    assert_string_equal(walk("app"), "backend:/app server:app/a1 server:app/a/\"2\"");
    assert_string_equal(walk("app/a1"), "server:app/a1");
    assert_string_equal(walk("app/a/\"2\""), "server:app/a/\"2\"");
    static const char *const nobody[] = {"", "/", "ap", "appp", "app/", "app/a", "app/a11", "/app", "a1", "app/a1/"};
    for (size_t i = 0; i < LG_COUNT(nobody); i++) assert_string_equal(walk(nobody[i]), "");
}

static struct entity entity_of(const char *name, enum series_kind kind) {
    struct entity e = {0};
    while (entity_next(sb.runtime.snapshot, &e))
        if (e.kind == kind && entity_is(&e, slice_of(name))) return e;
    fail();
    return e;
}

/* The line of JSON without a head. */
static const char *json_of(const char *name, enum series_kind kind) {
    static char text[4096];
    struct entity e = entity_of(name, kind);
    struct entity_stats stats;
    FILE *out = fmemopen(text, sizeof text, "w");
    entity_read(&e, telemetry(), sb.runtime.loop.now_us, &stats);
    fputc('{', out);
    entity_print_json(&e, &stats, out);
    fputs("}", out);
    fclose(out);
    assert_true(json_is_valid(slice_of(text)));
    return text;
}

static void without_traffic(void **state) {
    (void)state;
    assert_string_equal(json_of("app/a/\"2\"", SERIES_SERVER),
                        "{\"kind\":\"server\",\"backend\":\"app\",\"name\":\"a/\\\"2\\\"\",\"window_s\":10,\"rps\":0,"
                        "\"rps_1s\":0,\"p50_ms\":null,\"p90_ms\":null,\"p95_ms\":null,\"p99_ms\":null,"
                        "\"p999_ms\":null,\"max_ms\":null,\"first_byte_p99_ms\":null,\"connect_p99_ms\":null,"
                        "\"queue_p99_ms\":null,\"error_rate\":null,\"retries_per_s\":0,\"active\":0,\"queued\":0,"
                        "\"connections\":0,\"idle\":0,\"bytes_in_per_s\":0,\"bytes_out_per_s\":0,"
                        "\"requests_total\":0,\"errors_total\":{},\"admin\":\"ready\",\"health\":\"unchecked\","
                        "\"breaker\":\"closed\",\"weight\":1}");
}

static void with_traffic(void **state) {
    (void)state;
    struct balance_member *m = &sb.runtime.snapshot->backends[0].members[0];
    struct sample slow = {.us = {2000000, 1500000, 250, 70}, .bytes_in = 3000, .bytes_out = 40000, .tries = 2};
    slow.retries = 1;
    slow.error = FAILURE_connect_timeout;
    recorder_add(&sb.recorder, &m->server->series->id, 1, &slow);
    for (unsigned i = 0; i < 38; i++) bed_exchange("a1", 100, FAILURE_NONE);
    bed_exchange("a1", 129, FAILURE_connect_failed);
    telemetry_tick(telemetry(), sb.runtime.loop.now_us + 4 * S);
    recorder_move(&sb.recorder, m->server->series->id, GAUGE_IDLE, 7);
    m->server->health.checked = true;
    atomic_store(&m->server->shared.active, 17);
    atomic_store(&m->server->shared.admin, SERVER_DRAIN);
    atomic_store(&m->server->shared.health, SERVER_DOWN);
    assert_string_equal(json_of("app/a1", SERIES_SERVER),
                        "{\"kind\":\"server\",\"backend\":\"app\",\"name\":\"a1\",\"window_s\":10,\"rps\":10,"
                        "\"rps_1s\":10,\"p50_ms\":0.1,\"p90_ms\":0.1,\"p95_ms\":0.1,\"p99_ms\":2007.0395,"
                        "\"p999_ms\":2007.0395,\"max_ms\":2007.0395,\"first_byte_p99_ms\":1499.1355,"
                        "\"connect_p99_ms\":0.2505,\"queue_p99_ms\":0.07,\"error_rate\":0.05,\"retries_per_s\":0.25,"
                        "\"active\":17,\"queued\":0,\"connections\":24,\"idle\":7,\"bytes_in_per_s\":750,"
                        "\"bytes_out_per_s\":10000,\"requests_total\":40,"
                        "\"errors_total\":{\"connect_failed\":1,\"connect_timeout\":1},\"admin\":\"drain\","
                        "\"health\":\"down\",\"breaker\":\"closed\",\"weight\":3}");
    atomic_store(&sb.runtime.snapshot->backends[0].members[0].server->shared.active, 0);
}

/* The others have what makes sense for them, in the same order. */
static void frontends_and_backends(void **state) {
    (void)state;
    struct snapshot *s = sb.runtime.snapshot;
    bed_exchange("a1", 100, FAILURE_NONE);
    telemetry_tick(telemetry(), sb.runtime.loop.now_us + 4 * S);
    recorder_move(&sb.recorder, s->frontends[0].series->id, GAUGE_ACTIVE, 3);
    recorder_move(&sb.recorder, s->backends[0].backups[0].server->series->id, GAUGE_IDLE, 2);
    atomic_store(&s->frontends[0].gate->open, 9);
    atomic_store(&s->backends[0].members[0].server->shared.active, 1);
    atomic_store(&s->backends[0].group->queue.waiting, 5);
    const char *text = json_of("web", SERIES_FRONTEND);
    assert_non_null(strstr(text, "{\"kind\":\"frontend\",\"name\":\"web\",\"window_s\":10,\"rps\":0.25,"));
    assert_non_null(strstr(text, "\"retries_per_s\":0,\"active\":3,\"connections\":9,\"bytes_in_per_s\":0,"));
    assert_non_null(strstr(text, "\"requests_total\":1,\"errors_total\":{}}"));
    text = json_of("app", SERIES_BACKEND);
    assert_non_null(strstr(text, "{\"kind\":\"backend\",\"name\":\"app\",\"window_s\":10,\"rps\":0.25,"));
    assert_non_null(strstr(text, "\"active\":1,\"queued\":5,\"connections\":3,\"idle\":2,\"bytes_in_per_s\":0,"));
    assert_non_null(strstr(text, "\"requests_total\":1,\"errors_total\":{}}"));
    assert_non_null(
        strstr(json_of("app/a1", SERIES_SERVER), "\"active\":1,\"queued\":5,\"connections\":1,\"idle\":0,"));
    atomic_store(&s->backends[0].members[0].server->shared.active, 0);
    atomic_store(&s->backends[0].group->queue.waiting, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        BED_TEST(walks_and_names),
        BED_TEST(without_traffic),
        BED_TEST(with_traffic),
        BED_TEST(frontends_and_backends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
