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

/* --- the series ------------------------------------------------------------------------------------------------- */

static uint32_t id_of(const struct series *s) {
    return s ? s->id : SERIES_NONE;
}

void exchange_record_try(struct exchange *x, enum failure f) {
    uint64_t now_us = x->env->loop.now_us, began_us = x->attempt.began_us;
    bool held_back = f == FAILURE_bad_status; /* its head is all that was waited for */
    struct sample s = {
        .us = {[MEASURE_TOTAL] = now_us - began_us,
               [MEASURE_FIRST_BYTE] = x->response_started ? x->start_us + x->first_byte_us - began_us
                                      : held_back         ? now_us - began_us
                                                          : SAMPLE_NONE,
               [MEASURE_CONNECT] = x->attempt.connect_us,
               /* Waits for later tries are the exchange's alone. */
               [MEASURE_QUEUE] = x->try_count ? SAMPLE_NONE : x->queue_us},
        .tries = 1,
        .retries = x->retries && !x->fresh,
        .error = sample_error(f, x->response_started ? x->status : 0),
    };
    _Static_assert(SAMPLE_NONE == UINT64_MAX, "what an exchange writes for a time that there is not");
    recorder_add(&x->env->recorder, &x->attempt.member->server->series->id, 1, &s);
}

/* Of its last server it counts the bytes alone: its tries have been counted. */
static void count_series(struct exchange *x) {
    const struct backend *b = x->route ? x->route->backend : NULL;
    const uint32_t ids[] = {id_of(x->client->frontend->series), id_of(x->route ? x->route->series : NULL),
                            id_of(b ? b->series : NULL)};
    struct sample s = {
        .us = {[MEASURE_TOTAL] = x->env->loop.now_us - x->start_us,
               [MEASURE_FIRST_BYTE] = x->first_byte_us,
               [MEASURE_CONNECT] = x->connect_us,
               [MEASURE_QUEUE] = x->queue_us},
        .bytes_in = x->bytes_in,
        .bytes_out = x->bytes_out,
        .tries = x->try_count,
        .retries = x->retries,
        .error = sample_error((enum failure)x->cause, x->status),
    };
    recorder_add(&x->env->recorder, ids, LG_COUNT(ids), &s);
    if (x->picked) recorder_add_bytes(&x->env->recorder, id_of(x->picked->server->series), x->bytes_in, x->bytes_out);
}

/* --- the record ------------------------------------------------------------------------------------------------- */

static const char *protocol(const struct exchange *x) {
    if (!x->client->frontend->settings->mode)
        return x->request.minor == 0 && x->request.raw.n ? "HTTP/1.0" : "HTTP/1.1";
    return "tcp";
}

void exchange_record(struct exchange *x) {
    const struct frontend *f = x->client->frontend;
    count(x);
    count_series(x);
    if (!f->access_log && taps_is_empty(&x->env->taps)) return;
    const struct field *trace = fields_find(&x->request.fields, FIELD_TRACEPARENT);
    struct access_record r = {
        .unix_us = x->unix_us,
        .id = x->id,
        .frontend = f->settings->name,
        .route = x->route ? x->route->name : NULL,
        .backend = x->route && x->route->backend ? x->route->backend->settings->name : NULL,
        .server = x->picked ? x->picked->server->name : NULL,
        .client = &x->peer,
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
    memcpy(r.tries, x->tries, x->try_count * sizeof r.tries[0]);
    if (f->access_log) access_record_write(&r, f->access_log, f->settings->access_log.format);
    taps_offer(&x->env->taps, &r);
}
