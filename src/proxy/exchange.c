/* exchange.c: one request and its response: the state machine. Its picture is in the header; what moves between the
 * streams is in exchange_streams.c, what a failed try leads to in exchange_retry.c, heads and answers in
 * exchange_head.c, the metrics in exchange_metrics.c, the record in exchange_record.c. */
#include "loomgate/proxy/exchange.h"

#include "loomgate/net/socket.h"

#include "exchange_internal.h"

/* --- states ----------------------------------------------------------------------------------------------------- */

#define TO(state) (1U << EXCHANGE_##state)
static const uint16_t legal_moves[] = {
    [EXCHANGE_HEAD] = TO(ROUTE) | TO(PICK) | TO(FAIL) | TO(DONE),
    [EXCHANGE_ROUTE] = TO(PICK) | TO(COLLECT) | TO(ANSWER) | TO(FAIL),
    [EXCHANGE_PICK] = TO(CONNECT) | TO(QUEUE) | TO(FAIL),
    [EXCHANGE_QUEUE] = TO(CONNECT) | TO(FAIL) | TO(DONE),
    [EXCHANGE_CONNECT] = TO(FORWARD) | TO(TUNNEL) | TO(FAIL) | TO(DONE),
    [EXCHANGE_FORWARD] = TO(TUNNEL) | TO(FAIL) | TO(DONE),
    [EXCHANGE_TUNNEL] = TO(DONE),
    [EXCHANGE_FAIL] = TO(PICK) | TO(CONNECT) | TO(BACKOFF) | TO(ANSWER) | TO(DONE),
    [EXCHANGE_BACKOFF] = TO(PICK) | TO(FAIL) | TO(DONE),
    [EXCHANGE_COLLECT] = TO(ANSWER) | TO(FAIL) | TO(DONE),
    [EXCHANGE_ANSWER] = TO(DONE),
    [EXCHANGE_DONE] = 0,
};

void exchange_set_state(struct exchange *x, enum exchange_state to) {
    LG_ASSERT(legal_moves[x->state] & 1U << to);
    x->state = (uint8_t)to;
}

/* --- steps: true when the next state is to be looked at now ----------------------------------------------------- */

static bool step_route(struct exchange *x) {
    x->route = frontend_find_route(x->client->frontend, &x->request, &x->peer);
    if (!x->route) {
        x->cause = FAILURE_no_route;
        exchange_set_state(x, EXCHANGE_FAIL);
        return true;
    }
    if (x->client->session && x->route->settings)
        x->client->session->ops->set_timeouts(x->client->session, &x->route->client_timeouts);
    deadline_set(&x->env->loop, &x->deadline, x->route->request_us);
    bool is_metrics = x->route->settings && x->route->settings->action == ROUTE_METRICS;
    exchange_set_state(x, x->route->backend ? EXCHANGE_PICK : is_metrics ? EXCHANGE_COLLECT : EXCHANGE_ANSWER);
    return true;
}

static const struct addr *local_addr(struct exchange *x) {
    if (x->client->local) return x->client->local;
    if (!x->fd_local) x->fd_local = socket_local_addr(x->client->fd, &x->local);
    return &x->local;
}

static bool step_pick(struct exchange *x) {
    if (!x->retries && !x->try_count) exchange_count_request(x);
    exchange_pick(x);
    if (x->state != EXCHANGE_QUEUE) return true;
    if (x->has_body && !x->request_ended) exchange_pause_front(x, true);
    return false;
}

static bool step_connect(struct exchange *x) {
    if (x->attempt.member) return false; /* under way */
    x->untouched = false;
    deadline_set(&x->env->loop, &x->try_deadline, x->route->retry->on ? x->route->retry->per_try_us : 0);
    bool sends_proxy = x->picked->settings->send_proxy != SEND_PROXY_OFF;
    bool ready = attempt_start(&x->attempt, &(struct attempt_request){
                                                .member = x->picked,
                                                .route = x->route,
                                                .raw = !x->front,
                                                .fresh = x->fresh,
                                                .certain = x->retries || !method_is_idempotent(x->request.method),
                                                .client = &x->peer,
                                                .local = sends_proxy ? local_addr(x) : NULL,
                                            });
    if (ready) {
        exchange_set_state(x, EXCHANGE_FORWARD);
        return true;
    }
    if (x->has_body && !x->request_ended) exchange_pause_front(x, true);
    return false;
}

static void drop_back(struct exchange *x) {
    if (x->back) x->back->ops->reset(x->back);
    x->back = NULL;
    x->draining_back = false;
}

static void drop_front(struct exchange *x) {
    if (x->front) {
        struct stream *front = x->front;
        front->ops->reset(front);
        exchange_front_gone(x);
    }
    if (x->tcp_front) {
        conn_close(x->tcp_front, CONN_CLOSE_RESET);
        x->tcp_front = NULL;
    }
}

