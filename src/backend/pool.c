/* pool.c: sessions to servers: the idle ones of one worker. */
#include "loomgate/backend/pool.h"

#include "loomgate/stats/telemetry.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/* What a server may send as a head; not in the configuration, like the limits of other proxies' buffers. */
static const struct h1_limits response_limits = {.head_bytes = 65536, .field_count = 512, .uri_bytes = 0};

static const struct session_events pool_session_events;

void pools_init(struct pools *p, struct loop *loop, struct h1_scratch *scratch) {
    *p = (struct pools){.loop = loop, .scratch = scratch};
    slab_init(&p->sessions, sizeof(struct server_session), 32);
}

static void close_idle(struct list *node) {
    struct server_session *s = LIST_ENTRY(node, struct server_session, node);
    s->h1.session.ops->shutdown(&s->h1.session);
}

static void pool_close_idle(struct pool *pool) {
    deadline_cancel(&pool->trim);
    LIST_FOR (node, &pool->idle) close_idle(node);
}

void pools_close_idle(struct pools *p) {
    for (unsigned i = 0; i < p->size; i++)
        if (p->v[i]) pool_close_idle(p->v[i]);
}

void pools_close_idle_of(struct pools *p, const struct server *server) {
    if (server->id < p->size && p->v[server->id]) pool_close_idle(p->v[server->id]);
}

/* Closes idle ones to a server that is not in service, as far as the effort goes; false: some are left. */
static bool pool_sweep(struct pool *pool, uint32_t *effort) {
    const struct server_session *one = LIST_ENTRY(list_first(&pool->idle), struct server_session, node);
    if (server_is_in_service(one->server)) return true;
    for (; pool->count && *effort; *effort -= *effort < POOL_CLOSE_EFFORT ? *effort : POOL_CLOSE_EFFORT)
        close_idle(list_last(&pool->idle));
    if (!pool->count) deadline_cancel(&pool->trim);
    return !pool->count;
}

bool pools_sweep(struct pools *p, uint32_t *left, uint32_t *effort) {
    for (; p->idle && *left; --*left) {
        struct pool *pool = p->v[*left - 1];
        if (!*effort || (pool && pool->count && !pool_sweep(pool, effort))) return false;
        if (*effort) --*effort;
    }
    *left = 0;
    return true;
}

void pools_forget(struct pools *p, const struct server *server) {
    if (server->id >= p->size || !p->v[server->id] || p->v[server->id]->count) return;
    deadline_cancel(&p->v[server->id]->trim);
    free(p->v[server->id]);
    p->v[server->id] = NULL;
}

void pools_fini(struct pools *p) {
    LG_ASSERT(p->idle == 0);
    for (unsigned i = 0; i < p->size; i++) free(p->v[i]);
    free(p->v);
    slab_fini(&p->sessions);
}

/* Closes what is above max_idle and was not needed since the last look: a burst that goes on keeps its connections. */
static void on_trim(struct deadline *d) {
    struct pool *pool = LG_CONTAINER_OF(d, struct pool, trim);
    while (pool->unused > 0 && pool->count > pool->max_idle) {
        pool->unused--;
        close_idle(list_last(&pool->idle));
    }
    pool->unused = pool->count;
    if (pool->count > pool->max_idle) deadline_set(pool->pools->loop, &pool->trim, POOL_TRIM_US);
}

bool pools_evict(struct pools *p) {
    for (unsigned i = 0; p->idle && i < p->size; i++) {
        if (!p->v[i] || !p->v[i]->count) continue;
        close_idle(list_last(&p->v[i]->idle));
        return true;
    }
    return false;
}

static struct pool *pool_of(struct pools *p, const struct server *server) {
    if (server->id >= p->size) {
        unsigned size = server->id + 16;
        p->v = xrealloc(p->v, size * sizeof *p->v);
        memset(p->v + p->size, 0, (size - p->size) * sizeof *p->v);
        p->size = size;
    }
    if (!p->v[server->id]) {
        p->v[server->id] = xcalloc(1, sizeof **p->v);
        list_init(&p->v[server->id]->idle);
        deadline_init(&p->v[server->id]->trim, on_trim);
        p->v[server->id]->pools = p;
    }
    return p->v[server->id];
}

