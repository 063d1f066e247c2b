/* tables_frontend.c: `frontends.NAME` but for its routes. */
#include "checks_internal.h"
#include "crosscheck_internal.h"
#include "tables_internal.h"

/* --- parts that `defaults` has too ------------------------------------------------------------------------------ */

static const struct setting rows_limits[] = {
    {.key = "header_size",
     .type = SETTING_SIZE,
     SETTING_AT(struct limit_settings, header_size),
     .fallback = "16KiB",
     .min = 1024,
     .max = 1048576,
     .help = "bytes of a request's head; over: 431"},
    {.key = "header_count",
     .type = SETTING_INTEGER,
     SETTING_AT(struct limit_settings, header_count),
     .fallback = "100",
     .min = 1,
     .max = 1024, /* what the HTTP/1 codec has room for; snapshot.c checks that both agree */
     .help = "fields in a request's head; over: 431"},
    {.key = "uri_size",
     .type = SETTING_SIZE,
     SETTING_AT(struct limit_settings, uri_size),
     .fallback = "8KiB",
     .min = 64,
     .max = 1048576,
     .help = "bytes of a request's target; over: 414"},
    {.key = "body_size",
     .type = SETTING_SIZE,
     SETTING_AT(struct limit_settings, body_size),
     .fallback = "0",
     .help = "bytes of a request's body; over: 413; 0: no limit"},
};
const struct settings_table table_limits = {
    .path = "frontends.NAME.limits", .what = "limits", TABLE_ROWS(rows_limits), .finish = finish_limits};

static const struct setting rows_request_id[] = {
    {.key = "header",
     .type = SETTING_TEXT,
     SETTING_AT(struct request_id_settings, header),
     .check = check_response_header,
     .fallback = "X-Request-Id",
     .value = "field name",
     .help = "the field that carries it, to the server and to the client"},
    {.key = "trust",
     .type = SETTING_BOOL,
     SETTING_AT(struct request_id_settings, trust),
     .fallback = "false",
     .help = "keep the client's own when it is 1 to 128 visible characters"},
};
const struct settings_table table_request_id = {
    .path = "frontends.NAME.request_id", .what = "request_id", TABLE_ROWS(rows_request_id)};

static const struct setting_word words_x_forwarded[] = {
    {"append", X_FORWARDED_APPEND}, {"replace", X_FORWARDED_REPLACE}, {"off", X_FORWARDED_OFF}, {NULL, 0}};
static const struct setting item_trusted = {.key = "trusted", .type = SETTING_CIDR, .width = sizeof(struct cidr)};

static const struct setting rows_forwarded[] = {
    {.key = "x_forwarded",
     .type = SETTING_ENUM,
     SETTING_AT(struct forwarded_settings, x_forwarded),
     .words = words_x_forwarded,
     .fallback = "append",
     .help = "what becomes of X-Forwarded-For, -Proto, -Host and -Port"},
    {.key = "trusted",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct forwarded_settings, trusted.v, trusted.count),
     .item = &item_trusted,
     .help = "from clients outside these networks the incoming ones are replaced"},
};
const struct settings_table table_forwarded = {
    .path = "frontends.NAME.forwarded", .what = "forwarded", TABLE_ROWS(rows_forwarded)};

/* --- bind ------------------------------------------------------------------------------------------------------- */

static const struct setting rows_listener[] = {
    {.key = "address",
     .type = SETTING_ADDRESS,
     SETTING_AT(struct listener_settings, address),
     .flags = REQUIRED | LISTENS,
     .help = "where to listen; `*` is IPv4 and IPv6, port 0 any free one"},
    {.key = "backlog",
     .type = SETTING_INTEGER,
     SETTING_AT(struct listener_settings, backlog),
     .fallback = "4096",
     .min = 1,
     .max = 65535,
     .help = "connections that may wait to be accepted"},
    {.key = "accept_proxy",
     .type = SETTING_BOOL,
     SETTING_AT(struct listener_settings, accept_proxy),
     .fallback = "false",
     .help = "every connection begins with a PROXY header, version 1 or 2"},
    {.key = "defer_accept",
     .type = SETTING_BOOL,
     SETTING_AT(struct listener_settings, defer_accept),
     .fallback = "false",
     .help = "the kernel keeps a client that says nothing, for a second or so, before it is accepted"},
    {.key = "tls",
     .type = SETTING_CUSTOM,
     .parse = parse_any_map,
     .flags = LATER,
     .value = "map",
     .help = "TLS to the clients"},
};
static const struct settings_table table_listener = {.path = "frontends.NAME.bind",
                                                     .what = "a bind",
                                                     TABLE_ROWS(rows_listener),
                                                     .shorthand = "address",
                                                     .identity = "address",
                                                     .finish = finish_listener};
