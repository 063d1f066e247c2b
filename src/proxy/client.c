/* client.c: a client connection: PROXY header, protocol; starts exchanges or a tunnel. */
#include "loomgate/proxy/client.h"

#include "loomgate/net/proxy_protocol.h"

#include <stdlib.h>

static struct client *client_of(struct exchange_client *base) {
    return LG_CONTAINER_OF(base, struct client, base);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void on_grave(struct task *task) {
    struct client *c = LG_CONTAINER_OF(task, struct client, task);
    free(c->base.local);
    addr_forget(&c->base.addr);
    slab_put(&c->base.env->clients, c);
}

static void leave_tenure(struct client *c) {
    struct env *env = c->base.env;
    struct tenure *t = c->tenure;
    if (--t->clients == 0 && t != env->tenure) env->on_tenure_end(env, t);
}

static void client_check_gone(struct client *c) {
    if (c->open || c->exchanges) return;
    struct env *env = c->base.env;
    list_remove(&c->task.node);
    env->client_count--;
    metrics_sub(&env->metrics, METRIC_connections_active, 1);
    bool was_full = gate_leave(c->base.frontend->gate);
    was_full |= gate_leave(env->gate);
    leave_tenure(c);
    loop_bury(&env->loop, &c->task);
    attempts_feed(env);
    if (was_full) env->on_gate_left(env);
    env->on_client_gone(env);
}

static void client_refuse(struct client *c) {
    conn_close(c->h1.conn, CONN_CLOSE_NOW);
    c->h1.conn = NULL;
    c->open = false;
    client_check_gone(c);
}

/* --- over to another configuration ------------------------------------------------------------------------------ */

/* The frontend of that name in the current configuration; NULL when there is none that its connections fit. */
static struct frontend *successor_of(const struct client *c) {
    const struct frontend *old = c->base.frontend;
    struct frontend *new = snapshot_find_frontend(c->base.env->tenure->snapshot, old->settings->name);
    return new &&new->settings->mode == old->settings->mode ? new : NULL;
}

/* Between two exchanges: the next one begins under the current configuration. */
static void client_move(struct client *c, struct frontend *to) {
    struct tenure *now = c->base.env->tenure;
    c->base.frontend = to;
    c->base.is_leaving = false;
    now->clients++;
    leave_tenure(c);
    c->tenure = now;
    if (c->base.session) h1_session_set_policies(&c->h1, &to->limits, &to->client_timeouts);
}

/* Its frontend is gone: a running exchange, or a request that is here already, is its last. */
static void client_leave(struct client *c) {
    c->base.is_leaving = true;
    if (c->base.session)
        c->base.session->ops->shutdown(c->base.session);
    else if (c->h1.conn && !conn_has_input(c->h1.conn))
        client_refuse(c);
}

/* Costs about as much as so many that go over: a connection is closed. */
enum { LEAVE_EFFORT = 32 };

/* True: its frontend is gone. */
static bool move_or_leave(struct client *c) {
    struct frontend *to = successor_of(c);
    if (!to)
        client_leave(c);
    else if (!c->exchanges && c->open)
        client_move(c, to);
    return !to;
}

/* The list goes round: who was looked at is its last. New clients come behind, so the first `*left` ones are those of
 * the beginning, but for some that have gone meanwhile and some that need not be looked at. */
bool clients_move(struct env *env, uint32_t *left, uint32_t *effort) {
    for (; *left && *effort; --*left) {
        struct list *node = list_first(&env->live_clients);
        if (!node) break;
        list_remove(node);
        list_push_back(&env->live_clients, node);
        struct client *c = LIST_ENTRY(node, struct client, task.node);
        uint32_t cost = c->tenure != env->tenure && move_or_leave(c) ? LEAVE_EFFORT : 1;
        *effort -= cost < *effort ? cost : *effort;
    }
    if (list_is_empty(&env->live_clients)) *left = 0;
    return !*left;
}

/* --- the end of an exchange ------------------------------------------------------------------------------------- */

static void on_exchange_end(struct exchange_client *base) {
    struct client *c = client_of(base);
    LG_ASSERT(c->exchanges > 0);
    c->exchanges--;
    if (!base->session) c->open = false; /* a tunnel's end, or the session's was before */
    struct frontend *to = c->open && !c->exchanges && c->tenure != base->env->tenure ? successor_of(c) : NULL;
    if (to) client_move(c, to);
    client_check_gone(c);
}

/* --- HTTP ------------------------------------------------------------------------------------------------------- */

static void on_stream(struct session *session, struct stream *stream) {
    struct client *c = session->owner;
    c->exchanges++;
    exchange_start(&c->base, stream);
}

/* The connection has closed, or a tunnel has taken it over: then an exchange is still running. */
static void on_session_close(struct session *session) {
    struct client *c = session->owner;
    c->base.session = NULL;
    if (!c->exchanges) c->open = false;
    client_check_gone(c);
}

static void note_malformed(const struct client *c, enum failure f, struct slice bytes, const char *place) {
    struct addr peer;
    addr_recall(&c->base.addr, &peer);
    const struct malformed_source from = {c->base.frontend->settings->name, NULL, &peer};
    malformed_add(&c->base.env->malformed, c->base.env->loop.unix_us, &from, f, bytes, place);
}

static void on_malformed(struct session *session, enum failure f, struct slice bytes, const char *place) {
    note_malformed(session->owner, f, bytes, place);
}

static const struct session_events client_session_events = {
    .on_stream = on_stream, .on_close = on_session_close, .on_malformed = on_malformed};

/* --- PROXY header ----------------------------------------------------------------------------------------------- */

static void client_begin(struct client *c, struct conn *conn) {
    const struct frontend *f = c->base.frontend;
    c->h1.conn = NULL;
    if (f->settings->mode == MODE_TCP) {
        c->exchanges++;
        exchange_start_tcp(&c->base, conn);
        return;
    }
    c->base.session = &c->h1.session;
    h1_session_init_client(&c->h1, conn, &c->base.env->scratch, &f->limits, &f->client_timeouts, &client_session_events,
                           c);
}

static void refuse_proxy_header(struct client *c) {
    struct addr peer;
    char text[ADDR_TEXT_MAX];
    addr_recall(&c->base.addr, &peer);
    size_t n = addr_print(&peer, text);
    log_warn("bad_proxy_header", failure_get(FAILURE_bad_proxy_header)->sentence,
             LOG_STR("frontend", c->base.frontend->settings->name), LOG_SLICE("client", slice_from(text, n)));
    metrics_add(&c->base.env->metrics, METRIC_client_failures_total, 1);
    client_refuse(c);
}

static size_t on_proxy_bytes(struct conn *conn, struct slice bytes) {
    struct client *c = conn->owner;
    size_t used = 0;
    bool has_addr = false;
    struct addr peer, local;
    switch (proxy_parse(bytes, &used, &has_addr, &peer, &local)) {
    case PROXY_MORE:
        return 0;
    case PROXY_BAD:
        note_malformed(c, FAILURE_bad_proxy_header, bytes, NULL);
        refuse_proxy_header(c);
        return 0;
    case PROXY_DONE:
        break;
    }
    if (has_addr) {
        addr_forget(&c->base.addr);
        addr_keep(&c->base.addr, &peer);
        c->base.local = xmalloc(sizeof local);
        *c->base.local = local;
        c->base.port = addr_port(&local);
    }
    client_begin(c, conn);
    return used;
}

static void on_proxy_gone(struct conn *conn) {
    client_refuse(conn->owner);
}

static void on_proxy_error(struct conn *conn, int error_number) {
    (void)error_number;
    client_refuse(conn->owner);
}

static const struct conn_events proxy_header_events = {
    .on_read = on_proxy_bytes, .on_eof = on_proxy_gone, .on_error = on_proxy_error, .on_timeout = on_proxy_gone};

/* --- birth ------------------------------------------------------------------------------------------------------ */

void client_start(struct env *env, struct frontend *frontend, int fd, const struct client_origin *from) {
    if (!env->clients.size) slab_init(&env->clients, sizeof(struct client), 64);
    struct client *c = slab_get(&env->clients);
    c->base = (struct exchange_client){
        .env = env, .frontend = frontend, .port = from->port, .fd = fd, .on_exchange_end = on_exchange_end};
    addr_keep(&c->base.addr, from->peer);
    c->exchanges = 0;
    c->tenure = env->tenure;
    c->tenure->clients++;
    c->open = true;
    c->h1.conn = NULL;
    task_init(&c->task, on_grave);
    list_push_back(&env->live_clients, &c->task.node);
    env->client_count++;
    metrics_add(&env->metrics, METRIC_connections_total, 1);
    metrics_add(&env->metrics, METRIC_connections_active, 1);
    struct conn *conn = conn_adopt(&env->loop, fd, &proxy_header_events, c);
    if (from->accept_proxy) {
        c->h1.conn = conn;
        conn_set_timeout(conn, frontend->client_timeouts.head_us, false);
    } else {
        client_begin(c, conn);
    }
    if (from->has_spoken && c->h1.conn == conn) conn_read_now(conn);
}

void clients_shutdown(struct env *env) {
    LIST_FOR (node, &env->live_clients) {
        struct client *c = LIST_ENTRY(node, struct client, task.node);
        if (c->base.session)
            c->base.session->ops->shutdown(c->base.session);
        else if (c->h1.conn && !conn_has_input(c->h1.conn))
            client_refuse(c);
    }
}

void clients_abort(struct env *env) {
    LIST_FOR (node, &env->live_exchanges) exchange_kill(LIST_ENTRY(node, struct exchange, node), FAILURE_shutting_down);
    LIST_FOR (node, &env->live_clients) {
        struct client *c = LIST_ENTRY(node, struct client, task.node);
        if (c->base.session)
            c->base.session->ops->abort(c->base.session, FAILURE_shutting_down);
        else if (c->h1.conn)
            client_refuse(c);
    }
}
