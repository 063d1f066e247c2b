/* tables_route.c: a route of a frontend: what it matches and what it does. */
#include "checks_internal.h"
#include "crosscheck_internal.h"
#include "tables_internal.h"

/* --- match ------------------------------------------------------------------------------------------------------ */

static const struct setting item_host = {
    .key = "host", .type = SETTING_TEXT, .width = sizeof(char *), .check = check_host, .value = "host name"};
static const struct setting item_method = {
    .key = "method", .type = SETTING_TEXT, .width = sizeof(char *), .check = check_method, .value = "method"};
static const struct setting item_source = {.key = "source", .type = SETTING_CIDR, .width = sizeof(struct cidr)};
static const struct setting value_of_field = {.type = SETTING_TEXT, .check = check_field_value};

static const struct setting rows_match[] = {
    {.key = "host",
     .type = SETTING_LIST,
     .flags = ONE_OR_LIST,
     .min = 1,
     SETTING_LIST_AT(struct match_settings, hosts.v, hosts.count),
     .item = &item_host,
     .help = "exact, or `*.example.com` for all names below; without a port, large and small letters are the same"},
    {.key = "path",
     .type = SETTING_TEXT,
     SETTING_AT(struct match_settings, path),
     .check = check_path,
     .value = "path",
     .help = "exactly this path, without the query"},
    {.key = "path_prefix",
     .type = SETTING_TEXT,
     SETTING_AT(struct match_settings, path_prefix),
     .check = check_path,
     .value = "path",
     .help = "this path and all below it: `/v1` is also `/v1/x`, not `/v10`"},
    {.key = "path_regex", .type = SETTING_TEXT, .flags = LATER, .value = "regular expression", .help = "PCRE2"},
    {.key = "method",
     .type = SETTING_LIST,
     .flags = ONE_OR_LIST,
     .min = 1,
     SETTING_LIST_AT(struct match_settings, methods.v, methods.count),
     .item = &item_method,
     .help = "one of these methods"},
    {.key = "header",
     .type = SETTING_PAIRS,
     SETTING_AT(struct match_settings, headers),
     .check = check_token,
     .item = &value_of_field,
     .help = "each field is there with this value; `\"*\"`: with any"},
    {.key = "query",
     .type = SETTING_PAIRS,
     SETTING_AT(struct match_settings, queries),
     .help = "each parameter is there with this value; `\"*\"`: with any"},
    {.key = "cookie",
     .type = SETTING_PAIRS,
     SETTING_AT(struct match_settings, cookies),
     .check = check_token,
     .item = &value_of_field,
     .help = "each cookie is there with this value; `\"*\"`: with any"},
    {.key = "source",
     .type = SETTING_LIST,
     .flags = ONE_OR_LIST,
     .min = 1,
     SETTING_LIST_AT(struct match_settings, sources.v, sources.count),
     .item = &item_source,
     .help = "the client's address is in one of these networks"},
};
const struct settings_table table_match = {
    .path = "frontends.NAME.routes.match", .what = "a match", TABLE_ROWS(rows_match), .finish = finish_match};

/* --- actions ---------------------------------------------------------------------------------------------------- */

static const struct setting rows_share[] = {
    {.key = "backend", .type = SETTING_BACKEND, .flags = REQUIRED, .help = "one of the backends"},
    {.key = "weight", .type = SETTING_INTEGER, .flags = REQUIRED, .max = 1000000, .help = "its part of the whole"},
};
static const struct settings_table table_share = {
    .path = "frontends.NAME.routes.split", .what = "a part of a split", TABLE_ROWS(rows_share)};
static const struct setting item_share = {.key = "split", .type = SETTING_MAP, .table = &table_share};

static const struct setting_word words_redirect[] = {{"301", 301}, {"302", 302}, {"303", 303},
                                                     {"307", 307}, {"308", 308}, {NULL, 0}};
static const struct setting rows_redirect[] = {
    {.key = "to",
     .type = SETTING_TEXT,
     .flags = REQUIRED,
     SETTING_AT(struct route_settings, redirect.to),
     .check = check_template,
     .value = "URL",
     .help = "`%{scheme}`, `%{host}`, `%{port}`, `%{path}`, `%{query}`, `%{uri}` are filled in from the request"},
    {.key = "status",
     .type = SETTING_ENUM,
     SETTING_AT(struct route_settings, redirect.status),
     .words = words_redirect,
     .fallback = "308",
     .help = "the answer's status"},
};
static const struct settings_table table_redirect = {
    .path = "frontends.NAME.routes.redirect", .what = "a redirect", TABLE_ROWS(rows_redirect)};

static const struct setting rows_respond[] = {
    {.key = "status",
     .type = SETTING_INTEGER,
     SETTING_AT(struct route_settings, respond.status),
     .min = 200,
     .max = 599,
     .fallback = "200",
     .help = "the answer's status"},
    {.key = "body",
     .type = SETTING_BYTES,
     SETTING_AT(struct route_settings, respond.body),
     .help = "the answer's body"},
    {.key = "headers",
     .type = SETTING_PAIRS,
     SETTING_AT(struct route_settings, respond.headers),
     .check = check_response_header,
     .item = &value_of_field,
     .help = "the answer's fields, such as Content-Type"},
};
static const struct settings_table table_respond = {
    .path = "frontends.NAME.routes.respond", .what = "a respond", TABLE_ROWS(rows_respond), .finish = finish_respond};

static const struct setting_word words_metrics[] = {
    {"true", ROUTE_METRICS}, {"yes", ROUTE_METRICS}, {"on", ROUTE_METRICS}, {NULL, 0}};

/* --- what stands beside an action ------------------------------------------------------------------------------- */

