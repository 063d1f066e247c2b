/* exchange_head.c: a request's head made ready to be routed and forwarded; answers of our own. */
#include "loomgate/http/rewrite.h"
#include "loomgate/proxy/answer.h"

#include "exchange_internal.h"

/* --- requests --------------------------------------------------------------------------------------------------- */

enum failure exchange_prepare(struct exchange *x, const struct message *m) {
    message_copy(&x->request, m, &x->arena, REWRITE_SPARE_FIELDS);
    x->has_body = m->body == BODY_CHUNKED || (m->body == BODY_LENGTH && m->length > 0);
    struct slice own = prepare_id(x->client->frontend, &x->request);
    if (own.n) x->id = own;
    return prepare_check(x->client->frontend, m);
}

void exchange_rewrite_request(struct exchange *x) {
    if (!x->rewritten) prepare_request(&x->request, x->client->frontend, &x->peer, x->client->port, x->id, &x->arena);
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
        struct answer_facts facts = {.scheme = SLICE("http"), .port = prepare_port(x->client->port, &x->arena)};
        answer_redirect(a, x->route->settings, &x->request, &facts, &x->arena);
    } else if (x->metrics) {
        answer_metrics(a, exchange_metrics_size(x), &x->arena);
    } else {
        answer_respond(a, x->route->settings, &x->arena);
    }
}

/* What is still to come of the request is not waited for. */
static bool ends_connection(const struct exchange *x) {
    return x->cause == FAILURE_body_too_large || x->cause == FAILURE_killed;
}

void exchange_answer(struct exchange *x) {
    struct answer a;
    build_answer(x, &a);
    response_rewrite(&a.head, &(struct response_rewrite){x->client->frontend->id_name, x->id, env_date(x->env)});
    a.head.keep_alive = !x->env->draining && !x->client->is_leaving && !ends_connection(x);
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
