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
    return s->name && strcmp(s->name, s->address.text) != 0;
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
     SETTING_AT(struct server_settings, max_connections),
     .max = 1000000,
     .fallback = "0",
     .help = "exchanges (`mode: tcp`: connections) at a time, all workers together; over: they wait; 0: no limit"},
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
                                                   .identity = "name",
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
     .flags = REQUIRED | ORDERED,
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
     SETTING_AT(struct backend_settings, health),
     .flags = OFF_TOO,
     .also = offsetof(struct backend_settings, health.on),
     .fallback = "off",
     .table = &table_health,
     .help = HEALTH_HELP},
    {.key = "breaker",
     .type = SETTING_MAP,
     SETTING_AT(struct backend_settings, breaker),
     .flags = OFF_TOO,
     .also = offsetof(struct backend_settings, breaker.on),
     .table = &table_breaker,
     .help = BREAKER_HELP},
    {.key = "retry",
     .type = SETTING_MAP,
     SETTING_AT(struct backend_settings, retry),
     .flags = OFF_TOO,
     .also = offsetof(struct backend_settings, retry.on),
     .table = &table_retry,
     .help = RETRY_HELP},
    {.key = "queue",
     .type = SETTING_MAP,
     .width = sizeof(struct backend_settings),
     .table = &table_queue,
     .help = QUEUE_HELP},
    {.key = "pool",
     .type = SETTING_MAP,
     SETTING_AT(struct backend_settings, pool),
     .table = &table_pool,
     .help = POOL_HELP},
    {.key = "slow_start",
     .type = SETTING_DURATION,
     SETTING_AT(struct backend_settings, slow_start_us),
     .fallback = "0",
     .help = SLOW_START_HELP},
    {.key = "drain",
     .type = SETTING_MAP,
     .width = sizeof(struct backend_settings),
     .table = &table_drain,
     .help = DRAIN_HELP},
};
const struct settings_table table_backend = {
    .path = "backends.NAME", .what = "a backend", TABLE_ROWS(rows_backend), .finish = finish_backend};
