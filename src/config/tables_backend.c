/* tables_backend.c: `backends.NAME`: its servers, and how they are used. */
#include "checks_internal.h"
#include "crosscheck_internal.h"
#include "tables_internal.h"

/* --- balance ---------------------------------------------------------------------------------------------------- */

const struct setting_word words_balance[] = {{"round_robin", BALANCE_ROUND_ROBIN},
                                             {"least_requests", BALANCE_LEAST_REQUESTS},
                                             {"random_two", BALANCE_RANDOM_TWO},
                                             {"peak_ewma", BALANCE_PEAK_EWMA},
                                             {"first", BALANCE_FIRST},
                                             {NULL, 0}};

static const struct setting rows_hash[] = {
    {.key = "hash",
     .type = SETTING_TEXT,
     .flags = REQUIRED,
     SETTING_AT(struct balance_settings, key_text),
     .check = check_hash_key,
     .value = "`source`, `host`, `path`, `uri`, `\"header:N\"`, `\"cookie:N\"`, `\"query:N\"`",
     .help = "requests with the same value go to the same server"},
    {.key = "bounded_load",
     .type = SETTING_TEXT,
     SETTING_AT(struct balance_settings, bound_text),
     .check = check_load_bound,
     .value = "factor, 1 to 100",
     .fallback = "1.25",
     .help = "no server runs more than this times its share of all that run"},
};
const struct settings_table table_balance_hash = {
    .path = "backends.NAME.balance", .what = "balance", TABLE_ROWS(rows_hash), .finish = finish_balance};

/* --- servers ---------------------------------------------------------------------------------------------------- */

static const struct setting_word words_send_proxy[] = {
    {"off", SEND_PROXY_OFF}, {"v1", SEND_PROXY_V1}, {"v2", SEND_PROXY_V2}, {NULL, 0}};

/* A name that is only the address need not have the form of a name. */
static bool has_own_name(const void *base) {
    const struct server_settings *s = base;
    return strcmp(s->name, s->address.text) != 0;
}

static const struct setting rows_server[] = {
    {.key = "name",
     .type = SETTING_NAME,
     SETTING_AT(struct server_settings, name),
     .is_set = has_own_name,
     .help = "without it, the address"},
    {.key = "address",
     .type = SETTING_ADDRESS,
     .flags = REQUIRED,
     SETTING_AT(struct server_settings, address),
     .help = "where it listens"},
    {.key = "weight",
     .type = SETTING_INTEGER,
     SETTING_AT(struct server_settings, weight),
     .max = 256,
     .fallback = "1",
     .help = "its part of the requests; 0: none"},
    {.key = "max_connections",
     .type = SETTING_INTEGER,
     .flags = LATER_UNLESS_ZERO,
     .max = 1000000,
     .fallback = "0",
     .help = "exchanges at a time; 0: no limit"},
    {.key = "backup",
     .type = SETTING_BOOL,
     SETTING_AT(struct server_settings, backup),
     .fallback = "false",
     .help = "used only when no other can be"},
    {.key = "maint",
     .type = SETTING_BOOL,
     SETTING_AT(struct server_settings, maint),
     .fallback = "false",
     .help = "not used"},
    {.key = "tls",
     .type = SETTING_CUSTOM,
     .parse = parse_any_map,
     .flags = LATER,
     .value = "map",
     .help = "TLS to the server"},
    {.key = "send_proxy",
     .type = SETTING_ENUM,
     SETTING_AT(struct server_settings, send_proxy),
     .words = words_send_proxy,
     .fallback = "off",
     .help = "begin each connection with a PROXY header of this version"},
};
static const struct settings_table table_server = {.path = "backends.NAME.servers",
                                                   .what = "a server",
                                                   TABLE_ROWS(rows_server),
                                                   .shorthand = "address",
                                                   .finish = finish_server};
static const struct setting item_server = {
    .key = "servers", .type = SETTING_MAP, .width = sizeof(struct server_settings), .table = &table_server};

/* --- pool ------------------------------------------------------------------------------------------------------- */

