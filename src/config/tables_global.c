/* tables_global.c: the root of the language, and `global`. */
#include "checks_internal.h"
#include "crosscheck_internal.h"
#include "schema_internal.h"
#include "tables_internal.h"

#include <stdio.h>

/* --- logs ------------------------------------------------------------------------------------------------------- */

static const struct setting_word words_level[] = {
    {"debug", LEVEL_DEBUG}, {"info", LEVEL_INFO}, {"warn", LEVEL_WARN}, {"error", LEVEL_ERROR}, {NULL, 0},
};
static const struct setting_word words_format[] = {{"json", FORMAT_JSON}, {"text", FORMAT_TEXT}, {NULL, 0}};
static const char *const target_words[] = {
    [LOG_TO_STDERR] = "stderr", [LOG_TO_STDOUT] = "stdout", [LOG_TO_FILE] = "file:", [LOG_TO_SYSLOG] = "syslog"};

bool parse_log_target(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    static const char hint[] = "allowed: stderr, stdout, file:PATH, syslog";
    struct log_settings *log = base;
    if (value->kind != NODE_SCALAR || node_is_null(value))
        return diagnostics_add(l->d, SEVERITY_ERROR, value->place, hint, "'%s' takes a text, not %s", row->key,
                               node_is_null(value) ? "nothing" : node_kind_name(value));
    struct slice file = slice_of(target_words[LOG_TO_FILE]);
    bool is_file =
        slice_has_prefix(value->text, file) && value->text.n > file.n && strlen(value->text.p) == value->text.n;
    for (size_t i = 0; i < LG_COUNT(target_words); i++) {
        if (i == LOG_TO_FILE ? !is_file : !slice_is(value->text, target_words[i])) continue;
        log->target = (enum log_target)i;
        log->path = is_file ? arena_strndup(l->arena, value->text.p + file.n, value->text.n - file.n) : NULL;
        return true;
    }
    return diagnostics_add(l->d, SEVERITY_ERROR, value->place, hint, "'%s': '%.*s' is not known here", row->key,
                           shown_len(value->text), value->text.p);
}

void print_log_target(FILE *out, const struct setting *row, const void *base) {
    const struct log_settings *log = base;
    char text[4200];
    (void)row;
    snprintf(text, sizeof text, "%s%s", target_words[log->target], log->path ? log->path : "");
    yaml_print_text(out, slice_of(text));
}

#define LOG_TO_VALUE "`stderr`, `stdout`, `file:PATH`, `syslog`"

static const struct setting rows_log[] = {
    {.key = "level",
     .type = SETTING_ENUM,
     SETTING_AT(struct log_settings, level),
     .fallback = "info",
     .words = words_level,
     .help = "what is less important is left out"},
    {.key = "to",
     .type = SETTING_CUSTOM,
     SETTING_AT(struct log_settings, target),
     .fallback = "stderr",
     .parse = parse_log_target,
     .print = print_log_target,
     .value = LOG_TO_VALUE,
     .help = "where it goes; SIGUSR1 opens files anew"},
    {.key = "format",
     .type = SETTING_ENUM,
     SETTING_AT(struct log_settings, format),
     .fallback = "json",
     .words = words_format,
     .help = "one object or one line of text a record"},
    {.key = "queue",
     .type = SETTING_INTEGER,
     SETTING_AT(struct log_settings, queue),
     .fallback = "8192",
     .min = 64,
     .max = 1048576,
     .reload = RELOAD_RESTART,
     .help = "records that may wait in each thread; over: lost, and counted"},
};
const struct settings_table table_log = {.path = "global.log", .what = "global.log", TABLE_ROWS(rows_log)};

static const struct setting rows_access_log[] = {
    {.key = "to",
     .type = SETTING_CUSTOM,
     SETTING_AT(struct log_settings, target),
     .fallback = "stdout",
     .parse = parse_log_target,
     .print = print_log_target,
     .value = LOG_TO_VALUE,
     .help = "where it goes; SIGUSR1 opens files anew"},
    {.key = "format",
     .type = SETTING_ENUM,
     SETTING_AT(struct log_settings, format),
     .fallback = "json",
     .words = words_format,
     .help = "one object or one line of text a record"},
};
const struct settings_table table_access_log = {
    .path = "frontends.NAME.access_log", .what = "an access log", TABLE_ROWS(rows_access_log)};

