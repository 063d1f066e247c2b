/* tables_internal.h: the settings tables, from the root down, and what the root is read into.
 *
 *   root: version, include, global -> log, control, ...
 *         defaults                     -> what frontends and backends start from
 *         frontends.NAME               -> bind, timeouts, limits, routes -> match, actions
 *         backends.NAME                -> servers, timeouts, pool, health, ... */
#ifndef LOOMGATE_CONFIG_TABLES_INTERNAL_H
#define LOOMGATE_CONFIG_TABLES_INTERNAL_H

#include "loomgate/config/schema.h"

/* What every frontend and backend is a copy of before its own map is read. */
struct defaults {
    struct frontend_settings frontend;
    struct backend_settings backend;
};

struct root_settings {
    struct global_settings global;
    struct defaults defaults;
};

extern const struct settings_table table_root, table_global, table_defaults, table_frontend, table_backend;
extern const struct settings_table table_log, table_access_log, table_route, table_match;
/* Maps that frontends, backends, routes and defaults share. */
extern const struct settings_table table_limits, table_request_id, table_forwarded, table_pool;
extern const struct settings_table table_health, table_breaker, table_retry, table_queue, table_drain,
    table_balance_hash;
extern const struct setting_word words_balance[];

setting_parse_custom parse_log_target, parse_any_map;
setting_print_custom print_log_target;

/* What holds where the file says nothing; `s` is all zero before. */
void root_set_defaults(struct loader *l, struct root_settings *s);

/* One set of timeouts' rows, wherever they are stored. */
#define FRONTEND_TIMEOUT_ROWS(owner, at)                                                               \
    {.key = "header",                                                                                  \
     .type = SETTING_DURATION,                                                                         \
     SETTING_AT(owner, at.header_us),                                                                  \
     .fallback = "10s",                                                                                \
     .help = "the whole head of a request (or a PROXY header) must arrive within; over: 408"},         \
        {.key = "keep_alive",                                                                          \
         .type = SETTING_DURATION,                                                                     \
         SETTING_AT(owner, at.keep_alive_us),                                                          \
         .fallback = "60s",                                                                            \
         .flags = HTTP_ONLY,                                                                           \
         .help = "how long a client's connection may be idle between requests"},                       \
        {.key = "client",                                                                              \
         .type = SETTING_DURATION,                                                                     \
         SETTING_AT(owner, at.client_us),                                                              \
         .fallback = "30s",                                                                            \
         .help = "no byte moved to or from the client while an exchange needs it"},                    \
    {                                                                                                  \
        .key = "request", .type = SETTING_DURATION, SETTING_AT(owner, at.request_us), .fallback = "0", \
        .flags = HTTP_ONLY, .help = "the whole exchange, from its head on; 0: no limit"                \
    }

#define BACKEND_TIMEOUT_ROWS(owner, at)                                                               \
    {.key = "connect",                                                                                \
     .type = SETTING_DURATION,                                                                        \
     SETTING_AT(owner, at.connect_us),                                                                \
     .fallback = "2s",                                                                                \
     .help = "until a connection to a server stands"},                                                \
        {.key = "response",                                                                           \
         .type = SETTING_DURATION,                                                                    \
         SETTING_AT(owner, at.response_us),                                                           \
         .fallback = "30s",                                                                           \
         .help = "from the end of the request to the first byte of the response's head"},             \
        {.key = "server",                                                                             \
         .type = SETTING_DURATION,                                                                    \
         SETTING_AT(owner, at.server_us),                                                             \
         .fallback = "30s",                                                                           \
         .help = "no byte moved to or from the server while an exchange needs it"},                   \
        {.key = "queue",                                                                              \
         .type = SETTING_DURATION,                                                                    \
         SETTING_AT(owner, at.queue_us),                                                              \
         .fallback = "5s",                                                                            \
         .help = "waiting for a server with room; over: 503; 0: for ever"},                           \
    {                                                                                                 \
        .key = "tunnel", .type = SETTING_DURATION, SETTING_AT(owner, at.tunnel_us), .fallback = "1h", \
        .help = "no byte moved in a tunnel (`mode: tcp`, WebSocket)"                                  \
    }

#define LIMITS_HELP     "how large a request may be"
#define REQUEST_ID_HELP "every exchange has an id, a UUIDv7"
#define FORWARDED_HELP  "what servers are told about the client"
#define ACCESS_LOG_HELP "one record for each exchange"
#define BALANCE_HELP    "which server gets the next request"
#define HEALTH_HELP     "checks of each server; who fails them gets no requests"
#define BREAKER_HELP    "takes a server out whose exchanges fail; on unless `off`"
#define RETRY_HELP      "another try after a failure; on unless `off`"
#define QUEUE_HELP      "requests that wait for a server"
#define POOL_HELP       "idle keep-alive connections to the servers"
#define SLOW_START_HELP "a server that comes back ramps its weight over this time"
#define DRAIN_HELP      "what happens to a server that is drained"

#endif