static void count_idle(struct server_session *s, int by) {
    const struct series *series = s->server->series;
    struct recorder *r = s->pools->recorder;
    s->pools->idle += (size_t)by;
    if (r && series) recorder_move(r, series->id, GAUGE_IDLE, by);
}

static void leave_pool(struct server_session *s) {
    if (list_is_empty(&s->node)) return;
    list_remove(&s->node);
    struct pool *pool = pool_of(s->pools, s->server);
    if (--pool->count < pool->unused) pool->unused = pool->count;
    count_idle(s, -1);
}

/* Anything to read on an idle connection, bytes or an end, means that it is of no use. */
static bool has_gone(const struct server_session *s) {
    char byte;
    return recv(s->h1.conn->io.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

struct server_session *pool_take(struct pools *p, struct server *server, bool certain) {
    struct pool *pool = pool_of(p, server);
    struct list *node;
    while ((node = list_first(&pool->idle))) {
        struct server_session *s = LIST_ENTRY(node, struct server_session, node);
        leave_pool(s);
        if (!certain || !has_gone(s)) return s;
        s->h1.session.ops->shutdown(&s->h1.session);
    }
    return NULL;
}

struct server_session *pool_adopt(struct pools *p, struct server *server, struct conn *c,
                                  const struct pool_settings *settings, const struct session_timeouts *timeouts) {
    struct server_session *s = slab_get(&p->sessions);
    s->timeouts = *timeouts;
    s->server = server;
    s->pools = p;
    pool_of(p, server)->max_idle = settings->max_idle;
    s->max_requests = settings->max_requests;
    s->is_private = false;
    list_init(&s->node);
    h1_session_init_server(&s->h1, c, p->scratch, &response_limits, &s->timeouts, &pool_session_events, s);
    return s;
}

struct stream *server_session_open(struct server_session *s, const struct session_timeouts *timeouts,
                                   const struct stream_events *events, void *owner) {
    s->timeouts = *timeouts;
    return s->h1.session.ops->open_stream(&s->h1.session, events, owner);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void on_idle(struct session *session) {
    struct server_session *s = session->owner;
    struct pool *pool = pool_of(s->pools, s->server);
    bool worn = s->max_requests && s->h1.served >= s->max_requests;
    if (worn || s->is_private || !pool->max_idle || !server_is_in_service(s->server)) {
        session->ops->shutdown(session);
        return;
    }
    list_push_front(&pool->idle, &s->node);
    count_idle(s, 1);
    if (++pool->count > pool->max_idle && !deadline_is_set(&pool->trim)) {
        pool->unused = pool->count;
        deadline_set(s->pools->loop, &pool->trim, POOL_TRIM_US);
    }
    if (s->pools->on_room) s->pools->on_room(s->pools);
}

static void on_grave(struct task *task) {
    struct server_session *s = LG_CONTAINER_OF(task, struct server_session, grave);
    slab_put(&s->pools->sessions, s);
}

static void on_close(struct session *session) {
    struct server_session *s = session->owner;
    leave_pool(s);
    task_init(&s->grave, on_grave);
    loop_bury(s->pools->loop, &s->grave);
    if (s->pools->on_room) s->pools->on_room(s->pools);
}

static void on_malformed(struct session *session, enum failure f, struct slice bytes, const char *place) {
    const struct server_session *s = session->owner;
    const struct server *server = s->server;
    const struct malformed_source from = {server->backend, server->name, &server->addr};
    if (s->pools->malformed) malformed_add(s->pools->malformed, s->pools->loop->unix_us, &from, f, bytes, place);
}

static const struct session_events pool_session_events = {
    .on_idle = on_idle, .on_close = on_close, .on_malformed = on_malformed};
