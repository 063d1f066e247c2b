/* command_explain_pick.c: the servers of the backend that a request would go to, and which one it would be: told by the
 * code that picks, which is asked without taking a turn.
 *
 * Where chance decides there is no one server. So it is asked many times over with other dice: who never gets the
 * request has no chance, who always does is the one. */
#include "command_internal.h"

#include "loomgate/control/entity.h"
#include "loomgate/proxy/pick_key.h"

#include <inttypes.h>
#include <stdlib.h>

/* So often it is asked; less where that would be many looks at many servers. */
enum { DRAWS_MAX = 1000, DRAWS_MIN = 50, LOOKS_MAX = 500000 };

struct draw_count {
    unsigned draws;
    unsigned *got; /* by each server, in the order of target_next() */
};

static const struct balance_member *member_at(const struct backend *b, uint32_t i) {
    return i < b->member_count ? &b->members[i] : &b->backups[i - b->member_count];
}

static uint32_t server_count(const struct backend *b) {
    return b->member_count + b->backup_count;
}

static unsigned draws_for(const struct backend *b) {
    unsigned draws = LOOKS_MAX / (server_count(b) + 1);
    return draws > DRAWS_MAX ? DRAWS_MAX : draws < DRAWS_MIN ? DRAWS_MIN : draws;
}

/* As exchange_pick() would: who comes while others wait goes behind them. */
static enum pick_result draw(const struct backend *b, struct pick_request *r, struct draw_count *count) {
    enum pick_result result = PICK_FULL;
    count->got = xcalloc(server_count(b), sizeof *count->got);
    count->draws = queue_is_empty(&b->group->queue) ? draws_for(b) : 0;
    for (unsigned i = 0; i < count->draws; i++) {
        const struct balance_member *m;
        r->random = i;
        result = backend_peek(b, r, &m);
        if (result != PICK_OK) break;
        for (uint32_t k = 0; k < server_count(b); k++) count->got[k] += member_at(b, k) == m;
    }
    if (result != PICK_OK) count->draws = 0;
    return result;
}

/* --- put -------------------------------------------------------------------------------------------------------- */

static void put_balance(struct view_node *in, const struct backend *b, const struct pick_request *r) {
    struct view_node *node = view_object(in, "balance");
    view_text(node, "policy", b->policy->name);
    if (!backend_wants_key(b)) return;
    view_text(node, "by", b->settings->balance.key_text);
    if (r->has_key)
        view_printf(node, "key", "%016" PRIx64, r->key);
    else
        view_null(node, "key");
}

static void put_server(struct view_node *row, const struct backend *b, const struct balance_member *m, uint64_t now_us,
                       double chance) {
    static const char *const standings[] = {
        [STANDING_OK] = "ok", [STANDING_FULL] = "full", [STANDING_OPEN] = "open", [STANDING_OUT] = "out"};
    const struct server *s = m->server;
    view_text(row, "server", s->name);
    view_bool(row, "backup", m->settings->backup);
    view_text(row, "standing", standings[member_standing(m, now_us)]);
    view_text(row, "admin", member_admin_word(m));
    view_text(row, "health", member_health_word(m));
    view_text(row, "breaker", member_breaker_word(m));
    view_real(row, "weight", member_weight(m, now_us));
    view_number(row, "active", atomic_load_explicit(&s->shared.active, memory_order_relaxed));
    if (m->settings->max_connections)
        view_number(row, "limit", m->settings->max_connections);
    else
        view_null(row, "limit");
    float latency = backend_wants_latency(b) ? latency_at(&s->shared.latency, now_us) : 0;
    if (latency > 0)
        view_duration(row, "latency", (uint64_t)latency);
    else if (backend_wants_latency(b))
        view_null(row, "latency");
    view_ratio(row, "chance", chance);
}

static void put_servers(struct view_node *in, const struct backend *b, uint64_t now_us,
                        const struct draw_count *count) {
    struct view_node *list = view_list(in, "servers");
    for (uint32_t i = 0; i < server_count(b); i++)
        put_server(view_object(list, NULL), b, member_at(b, i), now_us,
                   count->draws ? (double)count->got[i] / count->draws : 0);
}

static void put_refusal(struct view_node *in, enum failure f) {
    view_text(in, "outcome", "refused");
    view_number(in, "status", failure_get(f)->status);
    view_text(in, "cause", failure_get(f)->name);
}

/* PICK_OK: one server has had all the draws, or chance decides. */
static void put_winner(struct view_node *in, const struct backend *b, const struct draw_count *count) {
    const struct balance_member *only = NULL;
    for (uint32_t i = 0; i < server_count(b); i++)
        if (count->got[i] == count->draws) only = member_at(b, i);
    view_text(in, "outcome", only ? "server" : "chance");
    view_text(in, "server", only ? only->server->name : NULL);
}

static void put_outcome(struct view_node *root, const struct backend *b, enum pick_result result,
                        const struct draw_count *count) {
    struct view_node *in = view_object(root, "pick");
    uint32_t waiting = atomic_load(&b->group->queue.waiting);
    switch (result) {
    case PICK_OK:
        put_winner(in, b, count);
        break;
    case PICK_FULL:
        if (waiting >= b->settings->queue_max)
            put_refusal(in, FAILURE_queue_full);
        else
            view_text(in, "outcome", "queue");
        view_number(in, "waiting", waiting);
        break;
    case PICK_OPEN:
        put_refusal(in, FAILURE_breaker_open);
        break;
    case PICK_NONE:
        put_refusal(in, FAILURE_no_server);
        break;
    }
}

void explain_pick(const struct question *q, const struct backend *b) {
    struct view_node *root = &q->call->view.root;
    struct draw_count count;
    struct pick_request r = {.now_us = runtime_loop(q->call->control->runtime)->now_us};
    if (backend_wants_key(b)) r.has_key = pick_key(&b->settings->balance, &q->request, &q->client, &r.key);
    enum pick_result result = draw(b, &r, &count);
    put_balance(root, b, &r);
    put_servers(root, b, r.now_us, &count);
    put_outcome(root, b, result, &count);
    free(count.got);
}
