/* command_errors.c: the last malformed requests and responses, of all workers. */
#include "command_internal.h"

#include "loomgate/base/log.h"

#include <stdlib.h>

struct collection {
    struct call *call;
    unsigned count;
    struct malformed_ring v[]; /* one a worker */
};

static void collect(struct env *env, unsigned worker, void *arg) {
    ((struct collection *)arg)->v[worker] = env->malformed;
}

static int older_first(const void *a, const void *b) {
    const struct malformed *x = *(const struct malformed *const *)a, *y = *(const struct malformed *const *)b;
    return (x->unix_us > y->unix_us) - (x->unix_us < y->unix_us);
}

/* As in the text of a view, also in JSON: there a byte that is no UTF-8 could not be told from the character of its
 * number. */
static void put_bytes(struct call *c, struct view_node *row, const char *name, struct slice bytes) {
    if (c->json) {
        size_t room = 4 * bytes.n + 16; /* of the longest escape, and what log_escape_sentence wants at the end */
        char *escaped = arena_alloc(&c->arena, room);
        bytes = slice_from(escaped, (size_t)(log_escape_sentence(escaped, escaped + room, bytes) - escaped));
    }
    view_slice(row, name, bytes);
}

static void put_error(struct call *c, struct view_node *row, const struct malformed *m) {
    const struct failure_row *failure = failure_get((enum failure)m->failure);
    char peer[ADDR_TEXT_MAX];
    addr_print(&m->peer, peer);
    view_time(row, "time", m->unix_us);
    view_text(row, "from", m->is_response ? "server" : "client");
    view_text(row, "address", peer);
    view_slice(row, m->is_response ? "backend" : "frontend", malformed_name(m, 0));
    if (m->is_response)
        view_slice(row, "server", malformed_name(m, 1));
    else
        view_null(row, "server");
    view_text(row, "cause", failure->name);
    view_text(row, "message", failure->sentence);
    put_bytes(c, row, "before", slice_from(m->bytes, m->at));
    put_bytes(c, row, "after", slice_from(m->bytes + m->at, (size_t)(m->count - m->at)));
}

static void show(void *arg) {
    struct collection *all = arg;
    struct call *c = all->call;
    const struct malformed **rows = xcalloc((size_t)all->count * MALFORMED_KEPT, sizeof *rows), *m;
    size_t count = 0;
    for (unsigned i = 0; i < all->count; i++)
        for (uint64_t k = 0; (m = malformed_find(&all->v[i], k)); k++) rows[count++] = m;
    qsort(rows, count, sizeof *rows, older_first);
    struct view_node *list = view_begin_list(&c->view);
    for (size_t i = 0; i < count; i++) put_error(c, view_object(list, NULL), rows[i]);
    free(rows);
    free(all);
    call_show(c);
}

static void run_errors(struct call *c) {
    unsigned count = runtime_worker_count(c->control->runtime);
    struct collection *all = xcalloc(1, sizeof *all + count * sizeof all->v[0]);
    all->call = c;
    all->count = count;
    runtime_broadcast(c->control->runtime, collect, show, all);
}

const struct command commands_errors[] = {
    {.words = "show errors",
     .arguments = "",
     .run = run_errors,
     .help = "the last malformed requests and responses, 32 a worker: who sent them, what was wrong, the bytes there",
     .example = "show errors"},
    {.words = NULL},
};