static const struct setting rows_pool[] = {
    {.key = "max_idle",
     .type = SETTING_INTEGER,
     SETTING_AT(struct pool_settings, max_idle),
     .max = 1000000,
     .fallback = "64",
     .help = "idle connections kept for each server and worker; 0: none"},
    {.key = "idle_timeout",
     .type = SETTING_DURATION,
     SETTING_AT(struct pool_settings, idle_timeout_us),
     .fallback = "30s",
     .help = "how long; 0: for ever"},
    {.key = "max_requests",
     .type = SETTING_INTEGER,
     SETTING_AT(struct pool_settings, max_requests),
     .fallback = "0",
     .help = "requests on one connection; 0: any number"},
};
const struct settings_table table_pool = {.path = "backends.NAME.pool", .what = "pool", TABLE_ROWS(rows_pool)};

/* --- what is not built yet -------------------------------------------------------------------------------------- */

static const struct setting rows_health_http[] = {
    {.key = "path",
     .type = SETTING_TEXT,
     .check = check_path,
     .fallback = "/",
     .value = "path",
     .help = "what is asked for"},
    {.key = "method", .type = SETTING_TEXT, .check = check_method, .fallback = "GET", .value = "method", .help = "how"},
    {.key = "host", .type = SETTING_TEXT, .check = check_host, .value = "host name", .help = "the Host field"},
    {.key = "expect",
     .type = SETTING_TEXT,
     .check = check_status_list,
     .fallback = "200-399",
     .value = "status codes",
     .help = "the answers that count as good"},
};
static const struct settings_table table_health_http = {
    .path = "backends.NAME.health.http", .what = "health.http", TABLE_ROWS(rows_health_http)};
static const struct setting rows_health_tcp[] = {
    {.key = "send", .type = SETTING_TEXT, .help = "what is sent"},
    {.key = "expect", .type = SETTING_TEXT, .help = "what the answer begins with"},
};
static const struct settings_table table_health_tcp = {
    .path = "backends.NAME.health.tcp", .what = "health.tcp", TABLE_ROWS(rows_health_tcp)};

static const struct setting_word words_initial[] = {{"up", 0}, {"down", 1}, {NULL, 0}};
static const struct setting rows_health[] = {
    {.key = "http", .type = SETTING_MAP, .table = &table_health_http, .help = "check by a request"},
    {.key = "tcp", .type = SETTING_MAP, .table = &table_health_tcp, .help = "check by a connection"},
    {.key = "interval", .type = SETTING_DURATION, .min = 1000, .fallback = "2s", .help = "between two checks"},
    {.key = "timeout", .type = SETTING_DURATION, .min = 1000, .fallback = "1s", .help = "of one check"},
    {.key = "rise",
     .type = SETTING_INTEGER,
     .min = 1,
     .max = 1000,
     .fallback = "2",
     .help = "good checks in a row until up"},
    {.key = "fall",
     .type = SETTING_INTEGER,
     .min = 1,
     .max = 1000,
     .fallback = "3",
     .help = "bad checks in a row until down"},
    {.key = "fast_interval",
     .type = SETTING_DURATION,
     .min = 1000,
     .fallback = "500ms",
     .help = "between two checks while the state is changing"},
    {.key = "jitter", .type = SETTING_RATIO, .fallback = "10%", .help = "how much intervals vary"},
    {.key = "initial",
     .type = SETTING_ENUM,
     .words = words_initial,
     .fallback = "up",
     .help = "before the first check"},
};
const struct settings_table table_health = {
    .path = "backends.NAME.health", .what = "health", TABLE_ROWS(rows_health), .finish = finish_health};