static const struct setting item_listener = {
    .key = "bind", .type = SETTING_MAP, .width = sizeof(struct listener_settings), .table = &table_listener};
static const struct setting item_route = {
    .key = "routes", .type = SETTING_MAP, .width = sizeof(struct route_settings), .table = &table_route};

/* --- the frontend ----------------------------------------------------------------------------------------------- */

static const struct setting rows_timeouts[] = {FRONTEND_TIMEOUT_ROWS(struct frontend_settings, timeouts)};
static const struct settings_table table_timeouts = {
    .path = "frontends.NAME.timeouts", .what = "a frontend's timeouts", TABLE_ROWS(rows_timeouts)};

static const struct setting_word words_mode[] = {{"http", MODE_HTTP}, {"tcp", MODE_TCP}, {NULL, 0}};

static bool has_default_backend(const void *base) {
    return ((const struct frontend_settings *)base)->default_backend >= 0;
}

static const struct setting rows_frontend[] = {
    {.key = "mode",
     .type = SETTING_ENUM,
     SETTING_AT(struct frontend_settings, mode),
     .words = words_mode,
     .fallback = "http",
     .help = "what is spoken; tcp: bytes both ways"},
    {.key = "bind",
     .type = SETTING_LIST,
     .flags = REQUIRED,
     SETTING_LIST_AT(struct frontend_settings, listeners, listener_count),
     .min = 1,
     .item = &item_listener,
     .help = "where clients connect"},
    {.key = "max_connections",
     .type = SETTING_INTEGER,
     SETTING_AT(struct frontend_settings, max_connections),
     .max = 10000000,
     .fallback = "0",
     .help = "clients' connections to this frontend; 0: none of its own"},
    {.key = "timeouts",
     .type = SETTING_MAP,
     .width = sizeof(struct frontend_settings),
     .table = &table_timeouts,
     .help = "each over: the exchange or the connection ends"},
    {.key = "limits",
     .type = SETTING_MAP,
     .flags = HTTP_ONLY,
     SETTING_AT(struct frontend_settings, limits),
     .table = &table_limits,
     .help = LIMITS_HELP},
    {.key = "request_id",
     .type = SETTING_MAP,
     .flags = HTTP_ONLY,
     SETTING_AT(struct frontend_settings, request_id),
     .table = &table_request_id,
     .help = REQUEST_ID_HELP},
    {.key = "forwarded",
     .type = SETTING_MAP,
     .flags = HTTP_ONLY,
     SETTING_AT(struct frontend_settings, forwarded),
     .table = &table_forwarded,
     .help = FORWARDED_HELP},
    {.key = "access_log",
     .type = SETTING_MAP,
     .flags = OFF_TOO,
     SETTING_AT(struct frontend_settings, access_log),
     .also = offsetof(struct frontend_settings, access_log.on),
     .fallback = "off",
     .table = &table_access_log,
     .help = ACCESS_LOG_HELP},
    {.key = "routes",
     .type = SETTING_LIST,
     .flags = HTTP_ONLY | ORDERED,
     SETTING_LIST_AT(struct frontend_settings, routes, route_count),
     .item = &item_route,
     .help = "the first one that matches decides"},
    {.key = "default_backend",
     .type = SETTING_BACKEND,
     SETTING_AT(struct frontend_settings, default_backend),
     .is_set = has_default_backend,
     .help = "used when no route matches; without it: 404; required with `mode: tcp`"},
};
const struct settings_table table_frontend = {
    .path = "frontends.NAME", .what = "a frontend", TABLE_ROWS(rows_frontend), .finish = finish_frontend};
