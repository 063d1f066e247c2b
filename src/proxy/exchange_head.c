/* exchange_head.c: a request's head made ready to be routed and forwarded; answers of our own. */
#include "loomgate/http/rewrite.h"
#include "loomgate/proxy/answer.h"

#include "exchange_internal.h"

/* --- requests --------------------------------------------------------------------------------------------------- */

static bool is_usable_id(struct slice id) {
    if (id.n == 0 || id.n > REQUEST_ID_MAX) return false;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] < 0x21 || id.p[i] > 0x7e) return false;
    return true;
}

static void take_id(struct exchange *x) {
    const struct frontend *f = x->client->frontend;
    if (!f->settings->request_id.trust) return;
    const struct field *own = fields_find_name(&x->request.fields, f->id_name);
    if (own && is_usable_id(own->value)) x->id = own->value;
}

static struct slice port_text(struct exchange *x) {
    char digits[5];
    size_t n = 0;
    unsigned port = x->client->port;
    do digits[sizeof digits - ++n] = (char)('0' + port % 10);
    while ((port /= 10));
    return slice_from(arena_strndup(&x->arena, digits + sizeof digits - n, n), n);
}

static void rewrite(struct exchange *x) {
    const struct forwarded_settings *settings = &x->client->frontend->settings->forwarded;
    char ip[ADDR_TEXT_MAX];
    size_t ip_len = addr_print_ip(&x->client->addr, ip);
    struct request_rewrite r = {
        .id_name = x->client->frontend->id_name,
        .id = x->id,
        .forwarded = settings->x_forwarded != X_FORWARDED_OFF,
        .trusted = settings->x_forwarded == X_FORWARDED_APPEND && cidr_list_has(&settings->trusted, &x->client->addr),
        .client_ip = slice_from(arena_strndup(&x->arena, ip, ip_len), ip_len),
        .proto = SLICE("http"),
        .port = port_text(x),
    };
    request_rewrite(&x->request, &r, &x->arena);
}

enum failure exchange_prepare(struct exchange *x, const struct message *m) {
    message_copy(&x->request, m, &x->arena, REWRITE_SPARE_FIELDS);
    x->has_body = m->body == BODY_CHUNKED || (m->body == BODY_LENGTH && m->length > 0);
    take_id(x);
    if (m->method == METHOD_CONNECT) return FAILURE_method_refused;
    uint64_t limit = x->client->frontend->settings->limits.body_size;
    if (limit && m->body == BODY_LENGTH && m->length > limit) return FAILURE_body_too_large;
    return FAILURE_NONE;
}

void exchange_rewrite_request(struct exchange *x) {
    if (!x->rewritten) rewrite(x);
    x->rewritten = true;
    /* A connection that was opened in one client's name (PROXY) serves nobody else. */
    x->request.keep_alive = x->picked->settings->send_proxy == SEND_PROXY_OFF;
}

/* --- answers of our own ----------------------------------------------------------------------------------------- */

static void build_answer(struct exchange *x, struct answer *a) {
    if (x->cause != FAILURE_NONE) {
        uint64_t wait_us =
            x->cause == FAILURE_breaker_open ? backend_wait_us(x->route->backend, x->env->loop.now_us) : 0;
        answer_error(a, (enum failure)x->cause, wait_us, &x->request, x->id, &x->arena);
    } else if (x->route->settings->action == ROUTE_REDIRECT) {
        struct answer_facts facts = {.scheme = SLICE("http"), .port = port_text(x)};
        answer_redirect(a, x->route->settings, &x->request, &facts, &x->arena);
    } else if (x->metrics) {
        answer_metrics(a, exchange_metrics_size(x), &x->arena);
    } else {
        answer_respond(a, x->route->settings, &x->arena);
    }
}

void exchange_answer(struct exchange *x) {
    struct answer a;
    build_answer(x, &a);
    response_rewrite(&a.head, &(struct response_rewrite){x->client->frontend->id_name, x->id, env_date(x->env)});
    a.head.keep_alive = !x->env->draining && !x->client->is_leaving && x->cause != FAILURE_body_too_large;
    x->status = a.head.status;
    x->response_started = true;
    x->response_ended = !x->metrics;
    x->first_byte_us = x->env->loop.now_us - x->start_us;
    struct stream *front = x->front;
    exchange_pause_front(x, false);
    front->ops->send_head(front, &a.head, x->response_ended && a.body.n == 0);
    if (x->metrics) exchange_send_metrics(x);
    if (!a.body.n) return; /* the exchange may have ended already */
    front->ops->send_body(front, a.body, true);
    front->ops->send_end(front, NULL);
}