static const struct setting rows_rewrite[] = {
    {.key = "path_prefix",
     .type = SETTING_TEXT,
     .flags = REQUIRED,
     .check = check_path,
     .value = "path",
     .help = "takes the place of what `match.path_prefix` matched"},
};
static const struct settings_table table_rewrite = {
    .path = "frontends.NAME.routes.rewrite", .what = "a rewrite", TABLE_ROWS(rows_rewrite)};

static const struct setting item_field_name = {
    .key = "remove", .type = SETTING_TEXT, .check = check_token, .value = "field name"};
static const struct setting rows_edit[] = {
    {.key = "set",
     .type = SETTING_PAIRS,
     .check = check_token,
     .item = &value_of_field,
     .help = "fields that get this value"},
    {.key = "add",
     .type = SETTING_PAIRS,
     .check = check_token,
     .item = &value_of_field,
     .help = "fields that are added"},
    {.key = "remove", .type = SETTING_LIST, .item = &item_field_name, .help = "fields that are taken out"},
};
static const struct settings_table table_edit = {
    .path = "frontends.NAME.routes.request_headers", .what = "an edit of fields", TABLE_ROWS(rows_edit)};

static const struct setting_word words_inherit[] = {{"inherit", SETTING_UNSET}, {NULL, 0}};
#define ROUTE_TIMEOUT(name, member, text)                                                          \
    {                                                                                              \
        .key = name, .type = SETTING_DURATION, SETTING_AT(struct route_settings, timeouts.member), \
        .words = words_inherit, .fallback = "inherit", .help = text                                \
    }
static const struct setting rows_timeouts[] = {
    ROUTE_TIMEOUT("client", client_us, "in place of the frontend's"),
    ROUTE_TIMEOUT("request", request_us, "in place of the frontend's"),
    ROUTE_TIMEOUT("connect", connect_us, "in place of the backend's"),
    ROUTE_TIMEOUT("response", response_us, "in place of the backend's"),
    ROUTE_TIMEOUT("server", server_us, "in place of the backend's"),
    ROUTE_TIMEOUT("tunnel", tunnel_us, "in place of the backend's"),
    ROUTE_TIMEOUT("queue", queue_us, "in place of the backend's"),
};
static const struct settings_table table_timeouts = {
    .path = "frontends.NAME.routes.timeouts", .what = "a route's timeouts", TABLE_ROWS(rows_timeouts)};

/* --- the route -------------------------------------------------------------------------------------------------- */

static bool has_retry(const void *base) {
    return ((const struct route_settings *)base)->has_retry;
}
static bool is_backend(const void *base) {
    return ((const struct route_settings *)base)->action == ROUTE_BACKEND;
}
static bool is_redirect(const void *base) {
    return ((const struct route_settings *)base)->action == ROUTE_REDIRECT;
}
static bool is_respond(const void *base) {
    return ((const struct route_settings *)base)->action == ROUTE_RESPOND;
}
static bool is_metrics(const void *base) {
    return ((const struct route_settings *)base)->action == ROUTE_METRICS;
}

static const struct setting rows_route[] = {
    {.key = "name",
     .type = SETTING_NAME,
     SETTING_AT(struct route_settings, name),
     .help = "for the log and the metrics; without it `route-N`, N from 1"},
    {.key = "match",
     .type = SETTING_MAP,
     SETTING_AT(struct route_settings, match),
     .table = &table_match,
     .help = "all that is given must hold; nothing given: every request"},
    {.key = "backend",
     .type = SETTING_BACKEND,
     SETTING_AT(struct route_settings, backend),
     .is_set = is_backend,
     .help = "action: to a server of this backend"},
    {.key = "split",
     .type = SETTING_LIST,
     .flags = LATER,
     .min = 1,
     .item = &item_share,
     .help = "action: to several backends by weight"},
    {.key = "redirect",
     .type = SETTING_MAP,
     .width = sizeof(struct route_settings),
     .table = &table_redirect,
     .is_set = is_redirect,
     .help = "action: to another URL"},
    {.key = "respond",
     .type = SETTING_MAP,
     .width = sizeof(struct route_settings),
     .table = &table_respond,
     .is_set = is_respond,
     .help = "action: a fixed answer"},
    {.key = "metrics",
     .type = SETTING_ENUM,
     SETTING_AT(struct route_settings, action),
     .words = words_metrics,
     .is_set = is_metrics,
     .value = "`true`",
     .help = "action: the metrics in Prometheus' text format; `match` says who may ask"},
    {.key = "rewrite",
     .type = SETTING_MAP,
     .flags = LATER,
     .table = &table_rewrite,
     .help = "changes the path for the server"},
    {.key = "request_headers",
     .type = SETTING_MAP,
     .flags = LATER,
     .table = &table_edit,
     .help = "changes the request's fields"},
    {.key = "response_headers",
     .type = SETTING_MAP,
     .flags = LATER,
     .table = &table_edit,
     .help = "changes the response's fields"},
    {.key = "timeouts",
     .type = SETTING_MAP,
     .width = sizeof(struct route_settings),
     .table = &table_timeouts,
     .help = "in place of those of the frontend and the backend"},
    {.key = "retry",
     .type = SETTING_MAP,
     SETTING_AT(struct route_settings, retry),
     .flags = OFF_TOO,
     .also = offsetof(struct route_settings, retry.on),
     .table = &table_retry,
     .is_set = has_retry,
     .help = "key by key in place of the backend's; what is not given is as there"},
};
const struct settings_table table_route = {.path = "frontends.NAME.routes",
                                           .what = "a route",
                                           TABLE_ROWS(rows_route),
                                           .identity = "name",
                                           .finish = finish_route};