/* --- global ----------------------------------------------------------------------------------------------------- */

static const struct setting_word words_workers[] = {{"auto", 0}, {NULL, 0}};
static const struct setting_word words_control_level[] = {
    {"user", CONTROL_USER}, {"operator", CONTROL_OPERATOR}, {"admin", CONTROL_ADMIN}, {NULL, 0}};

static const struct setting rows_control[] = {
    {.key = "socket",
     .type = SETTING_TEXT,
     SETTING_AT(struct control_settings, socket),
     .flags = REQUIRED,
     .check = check_socket_path,
     .value = "path",
     .help = "path of the UNIX socket"},
    {.key = "mode",
     .type = SETTING_TEXT,
     SETTING_AT(struct control_settings, mode),
     .check = check_file_mode,
     .fallback = "0600",
     .value = "octal mode",
     .help = "who may connect"},
    {.key = "owner",
     .type = SETTING_TEXT,
     SETTING_AT(struct control_settings, owner),
     .help = "the user, or its number, that owns the socket"},
    {.key = "group",
     .type = SETTING_TEXT,
     SETTING_AT(struct control_settings, group),
     .help = "the group, or its number, that it belongs to"},
    {.key = "level",
     .type = SETTING_ENUM,
     SETTING_AT(struct control_settings, level),
     .words = words_control_level,
     .fallback = "user",
     .help = "which commands it takes"},
};
static const struct settings_table table_control = {.path = "global.control",
                                                    .what = "a control socket",
                                                    TABLE_ROWS(rows_control),
                                                    .identity = "socket",
                                                    .finish = finish_control};
static const struct setting item_control = {.key = "control", .type = SETTING_MAP, .table = &table_control};

static const struct setting rows_shutdown[] = {
    {.key = "grace",
     .type = SETTING_DURATION,
     SETTING_AT(struct global_settings, shutdown_grace_us),
     .fallback = "30s",
     .help = "how long SIGTERM waits for exchanges in flight"},
};
static const struct settings_table table_shutdown = {
    .path = "global.shutdown", .what = "global.shutdown", TABLE_ROWS(rows_shutdown)};

static const struct setting rows_reload[] = {
    {.key = "watch",
     .type = SETTING_BOOL,
     SETTING_AT(struct global_settings, reload_watch),
     .fallback = "false",
     .help = "reload by itself when the file, or one that it includes, changes"},
};
static const struct settings_table table_reload = {
    .path = "global.reload", .what = "global.reload", TABLE_ROWS(rows_reload)};

static const struct setting item_window = {
    .key = "windows", .type = SETTING_DURATION, .width = sizeof(uint64_t), .min = 1000000, .max = 86400000000};

static const struct setting rows_telemetry[] = {
    {.key = "windows",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct global_settings, windows_us, window_count),
     .item = &item_window,
     .fallback = "1s,10s,1m,5m",
     .min = 1,
     .help = "the rolling windows that are kept, up to 8, ascending"},
};
static const struct settings_table table_telemetry = {
    .path = "global.telemetry", .what = "global.telemetry", .finish = finish_telemetry, TABLE_ROWS(rows_telemetry)};

