/* exchange_retry.c: what a failed try leads to: the same request once more, or not.
 *
 *   failed try -+- an idle connection was closed, nothing is lost --> CONNECT, fresh, the same server: free
 *               +- retry.on has it, repeating is safe, tries and time are left, the budget pays --> BACKOFF -> PICK
 *               +- else --> the failure is answered
 *
 * The server's own 502, 503 or 504 is such a failure too: its head is held back, and its body, if any, thrown away
 * while the exchange waits, so that the connection can be used again. */
#include "exchange_internal.h"

static const struct retry_settings *policy_of(const struct exchange *x) {
    return x->route->retry;
}

/* Nothing of a response has gone to the client, somebody still waits for one, and all of the request is here: its body
 * as far as it has come. */
static bool is_whole(const struct exchange *x) {
    if (!x->route || !x->route->backend || x->response_started || (!x->front && !x->tcp_front)) return false;
    return !x->replay.lost && (!x->body_in || replay_is_possible(&x->replay));
}

/* The server cannot have processed it, or may do so again (RFC 9110 section 9.2.2). */
static bool is_repeatable(const struct exchange *x, enum failure f) {
    switch (failure_get(f)->retry) {
    case RETRY_ALWAYS:
        return true;
    case RETRY_IDEMPOTENT:
        return x->untouched || method_is_idempotent(x->request.method);
    default:
        return false;
    }
}

/* The race with a server that closes an idle connection: made good also where retries are off. */
static bool may_resend(const struct exchange *x) {
    return x->cause == FAILURE_closed_idle && !x->fresh && is_whole(x) && is_repeatable(x, FAILURE_closed_idle);
}

static bool may_retry(const struct exchange *x, enum failure f) {
    const struct retry_settings *s;
    if (!is_whole(x)) return false;
    s = policy_of(x);
    if (x->retries >= s->max || !retry_covers(s, f, x->tried_status)) return false;
    return is_repeatable(x, f) || (s->non_idempotent && failure_get(f)->retry == RETRY_IDEMPOTENT);
}

/* timeouts.request always wins: what would only begin after its end is not waited for. */
static bool has_time(const struct exchange *x, uint64_t wait_us, uint64_t asked_us) {
    if (deadline_is_set(&x->deadline)) return x->env->loop.now_us + wait_us < x->deadline.at_us;
    return asked_us <= RETRY_AFTER_UNBOUNDED_US;
}

/* Decides on a further try and pays for it. `asked_us`: how long the server wants to be left alone. */
static bool plan_retry(struct exchange *x, uint64_t asked_us, uint64_t *wait_us) {
    struct env *env = x->env;
    *wait_us = retry_backoff_us(policy_of(x), x->retries, env_random(env));
    if (*wait_us < asked_us) *wait_us = asked_us;
    if (!has_time(x, *wait_us, asked_us)) return false;
    if (retry_budget_take(&x->route->backend->group->budget, policy_of(x), env->loop.now_us)) return true;
    metrics_add(&env->metrics, METRIC_retries_over_budget_total, 1);
    return false;
}

static void begin_backoff(struct exchange *x, uint64_t wait_us) {
    metrics_add(&x->env->metrics, METRIC_retries_total, 1);
    x->retries++;
    x->fresh = false;
    x->backoff_us = wait_us;
    timer_set(&x->env->loop, &x->backoff, wait_us);
    if (x->has_body && !x->request_ended) exchange_pause_front(x, true);
    exchange_set_state(x, EXCHANGE_BACKOFF);
}

bool exchange_retry(struct exchange *x) {
    uint64_t wait_us;
    if (may_resend(x)) {
        x->fresh = true;
        metrics_add(&x->env->metrics, METRIC_resends_total, 1);
        exchange_set_state(x, exchange_pick_same(x) ? EXCHANGE_CONNECT : EXCHANGE_PICK);
    } else if (may_retry(x, (enum failure)x->cause) && plan_retry(x, 0, &wait_us)) {
        begin_backoff(x, wait_us);
    } else {
        return false;
    }
    x->cause = FAILURE_NONE;
    return true;
}

/* The connection is worth keeping when only the rest of the answer is to come; else it is closed. */
static void abandon_answer(struct exchange *x) {
    struct stream *back = x->back;
    if (x->has_body && !x->request_ended) {
        back->ops->reset(back);
        x->back = NULL;
        return;
    }
    back->events = &exchange_drain_events;
    x->draining_back = true;
    if (x->back_paused) back->ops->resume(back);
    x->back_paused = false;
}

bool exchange_hold_back(struct exchange *x, const struct message *m) {
    x->tried_status = m->status;
    if (!may_retry(x, FAILURE_bad_status)) return false;
    const struct field *after = m->status == 503 ? fields_find(&m->fields, FIELD_RETRY_AFTER) : NULL;
    uint64_t wait_us;
    if (!plan_retry(x, after ? retry_after_parse_us(after->value) : 0, &wait_us)) return false;
    abandon_answer(x);
    exchange_end_try(x, FAILURE_bad_status);
    exchange_set_state(x, EXCHANGE_FAIL);
    begin_backoff(x, wait_us);
    return true;
}

void exchange_count_request(struct exchange *x) {
    if (policy_of(x)->on) retry_budget_count(&x->route->backend->group->budget, x->env->loop.now_us);
}

/* What is not idempotent can fail in a way that allows another try only before its body is on its way. */
size_t exchange_replay_limit(const struct exchange *x) {
    const struct retry_settings *s = policy_of(x);
    bool idempotent = method_is_idempotent(x->request.method);
    bool resends = idempotent && x->reused;
    bool retries = s->on && s->max && (idempotent || s->non_idempotent);
    return resends || retries ? (size_t)s->buffer : 0;
}