static bool step_fail(struct exchange *x) {
    if (exchange_retry(x)) return true;
    if (x->front && !x->response_started && failure_get(x->cause)->status) {
        exchange_set_state(x, EXCHANGE_ANSWER);
        return true;
    }
    drop_front(x);
    exchange_check_done(x);
    return false;
}

void exchange_run(struct exchange *x) {
    bool on = true;
    while (on) {
        switch ((enum exchange_state)x->state) {
        case EXCHANGE_ROUTE:
            on = step_route(x);
            break;
        case EXCHANGE_PICK:
            on = step_pick(x);
            break;
        case EXCHANGE_CONNECT:
            on = step_connect(x);
            break;
        case EXCHANGE_FAIL:
            on = step_fail(x);
            break;
        case EXCHANGE_FORWARD:
            exchange_forward(x);
            on = false;
            break;
        case EXCHANGE_COLLECT:
            exchange_collect(x);
            on = false;
            break;
        case EXCHANGE_ANSWER:
            exchange_answer(x);
            on = false;
            break;
        case EXCHANGE_HEAD:
        case EXCHANGE_QUEUE:
        case EXCHANGE_BACKOFF:
        case EXCHANGE_TUNNEL:
        case EXCHANGE_DONE:
            on = false;
            break;
        }
    }
}

/* --- failures and the end --------------------------------------------------------------------------------------- */

void exchange_end_try(struct exchange *x, enum failure f) {
    if (!x->attempt.member) return;
    if (x->attempt.connect_us != UINT64_MAX) x->connect_us = x->attempt.connect_us;
    exchange_note_failure(x, f);
    exchange_record_try(x, f);
    if (x->try_count < ACCESS_TRIES_MAX)
        x->tries[x->try_count++] = (struct access_try){.server = x->attempt.member->server->name,
                                                       .total_us = x->env->loop.now_us - x->attempt.began_us,
                                                       .backoff_us = x->backoff_us,
                                                       .cause = f};
    x->backoff_us = 0; /* what follows without a wait has none */
    deadline_cancel(&x->try_deadline);
    attempt_end(&x->attempt);
    exchange_give_back(x, f);
}

void exchange_fail(struct exchange *x, enum failure f) {
    if (x->state == EXCHANGE_DONE) return;
    /* What is being answered stays the cause, also when the client leaves before it has heard all of it. */
    if (x->state != EXCHANGE_ANSWER || x->cause == FAILURE_NONE) x->cause = (uint8_t)f;
    drop_back(x);
    timer_cancel(&x->backoff);
    exchange_leave_queue(x);
    exchange_drop_metrics(x);
    exchange_end_try(x, f);
    if (x->state == EXCHANGE_TUNNEL || x->state == EXCHANGE_ANSWER) {
        if (x->state == EXCHANGE_ANSWER && !x->response_ended) drop_front(x);
        exchange_check_done(x);
        return;
    }
    exchange_set_state(x, EXCHANGE_FAIL);
    exchange_run(x);
}

void exchange_kill(struct exchange *x, enum failure f) {
    if (x->state == EXCHANGE_DONE) return;
    x->cause = (uint8_t)f;
    if (x->state == EXCHANGE_TUNNEL) {
        tunnel_abort(&x->tunnel);
        x->bytes_in += x->tunnel.bytes_in;
        x->bytes_out += x->tunnel.bytes_out;
    }
    drop_back(x);
    drop_front(x);
    exchange_check_done(x);
}

void exchange_cut(struct exchange *x, enum failure f) {
    if (x->state == EXCHANGE_TUNNEL || x->state == EXCHANGE_ANSWER)
        exchange_kill(x, f);
    else
        exchange_fail(x, f);
}

static void on_deadline(struct deadline *d) {
    exchange_fail(LG_CONTAINER_OF(d, struct exchange, deadline), FAILURE_request_timeout);
}

/* One try, or the wait for it, has had its time. While the client itself keeps the server waiting for the request, it
 * has not begun. */
static void on_try_deadline(struct deadline *d) {
    struct exchange *x = LG_CONTAINER_OF(d, struct exchange, try_deadline);
    bool forwarding = x->state == EXCHANGE_FORWARD;
    if (x->state == EXCHANGE_QUEUE)
        exchange_fail(x, FAILURE_queue_timeout);
    else if (forwarding && x->has_body && !x->request_ended && !x->front_paused)
        deadline_set(&x->env->loop, d, x->route->retry->per_try_us);
    else
        exchange_fail(x, forwarding ? FAILURE_response_timeout : FAILURE_connect_timeout);
}

static void on_backoff_over(struct loop_timer *t) {
    struct exchange *x = LG_CONTAINER_OF(t, struct exchange, backoff);
    drop_back(x);
    exchange_set_state(x, EXCHANGE_PICK);
    exchange_run(x);
}