static const struct setting rows_global[] = {
    {.key = "workers",
     .type = SETTING_INTEGER,
     SETTING_AT(struct global_settings, workers),
     .words = words_workers,
     .fallback = "auto",
     .min = 1,
     .max = 1024,
     .reload = RELOAD_RESTART,
     .help = "event-loop threads; auto: one for each CPU that the process may use"},
    {.key = "max_connections",
     .type = SETTING_INTEGER,
     SETTING_AT(struct global_settings, max_connections),
     .min = 1,
     .max = 10000000,
     .fallback = "10000",
     .help = "clients' connections, all workers together; at the limit accepting pauses, nothing is dropped"},
    {.key = "spin",
     .type = SETTING_INTEGER,
     SETTING_AT(struct global_settings, spin),
     .max = 10000,
     .fallback = "10",
     .help = "how often a busy worker looks for events before it sleeps, as long as that pays; 0: never"},
    {.key = "user",
     .type = SETTING_TEXT,
     SETTING_AT(struct global_settings, user),
     .reload = RELOAD_RESTART,
     .help = "dropped to after binding and opening logs"},
    {.key = "group",
     .type = SETTING_TEXT,
     SETTING_AT(struct global_settings, group),
     .reload = RELOAD_RESTART,
     .help = "the same for the group"},
    {.key = "chroot",
     .type = SETTING_TEXT,
     SETTING_AT(struct global_settings, chroot),
     .check = check_absolute_path,
     .reload = RELOAD_RESTART,
     .value = "path",
     .help = "the process's root directory after binding and opening logs"},
    {.key = "control",
     .type = SETTING_LIST,
     SETTING_LIST_AT(struct global_settings, controls, control_count),
     .item = &item_control,
     .reload = RELOAD_RESTART,
     .help = "control sockets"},
    {.key = "log",
     .type = SETTING_MAP,
     SETTING_AT(struct global_settings, log),
     .table = &table_log,
     .help = "the process's own log"},
    {.key = "shutdown",
     .type = SETTING_MAP,
     .width = sizeof(struct global_settings),
     .table = &table_shutdown,
     .help = "how the process ends"},
    {.key = "reload",
     .type = SETTING_MAP,
     .width = sizeof(struct global_settings),
     .table = &table_reload,
     .help = "how a changed file is taken over"},
    {.key = "telemetry",
     .type = SETTING_MAP,
     .width = sizeof(struct global_settings),
     .table = &table_telemetry,
     .help = "what is measured"},
};
const struct settings_table table_global = {.path = "global", .what = "global", TABLE_ROWS(rows_global)};

/* --- the root --------------------------------------------------------------------------------------------------- */

/* `include`, `frontends` and `backends` are read by document_load.c, in an order of their own. */
static bool parse_nothing(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    (void)l, (void)row, (void)value, (void)base;
    return true;
}

bool parse_any_map(struct loader *l, const struct setting *row, const struct node *value, void *base) {
    (void)base;
    if (value->kind == NODE_MAP) return true;
    return diagnostics_add(l->d, SEVERITY_ERROR, value->place, NULL, "'%s' takes a map, not %s", row->key,
                           node_kind_name(value));
}

static const struct setting rows_root[] = {
    {.key = "version",
     .type = SETTING_INTEGER,
     .flags = REQUIRED,
     .min = 1,
     .max = 1,
     .reload = RELOAD_LIVE,
     .value = "`1`",
     .help = "the version of the language"},
    {.key = "include",
     .type = SETTING_CUSTOM,
     .parse = parse_nothing,
     .value = "one or a list of path patterns",
     .help = "files whose `frontends` and `backends` are added; relative to this file, sorted"},
    {.key = "global",
     .type = SETTING_MAP,
     SETTING_AT(struct root_settings, global),
     .table = &table_global,
     .help = "the process"},
    {.key = "defaults",
     .type = SETTING_MAP,
     SETTING_AT(struct root_settings, defaults),
     .table = &table_defaults,
     .help = "what each frontend and backend starts from, map by map, key by key"},
    {.key = "frontends",
     .type = SETTING_CUSTOM,
     .parse = parse_nothing,
     .value = "map of NAME to a frontend",
     .table = &table_frontend,
     .help = "where clients connect"},
    {.key = "backends",
     .type = SETTING_CUSTOM,
     .parse = parse_nothing,
     .value = "map of NAME to a backend",
     .table = &table_backend,
     .help = "groups of servers"},
};
const struct settings_table table_root = {.path = "top level", .what = "the file", TABLE_ROWS(rows_root)};