static const struct setting rows_breaker[] = {
    {.key = "error_rate", .type = SETTING_RATIO, .fallback = "50%", .help = "opens at this share of failures"},
    {.key = "window", .type = SETTING_DURATION, .min = 1000, .fallback = "10s", .help = "over this time"},
    {.key = "min_requests",
     .type = SETTING_INTEGER,
     .min = 1,
     .max = 1000000,
     .fallback = "20",
     .help = "of at least so many exchanges"},
    {.key = "open",
     .type = SETTING_DURATION,
     .min = 1000,
     .fallback = "5s",
     .help = "how long it stays open, doubled each time"},
    {.key = "max_open", .type = SETTING_DURATION, .min = 1000, .fallback = "60s", .help = "at most"},
    {.key = "probes",
     .type = SETTING_INTEGER,
     .min = 1,
     .max = 1000,
     .fallback = "3",
     .help = "exchanges that must succeed before it closes"},
    {.key = "ramp", .type = SETTING_DURATION, .fallback = "10s", .help = "over which the server gets its share back"},
    {.key = "observe", .type = SETTING_BOOL, .fallback = "false", .help = "only tell"},
};
const struct settings_table table_breaker = {
    .path = "backends.NAME.breaker", .what = "breaker", TABLE_ROWS(rows_breaker)};

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

static const struct setting rows_queue[] = {
    {.key = "max",
     .type = SETTING_INTEGER,
     .max = 10000000,
     .fallback = "1024",
     .help = "requests that wait; over: 503"},
};
const struct settings_table table_queue = {.path = "backends.NAME.queue", .what = "queue", TABLE_ROWS(rows_queue)};

static const struct setting rows_drain[] = {
    {.key = "timeout",
     .type = SETTING_DURATION,
     .flags = LATER_UNLESS_ZERO,
     .fallback = "0",
     .help = "before a drain closes what is left; 0: for ever"},
};
const struct settings_table table_drain = {.path = "backends.NAME.drain", .what = "drain", TABLE_ROWS(rows_drain)};

/* --- the backend ------------------------------------------------------------------------------------------------ */

static const struct setting rows_timeouts[] = {BACKEND_TIMEOUT_ROWS(struct backend_settings, timeouts)};
static const struct settings_table table_timeouts = {
    .path = "backends.NAME.timeouts", .what = "a backend's timeouts", TABLE_ROWS(rows_timeouts)};

static const struct setting rows_backend[] = {
    {.key = "balance",
     .type = SETTING_ENUM,
     SETTING_AT(struct backend_settings, balance.kind),
     .words = words_balance,
     .table = &table_balance_hash,
     .fallback = "round_robin",
     .help = BALANCE_HELP},
    {.key = "servers",
     .type = SETTING_LIST,
     .flags = REQUIRED,
     SETTING_LIST_AT(struct backend_settings, servers, server_count),
     .min = 1,
     .item = &item_server,
     .help = "who answers"},
    {.key = "timeouts",
     .type = SETTING_MAP,
     .width = sizeof(struct backend_settings),
     .table = &table_timeouts,
     .help = "each over: the try fails"},
    {.key = "health",
     .type = SETTING_MAP,
     .flags = OFF_TOO | LATER_UNLESS_ZERO,
     .fallback = "off",
     .table = &table_health,
     .help = HEALTH_HELP},
    {.key = "breaker",
     .type = SETTING_MAP,
     .flags = OFF_TOO | LATER_UNLESS_ZERO,
     .table = &table_breaker,
     .help = BREAKER_HELP},
    {.key = "retry",
     .type = SETTING_MAP,
     SETTING_AT(struct backend_settings, retry),
     .flags = OFF_TOO,
     .also = offsetof(struct backend_settings, retry.on),
     .table = &table_retry,
     .help = RETRY_HELP},
    {.key = "queue", .type = SETTING_MAP, .flags = LATER, .table = &table_queue, .help = QUEUE_HELP},
    {.key = "pool",
     .type = SETTING_MAP,
     SETTING_AT(struct backend_settings, pool),
     .table = &table_pool,
     .help = POOL_HELP},
    {.key = "slow_start",
     .type = SETTING_DURATION,
     .flags = LATER_UNLESS_ZERO,
     .fallback = "0",
     .help = SLOW_START_HELP},
    {.key = "drain", .type = SETTING_MAP, .table = &table_drain, .help = DRAIN_HELP},
};
const struct settings_table table_backend = {
    .path = "backends.NAME", .what = "a backend", TABLE_ROWS(rows_backend), .finish = finish_backend};
