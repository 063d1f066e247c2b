/* proxy_bed.c: exchanges between a fake client's stream and a server. */
#include "proxy_bed.h"

#include "addr_make.h"

#include <unistd.h>

struct proxy_bed pb;
static _Alignas(LG_CACHE_LINE) char over_room[EXCHANGE_SIZE];

static void on_exchange_end(struct exchange_client *client) {
    assert_ptr_equal(client, &pb.client);
    pb.ends++;
    /* It may end before exchange_start has come back. */
    const struct exchange *x = pb.x ? pb.x : pb.front.stream.owner;
    if (x) memcpy(pb.over, x, sizeof *x);
    pb.x = NULL;
}

const struct exchange *proxy_last(void) {
    return pb.x ? pb.x : pb.over;
}

enum failure proxy_cause(void) {
    return (enum failure)proxy_last()->cause;
}

static void on_nothing(struct env *env) {
    (void)env;
}

/* --- the fake session in the pool ------------------------------------------------------------------------------- */

static struct stream *fake_open_stream(struct session *session, const struct stream_events *events, void *owner) {
    assert_ptr_equal(session, &pb.back_session->h1.session);
    fake_stream_init(&pb.back, false);
    pb.back.stream.events = events;
    pb.back.stream.owner = owner;
    pb.back.stream.reused = true;
    return &pb.back.stream;
}

/* Asked to end while it is idle. */
static void fake_shutdown(struct session *session) {
    struct server_session *s = session->owner;
    if (!list_is_empty(&s->node)) {
        list_remove(&s->node);
        pb.env.pools.v[s->server->id]->count--;
        pb.env.pools.idle--;
    }
    pb.session_shut = session;
}

static void fake_set_timeouts(struct session *session, const struct session_timeouts *timeouts) {
    (void)session, (void)timeouts;
}

static void fake_abort(struct session *session, enum failure f) {
    (void)f;
    pb.session_shut = session;
}

static const struct session_ops fake_session_ops = {fake_open_stream, fake_shutdown, fake_set_timeouts, fake_abort};

void proxy_add_idle(void) {
    struct pools *pools = &pb.env.pools;
    struct server *server = pb.snapshot->backends[0].members[0].server;
    assert_null(pb.back_session);
    struct server_session *s = pb.back_session = slab_get(&pools->sessions);
    memset(s, 0, sizeof *s);
    pb.back_conn.io.fd = peer_open(&pb.back_peer);
    s->h1.conn = &pb.back_conn;
    s->h1.session = (struct session){.ops = &fake_session_ops, .owner = s};
    s->server = server;
    s->pools = pools;
    assert_null(pool_take(pools, server, false)); /* makes the pool */
    list_push_front(&pools->v[server->id]->idle, &s->node);
    pools->v[server->id]->count++;
    pools->idle++;
}

static void remove_fake_session(void) {
    if (!pb.back_session) return;
    fake_shutdown(&pb.back_session->h1.session);
    slab_put(&pb.env.pools.sessions, pb.back_session);
    pb.back_session = NULL;
    close(pb.back_conn.io.fd);
    peer_close(&pb.back_peer);
}

/* --- birth and death -------------------------------------------------------------------------------------------- */

int proxy_set_up(void **state) {
    (void)state;
    struct addr at;
    memset(&pb, 0, sizeof pb);
    memset(over_room, 0, sizeof over_room);
    pb.over = (struct exchange *)(void *)over_room;
    pb.listener = listener_open(&at);
    pb.server.fd = pb.back_peer.fd = -1;
    env_init(&pb.env, &pb.gate);
    mailbox_init(&pb.box, &pb.env.loop, NULL);
    pb.env.box = &pb.box;
    pb.env.on_gate_left = pb.env.on_client_gone = on_nothing;
    registry_init(&pb.registry);
    pb.config = config_make();
    pb.web = config_add_frontend(pb.config, "web");
    pb.app = config_add_backend(pb.config, "app");
    pb.s1 = config_add_server(pb.config, pb.app, "s1", &at);
    pb.web->default_backend = 0;
    return 0;
}

void proxy_build(void) {
    struct error e;
    pb.snapshot = snapshot_build(pb.config, &pb.registry, &e);
    if (!pb.snapshot) fail_msg("%s", e.text);
    pb.tenure.snapshot = pb.snapshot;
    pb.env.tenure = &pb.tenure;
    snapshot_set_limits(pb.snapshot);
    pb.frontend = &pb.snapshot->frontends[0];
    pb.client = (struct exchange_client){
        .env = &pb.env, .frontend = pb.frontend, .port = 8080, .fd = -1, .on_exchange_end = on_exchange_end};
    const struct addr peer = addr_make_ip("192.0.2.7", 5123);
    addr_keep(&pb.client.addr, &peer);
}

