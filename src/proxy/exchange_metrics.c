/* exchange_metrics.c: a route that answers with the metrics: they are the control thread's to write, and too long to be
 * sent at once.
 *
 *   COLLECT --the text comes--> ANSWER: head, then piece by piece as the client takes them, a few in each turn */
#include "loomgate/stats/exposition.h"

#include "exchange_internal.h"

/* Of 64 KiB each: a client that reads fast must not keep the others waiting. */
enum { PIECES_A_TURN = 4 };

struct metrics_answer {
    struct exchange *x;
    struct list node; /* among env.collecting */
    struct task next_turn;
    struct exposition *text; /* NULL: not here yet */
    const struct exposition_piece *next;
};

static void on_next_turn(struct task *task) {
    exchange_send_metrics(LG_CONTAINER_OF(task, struct metrics_answer, next_turn)->x);
}

void exchange_collect(struct exchange *x) {
    struct env *env = x->env;
    struct metrics_answer *m = x->metrics = arena_calloc(&x->arena, sizeof *m);
    bool is_first = list_is_empty(&env->collecting);
    m->x = x;
    task_init(&m->next_turn, on_next_turn);
    list_push_back(&env->collecting, &m->node);
    if (is_first) env->on_collect(env);
}

void exchanges_take_metrics(struct env *env, struct exposition *text) {
    struct list waiting, *node; /* who comes meanwhile is for the next time */
    list_init(&waiting);
    list_move_all(&waiting, &env->collecting);
    while ((node = list_first(&waiting))) {
        struct metrics_answer *m = LIST_ENTRY(node, struct metrics_answer, node);
        list_remove(node);
        exposition_ref(text);
        m->text = text;
        m->next = text->first;
        exchange_set_state(m->x, EXCHANGE_ANSWER);
        exchange_run(m->x);
    }
}

size_t exchange_metrics_size(const struct exchange *x) {
    return x->metrics->text->bytes;
}

void exchange_send_metrics(struct exchange *x) {
    struct metrics_answer *m = x->metrics;
    struct stream *front = x->front;
    bool has_body = x->request.method != METHOD_HEAD;
    for (unsigned i = 0; has_body && m->next && !front->congested; i++) {
        if (i == PIECES_A_TURN) {
            loop_next_turn(&x->env->loop, &m->next_turn);
            return;
        }
        const struct exposition_piece *piece = m->next;
        m->next = piece->next;
        front->ops->send_body(front, slice_from(piece->text, piece->size), m->next != NULL);
    }
    if (has_body && m->next) return; /* on_writable follows */
    exchange_drop_metrics(x);
    x->response_ended = true;
    front->ops->send_end(front, NULL);
}

void exchange_drop_metrics(struct exchange *x) {
    struct metrics_answer *m = x->metrics;
    if (!m) return;
    x->metrics = NULL;
    list_remove(&m->node);
    task_cancel(&m->next_turn);
    exposition_unref(m->text);
}
