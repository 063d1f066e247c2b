/* tables_resilience.c: the parts of a backend that decide what happens when its servers fail or are full: health,
 * breaker, retry, queue, drain. */
#include "checks_internal.h"
#include "crosscheck_internal.h"
#include "tables_internal.h"

/* --- health ----------------------------------------------------------------------------------------------------- */

static const struct setting rows_health_http[] = {
    {.key = "path",
     .type = SETTING_TEXT,
     SETTING_AT(struct health_settings, path),
     .check = check_target,
     .fallback = "/",
     .value = "path",
     .help = "what is asked for; a query may follow it"},
    {.key = "method",
     .type = SETTING_TEXT,
     SETTING_AT(struct health_settings, method),
     .check = check_probe_method,
     .fallback = "GET",
     .value = "method",
     .help = "how"},
    {.key = "host",
     .type = SETTING_TEXT,
     SETTING_AT(struct health_settings, host),
     .check = check_authority,
     .value = "host name, or with `:PORT`",
     .help = "the Host field; without it, the server's address"},
    {.key = "expect",
     .type = SETTING_TEXT,
     SETTING_AT(struct health_settings, expect_status),
     .check = status_list_check,
     .fallback = "200-399",
     .value = "status codes",
     .help = "the answers that count as good: codes and ranges, with commas between"},
};
static const struct settings_table table_health_http = {
    .path = "backends.NAME.health.http", .what = "health.http", TABLE_ROWS(rows_health_http)};

static const struct setting rows_health_tcp[] = {
    {.key = "send",
     .type = SETTING_BYTES,
     SETTING_AT(struct health_settings, send),
     .check = check_probe_bytes,
     .help = "what is sent, at most 4 KiB; nothing: nothing is"},
    {.key = "expect",
     .type = SETTING_BYTES,
     SETTING_AT(struct health_settings, expect),
     .check = check_probe_bytes,
     .help = "what the answer begins with, at most 4 KiB; nothing: a connection is enough"},
};
static const struct settings_table table_health_tcp = {
    .path = "backends.NAME.health.tcp", .what = "health.tcp", TABLE_ROWS(rows_health_tcp)};

static bool is_http(const void *base) {
    return ((const struct health_settings *)base)->kind == HEALTH_HTTP;
}
static bool is_tcp(const void *base) {
    return ((const struct health_settings *)base)->kind == HEALTH_TCP;
}

static const struct setting_word words_initial[] = {{"up", 0}, {"down", 1}, {NULL, 0}};
static const struct setting rows_health[] = {
    {.key = "http",
     .type = SETTING_MAP,
     .width = sizeof(struct health_settings),
     .table = &table_health_http,
     .is_set = is_http,
     .help = "check by a request"},
    {.key = "tcp",
     .type = SETTING_MAP,
     .width = sizeof(struct health_settings),
     .table = &table_health_tcp,
     .is_set = is_tcp,
     .help = "check by a connection"},
    {.key = "interval",
     .type = SETTING_DURATION,
     SETTING_AT(struct health_settings, interval_us),
     .min = 1000,
     .fallback = "2s",
     .help = "between two checks"},
    {.key = "timeout",
     .type = SETTING_DURATION,
     SETTING_AT(struct health_settings, timeout_us),
     .min = 1000,
     .fallback = "1s",
     .help = "of one check, until its answer"},
    {.key = "rise",
     .type = SETTING_INTEGER,
     SETTING_AT(struct health_settings, rise),
     .min = 1,
     .max = 1000,
     .fallback = "2",
     .help = "good checks in a row until up"},
    {.key = "fall",
     .type = SETTING_INTEGER,
     SETTING_AT(struct health_settings, fall),
     .min = 1,
     .max = 1000,
     .fallback = "3",
     .help = "bad checks in a row until down"},
    {.key = "fast_interval",
     .type = SETTING_DURATION,
     SETTING_AT(struct health_settings, fast_interval_us),
     .min = 1000,
     .fallback = "500ms",
     .help = "between two checks while the state is changing"},
    {.key = "jitter",
     .type = SETTING_RATIO,
     SETTING_AT(struct health_settings, jitter),
     .fallback = "10%",
     .help = "how much intervals vary"},
    {.key = "initial",
     .type = SETTING_ENUM,
     SETTING_AT(struct health_settings, starts_down),
     .words = words_initial,
     .fallback = "up",
     .help = "before the first check"},
};
const struct settings_table table_health = {
    .path = "backends.NAME.health", .what = "health", TABLE_ROWS(rows_health), .finish = finish_health};

/* --- breaker ---------------------------------------------------------------------------------------------------- */

static const struct setting rows_breaker[] = {
    {.key = "error_rate",
     .type = SETTING_RATIO,
     SETTING_AT(struct breaker_settings, error_rate),
     .fallback = "50%",
     .help = "opens at this share of failures"},
    {.key = "window",
     .type = SETTING_DURATION,
     SETTING_AT(struct breaker_settings, window_us),
     .min = 1000, /* a tenth of it is still something that clocks can tell */
     .fallback = "10s",
     .help = "over this time"},
    {.key = "min_requests",
     .type = SETTING_INTEGER,
     SETTING_AT(struct breaker_settings, min_requests),
     .min = 1,
     .max = 1000000,
     .fallback = "20",
     .help = "of at least so many exchanges"},
    {.key = "open",
     .type = SETTING_DURATION,
     SETTING_AT(struct breaker_settings, open_us),
     .min = 1000,
     .fallback = "5s",
     .help = "how long it stays open, doubled each time"},
    {.key = "max_open",
     .type = SETTING_DURATION,
     SETTING_AT(struct breaker_settings, max_open_us),
     .min = 1000,
     .fallback = "60s",
     .help = "at most"},
    {.key = "probes",
     .type = SETTING_INTEGER,
     SETTING_AT(struct breaker_settings, probes),
     .min = 1,
     .max = 100,
     .fallback = "3",
     .help = "exchanges that must succeed before it closes, and as many at a time"},
    {.key = "ramp",
     .type = SETTING_DURATION,
     SETTING_AT(struct breaker_settings, ramp_us),
     .fallback = "10s",
     .help = "over which the server gets its share back; 0: at once"},
    {.key = "observe",
     .type = SETTING_BOOL,
     SETTING_AT(struct breaker_settings, observe),
     .fallback = "false",
     .help = "only tell what it would do"},
};
const struct settings_table table_breaker = {
    .path = "backends.NAME.breaker", .what = "breaker", TABLE_ROWS(rows_breaker), .finish = finish_breaker};