int proxy_set_up_built(void **state) {
    proxy_set_up(state);
    proxy_build();
    return 0;
}

int proxy_tear_down(void **state) {
    (void)state;
    remove_fake_session();
    if (!pb.snapshot) proxy_build();
    pools_close_idle(&pb.env.pools);
    loop_turns(&pb.env.loop, 2);
    struct backend *b = &pb.snapshot->backends[0];
    for (uint32_t i = 0; i < b->member_count; i++)
        assert_int_equal(atomic_load(&b->members[i].server->shared.active), 0);
    assert_true(queue_is_empty(&b->group->queue));
    assert_int_equal(pb.env.waiters.in_use, 0);
    assert_int_equal(pb.env.exchange_count, 0);
    assert_int_equal(pb.env.exchanges.in_use, 0);
    assert_int_equal(pb.env.pools.sessions.in_use, 0);
    assert_int_equal(pb.env.loop.conns.in_use, 0);
    assert_int_equal(pb.env.loop.chunks.bytes, 0);
    peer_close(&pb.server);
    close(pb.listener);
    mailbox_fini(&pb.box);
    env_fini(&pb.env);
    snapshot_free(pb.snapshot, &pb.registry);
    registry_fini(&pb.registry);
    return 0;
}

/* --- messages --------------------------------------------------------------------------------------------------- */

/* The head's bytes live as long as a read buffer does: only until the next message. */
static struct {
    struct message m;
    struct field v[PROXY_HEADS_MAX];
    char text[4096];
} made;

static void add_fields(const char *fields) {
    struct slice rest = slice_of(fields), line;
    made.m.fields = (struct fields){.v = made.v, .room = PROXY_HEADS_MAX};
    while (slice_split(&rest, '\n', &line) && line.n) {
        size_t colon = slice_find(line, ':');
        assert_true(colon < line.n);
        struct slice name = slice_from(line.p, colon);
        struct slice value = slice_trim(slice_from(line.p + colon + 1, line.n - colon - 1));
        assert_true(fields_add(&made.m.fields, name, value));
        made.m.fields.v[made.m.fields.count - 1].id = (uint16_t)field_id_find(name);
    }
}

static struct slice keep(const char *text, size_t *at) {
    size_t n = strlen(text);
    assert_true(*at + n < sizeof made.text);
    struct slice s = slice_from(memcpy(made.text + *at, text, n + 1), n);
    *at += n + 1;
    return s;
}

/* As h1_codec makes it: every slice is a part of `raw`. */
static void begin_message(enum body_kind body, uint64_t length, const char *fields, size_t *at) {
    memset(&made, 0, sizeof made);
    made.m = (struct message){
        .minor = 1, .body = (uint8_t)body, .length = length, .has_length = body == BODY_LENGTH, .keep_alive = true};
    struct slice kept = keep(fields ? fields : "", at);
    add_fields(kept.p);
}

struct message *proxy_request(const char *method, const char *uri, enum body_kind body, uint64_t length,
                              const char *fields) {
    size_t at = 0;
    begin_message(body, length, fields, &at);
    struct message *m = &made.m;
    m->method = (uint8_t)method_find(slice_of(method));
    m->method_name = keep(method, &at);
    m->target = m->uri = keep(uri, &at);
    size_t mark = slice_find(m->uri, '?');
    m->path = slice_from(m->uri.p, mark);
    m->has_query = mark < m->uri.n;
    if (m->has_query) m->query = slice_from(m->uri.p + mark + 1, m->uri.n - mark - 1);
    m->host = keep("example.org", &at);
    m->raw = slice_from(made.text, at);
    return m;
}

struct message *proxy_response(unsigned status, enum body_kind body, uint64_t length, const char *fields) {
    size_t at = 0;
    begin_message(body, length, fields, &at);
    made.m.status = (uint16_t)status;
    made.m.reason = status_reason(status);
    made.m.raw = slice_from(made.text, at);
    return &made.m;
}

/* --- requests --------------------------------------------------------------------------------------------------- */

void proxy_start(struct message *m) {
    fake_stream_init(&pb.front, true);
    exchange_start(&pb.client, &pb.front.stream);
    pb.x = pb.front.stream.owner;
    pb.front.request_ended = m->body == BODY_NONE;
    fake_head(&pb.front, m);
    memset(made.text, '#', sizeof made.text); /* whoever still points there has a bug */
}

void proxy_get(const char *uri) {
    proxy_start(proxy_request("GET", uri, BODY_NONE, 0, NULL));
    if (pb.front.open) fake_end(&pb.front);
}

void proxy_post(const char *uri, uint64_t length) {
    proxy_start(proxy_request("POST", uri, BODY_LENGTH, length, NULL));
}
