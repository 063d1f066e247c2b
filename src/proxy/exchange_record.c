/* exchange_record.c: what is told of an exchange at its end: counters and the access record. */
#include "exchange_internal.h"

static void count(struct exchange *x) {
    static const enum metric by_blame[] = {METRIC_exchanges_total, METRIC_client_failures_total,
                                           METRIC_gateway_failures_total, METRIC_server_failures_total};
    struct metrics *m = &x->env->metrics;
    metrics_add(m, METRIC_exchanges_total, 1);
    metrics_add(m, METRIC_bytes_in_total, x->bytes_in);
    metrics_add(m, METRIC_bytes_out_total, x->bytes_out);
    enum blame blame = (enum blame)failure_get((enum failure)x->cause)->blame;
    if (blame != BLAME_NONE) metrics_add(m, by_blame[blame], 1);
}

static const char *protocol(const struct exchange *x) {
    if (!x->client->frontend->settings->mode)
        return x->request.minor == 0 && x->request.raw.n ? "HTTP/1.0" : "HTTP/1.1";
    return "tcp";
}

void exchange_record(struct exchange *x) {
    const struct frontend *f = x->client->frontend;
    count(x);
    if (!f->access_log) return;
    const struct field *trace = fields_find(&x->request.fields, FIELD_TRACEPARENT);
    struct access_record r = {
        .unix_us = x->unix_us,
        .id = x->id,
        .frontend = f->settings->name,
        .route = x->route ? x->route->name : NULL,
        .backend = x->route && x->route->backend ? x->route->backend->settings->name : NULL,
        .server = x->picked ? x->picked->server->name : NULL,
        .client = &x->client->addr,
        .method = x->request.method_name,
        .host = x->request.host,
        .path = x->request.uri,
        .protocol = protocol(x),
        .status = x->status                                            ? x->status
                  : failure_get((enum failure)x->cause)->status == 499 ? 499
                                                                       : 0,
        .cause = (enum failure)x->cause,
        .bytes_in = x->bytes_in,
        .bytes_out = x->bytes_out,
        .queue_us = x->queue_us == UINT64_MAX && x->picked ? 0 : x->queue_us,
        .connect_us = x->connect_us,
        .first_byte_us = x->first_byte_us,
        .total_us = x->env->loop.now_us - x->start_us,
        .try_count = x->try_count,
        .reused = x->reused,
        .traceparent = trace ? trace->value : slice_from(NULL, 0),
    };
    memcpy(r.tries, x->tries, sizeof r.tries);
    access_record_write(&r, f->access_log, f->settings->access_log.format);
}