static void on_grave(struct task *task) {
    struct exchange *x = LG_CONTAINER_OF(task, struct exchange, grave);
    struct env *env = x->env;
    replay_stop(&x->replay, &env->loop.chunks);
    arena_fini(&x->arena);
    slab_put(&env->exchanges, x);
}

void exchange_front_gone(struct exchange *x) {
    x->bytes_in += x->front->bytes_in;
    x->bytes_out += x->front->bytes_out;
    x->front = NULL;
}

static void count_active(struct exchange *x, int by) {
    const struct series *s = x->client->frontend->series;
    recorder_move(&x->env->recorder, s ? s->id : SERIES_NONE, GAUGE_ACTIVE, by);
}

void exchange_check_done(struct exchange *x) {
    if (x->state == EXCHANGE_DONE || x->front || x->back || x->tcp_front || x->tunnel.front) return;
    exchange_leave_queue(x);
    exchange_drop_metrics(x);
    exchange_end_try(x, x->cause);
    exchange_set_state(x, EXCHANGE_DONE);
    deadline_cancel(&x->deadline);
    timer_cancel(&x->backoff);
    exchange_record(x);
    x->env->exchange_count--;
    list_remove(&x->node);
    metrics_sub(&x->env->metrics, METRIC_exchanges_active, 1);
    count_active(x, -1);
    struct exchange_client *client = x->client;
    if (client->session) client->session->ops->set_timeouts(client->session, &client->frontend->client_timeouts);
    loop_bury(&x->env->loop, &x->grave);
    client->on_exchange_end(client);
}

/* --- birth ------------------------------------------------------------------------------------------------------ */

static void on_ready(struct attempt *a) {
    struct exchange *x = LG_CONTAINER_OF(a, struct exchange, attempt);
    if (a->raw) {
        exchange_note_latency(x, a->connect_us);
        exchange_note_answer(x, 200);
        deadline_cancel(&x->try_deadline);
        exchange_set_state(x, EXCHANGE_TUNNEL);
        struct conn *front = x->tcp_front, *back = a->conn;
        x->tcp_front = NULL;
        a->conn = NULL;
        tunnel_start(&x->tunnel, front, back, x->route->tunnel_us, &exchange_tunnel_events);
        return;
    }
    exchange_set_state(x, EXCHANGE_FORWARD);
    exchange_run(x);
}

static void on_failed(struct attempt *a, enum failure f) {
    exchange_fail(LG_CONTAINER_OF(a, struct exchange, attempt), f);
}

static const struct attempt_events exchange_attempt_events = {on_ready, on_failed};

static struct exchange *exchange_new(struct exchange_client *client) {
    struct env *env = client->env;
    if (!env->exchanges.size) slab_init(&env->exchanges, EXCHANGE_SIZE, 16);
    struct exchange *x = slab_get(&env->exchanges);
    memset(x, 0, offsetof(struct exchange, tries));
    x->client = client;
    x->env = env;
    addr_recall(&client->addr, &x->peer);
    x->start_us = env->loop.now_us;
    x->unix_us = env->loop.unix_us;
    x->first_byte_us = x->connect_us = x->queue_us = UINT64_MAX;
    arena_init(&x->arena, x->arena_room, EXCHANGE_SIZE - offsetof(struct exchange, arena_room));
    attempt_init(&x->attempt, env, &exchange_attempt_events);
    deadline_init(&x->deadline, on_deadline);
    deadline_init(&x->try_deadline, on_try_deadline);
    timer_init(&x->backoff, on_backoff_over);
    task_init(&x->grave, on_grave);
    env->exchange_count++;
    list_push_back(&env->live_exchanges, &x->node);
    metrics_add(&env->metrics, METRIC_exchanges_active, 1);
    count_active(x, 1);
    return x;
}

void exchange_start(struct exchange_client *client, struct stream *front) {
    struct exchange *x = exchange_new(client);
    x->front = front;
    front->events = &exchange_front_events;
    front->owner = x;
    env_make_id(x->env, x->id_room);
    x->id = slice_from(x->id_room, ENV_ID_LEN);
}

/* While a server is looked for, the client's bytes wait in the kernel. */
static const struct conn_events waiting_events;

void exchange_start_tcp(struct exchange_client *client, struct conn *front) {
    struct exchange *x = exchange_new(client);
    x->tcp_front = front;
    env_make_id(x->env, x->id_room);
    x->id = slice_from(x->id_room, ENV_ID_LEN);
    x->route = &client->frontend->fallback;
    conn_set_owner(front, &waiting_events, x);
    conn_pause(front);
    exchange_set_state(x, EXCHANGE_PICK);
    exchange_run(x);
}

static void on_waiting_error(struct conn *c, int error_number) {
    (void)error_number;
    exchange_fail(c->owner, FAILURE_client_closed);
}

static const struct conn_events waiting_events = {.on_error = on_waiting_error};
