/* tables_defaults.c: `defaults`: what frontends and backends start from. */
#include "tables_internal.h"

static const struct setting rows_default_timeouts[] = {
    FRONTEND_TIMEOUT_ROWS(struct defaults, frontend.timeouts),
    BACKEND_TIMEOUT_ROWS(struct defaults, backend.timeouts),
};
static const struct settings_table table_default_timeouts = {
    .path = "defaults.timeouts", .what = "defaults.timeouts", TABLE_ROWS(rows_default_timeouts)};

static const struct setting rows_defaults[] = {
    {.key = "timeouts",
     .type = SETTING_MAP,
     .width = sizeof(struct defaults),
     .table = &table_default_timeouts,
     .help = "those of frontends and of backends"},
    {.key = "limits",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, frontend.limits),
     .table = &table_limits,
     .help = LIMITS_HELP},
    {.key = "request_id",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, frontend.request_id),
     .table = &table_request_id,
     .help = REQUEST_ID_HELP},
    {.key = "forwarded",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, frontend.forwarded),
     .table = &table_forwarded,
     .help = FORWARDED_HELP},
    {.key = "access_log",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, frontend.access_log),
     .flags = OFF_TOO,
     .also = offsetof(struct defaults, frontend.access_log.on),
     .fallback = "off",
     .table = &table_access_log,
     .help = ACCESS_LOG_HELP},
    {.key = "balance",
     .type = SETTING_ENUM,
     SETTING_AT(struct defaults, backend.balance.kind),
     .words = words_balance,
     .table = &table_balance_hash,
     .fallback = "round_robin",
     .help = BALANCE_HELP},
    {.key = "health",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend.health),
     .flags = OFF_TOO,
     .also = offsetof(struct defaults, backend.health.on),
     .fallback = "off",
     .table = &table_health,
     .help = HEALTH_HELP},
    {.key = "breaker",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend.breaker),
     .flags = OFF_TOO,
     .also = offsetof(struct defaults, backend.breaker.on),
     .table = &table_breaker,
     .help = BREAKER_HELP},
    {.key = "retry",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend.retry),
     .flags = OFF_TOO,
     .also = offsetof(struct defaults, backend.retry.on),
     .table = &table_retry,
     .help = RETRY_HELP},
    {.key = "queue",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend),
     .table = &table_queue,
     .help = QUEUE_HELP},
    {.key = "pool",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend.pool),
     .table = &table_pool,
     .help = POOL_HELP},
    {.key = "slow_start",
     .type = SETTING_DURATION,
     SETTING_AT(struct defaults, backend.slow_start_us),
     .fallback = "0",
     .help = SLOW_START_HELP},
    {.key = "drain",
     .type = SETTING_MAP,
     SETTING_AT(struct defaults, backend),
     .table = &table_drain,
     .help = DRAIN_HELP},
};
const struct settings_table table_defaults = {.path = "defaults", .what = "defaults", TABLE_ROWS(rows_defaults)};

void root_set_defaults(struct loader *l, struct root_settings *s) {
    schema_set_defaults(l, &table_global, &s->global);
    schema_set_defaults(l, &table_frontend, &s->defaults.frontend);
    schema_set_defaults(l, &table_backend, &s->defaults.backend);
    s->global.log.on = true;
    s->defaults.frontend.default_backend = -1;
    s->defaults.backend.retry.on = s->defaults.backend.breaker.on = true;
}