/* --- retry ------------------------------------------------------------------------------------------------------ */

static const struct setting_word words_retry_on[] = {{"connect_failed", RETRY_ON_CONNECT_FAILED},
                                                     {"connect_timeout", RETRY_ON_CONNECT_TIMEOUT},
                                                     {"closed_idle", RETRY_ON_CLOSED_IDLE},
                                                     {"reset_before_response", RETRY_ON_RESET_BEFORE_RESPONSE},
                                                     {"response_timeout", RETRY_ON_RESPONSE_TIMEOUT},
                                                     {"502", RETRY_ON_502},
                                                     {"503", RETRY_ON_503},
                                                     {"504", RETRY_ON_504},
                                                     {NULL, 0}};
static const struct setting item_retry_on = {
    .key = "on", .type = SETTING_ENUM, .width = sizeof(uint16_t), .words = words_retry_on};
static const struct setting rows_backoff[] = {
    {.key = "base",
     .type = SETTING_DURATION,
     SETTING_AT(struct retry_settings, backoff_base_us),
     .fallback = "25ms",
     .help = "the longest wait before the first retry, doubled each time; the wait is any time up to it"},
    {.key = "max",
     .type = SETTING_DURATION,
     SETTING_AT(struct retry_settings, backoff_max_us),
     .fallback = "1s",
     .help = "what it grows to"},
};
static const struct settings_table table_backoff = {
    .path = "backends.NAME.retry.backoff", .what = "retry.backoff", TABLE_ROWS(rows_backoff)};
static const struct setting rows_budget[] = {
    {.key = "ratio",
     .type = SETTING_RATIO,
     SETTING_AT(struct retry_settings, budget_ratio),
     .fallback = "20%",
     .help = "so many retries a request, counted over the last 10 s"},
    {.key = "min_per_second",
     .type = SETTING_INTEGER,
     SETTING_AT(struct retry_settings, budget_min_per_second),
     .max = 1000000,
     .fallback = "10",
     .help = "and so many more, however few the requests"},
};
static const struct settings_table table_budget = {
    .path = "backends.NAME.retry.budget", .what = "retry.budget", TABLE_ROWS(rows_budget)};
static const struct setting rows_retry[] = {
    {.key = "max",
     .type = SETTING_INTEGER,
     SETTING_AT(struct retry_settings, max),
     .max = 100,
     .fallback = "2",
     .help = "further tries of a request"},
    {.key = "on",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct retry_settings, causes, cause_count),
     .item = &item_retry_on,
     .fallback = "connect_failed, connect_timeout, closed_idle, reset_before_response, response_timeout, 502, 503, 504",
     .help = "after which failures; a number is a status that the server answers"},
    {.key = "backoff",
     .type = SETTING_MAP,
     .width = sizeof(struct retry_settings),
     .table = &table_backoff,
     .help = "how long to wait"},
    {.key = "budget",
     .type = SETTING_MAP,
     .width = sizeof(struct retry_settings),
     .table = &table_budget,
     .help = "how many retries of all requests to the backend"},
    {.key = "non_idempotent",
     .type = SETTING_BOOL,
     SETTING_AT(struct retry_settings, non_idempotent),
     .fallback = "false",
     .help = "also what the server may have done already, such as a POST"},
    {.key = "buffer",
     .type = SETTING_SIZE,
     SETTING_AT(struct retry_settings, buffer),
     .max = 1073741824,
     .fallback = "64KiB",
     .help = "of a body, kept for another try; a longer one is not sent again"},
    {.key = "per_try_timeout",
     .type = SETTING_DURATION,
     SETTING_AT(struct retry_settings, per_try_us),
     .fallback = "0",
     .help = "of one try, until the head of the answer; 0: none"},
};
const struct settings_table table_retry = {.path = "backends.NAME.retry", .what = "retry", TABLE_ROWS(rows_retry)};

/* --- queue and drain -------------------------------------------------------------------------------------------- */

static const struct setting rows_queue[] = {
    {.key = "max",
     .type = SETTING_INTEGER,
     SETTING_AT(struct backend_settings, queue_max),
     .max = 10000000,
     .fallback = "1024",
     .help = "requests that wait while all servers are full; over: 503; 0: none waits"},
};
const struct settings_table table_queue = {.path = "backends.NAME.queue", .what = "queue", TABLE_ROWS(rows_queue)};

static const struct setting rows_drain[] = {
    {.key = "timeout",
     .type = SETTING_DURATION,
     SETTING_AT(struct backend_settings, drain_timeout_us),
     .fallback = "0",
     .help = "before a drain closes what is left; 0: for ever"},
};
const struct settings_table table_drain = {.path = "backends.NAME.drain", .what = "drain", TABLE_ROWS(rows_drain)};
