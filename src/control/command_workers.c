/* command_workers.c: the workers' loops, and where memory goes: each worker is asked on its own thread. */
#include "command_internal.h"

#include <malloc.h>
#include <stdlib.h>

/* What one worker says of itself. */
struct worker_report {
    uint32_t connections, exchanges, idle;
    uint64_t turns;
    struct histogram_summary latency;
    struct slab_report {
        size_t in_use, bytes;
    } clients, exchange_slab, conns, sessions, waiters;
    size_t chunks, pools;
};

struct census {
    struct call *call;
    unsigned count;
    struct worker_report v[];
};

static struct slab_report look_at(const struct slab *s) {
    return (struct slab_report){s->in_use, s->reserved * s->size};
}

static void report(struct env *env, unsigned worker, void *arg) {
    struct worker_report *w = &((struct census *)arg)->v[worker];
    *w = (struct worker_report){
        .connections = env->client_count,
        .exchanges = env->exchange_count,
        .idle = (uint32_t)env->pools.idle,
        .turns = env->loop.turn,
        .clients = look_at(&env->clients),
        .exchange_slab = look_at(&env->exchanges),
        .conns = look_at(&env->loop.conns),
        .sessions = look_at(&env->pools.sessions),
        .waiters = look_at(&env->waiters),
        .chunks = env->loop.chunks.bytes,
    };
    loop_latency_read(&env->loop, &w->latency);
    for (unsigned i = 0; i < env->pools.size; i++) w->pools += env->pools.v[i] ? sizeof(struct pool) : 0;
}

static void ask_workers(struct call *c, void (*done)(void *arg)) {
    unsigned count = runtime_worker_count(c->control->runtime);
    struct census *census = xcalloc(1, sizeof *census + count * sizeof census->v[0]);
    census->call = c;
    census->count = count;
    runtime_broadcast(c->control->runtime, report, done, census);
}

/* The longest is of all turns, the others of those that were looked at: at first there are none. */
static void put_latency(struct view_node *in, const struct histogram_summary *s) {
    const struct {
        const char *name;
        double us;
        bool is_known;
    } rows[] = {{"p50", s->p50_us, s->count}, {"p99", s->p99_us, s->count}, {"max", s->max_us, true}};
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        if (rows[i].is_known)
            view_duration(in, rows[i].name, (uint64_t)(rows[i].us + 0.5));
        else
            view_null(in, rows[i].name);
    }
}

static void show_workers(void *arg) {
    struct census *census = arg;
    struct call *c = census->call;
    struct view_node *list = view_begin_list(&c->view);
    for (unsigned i = 0; i < census->count; i++) {
        const struct worker_report *w = &census->v[i];
        struct view_node *row = view_object(list, NULL);
        view_number(row, "worker", i);
        view_number(row, "connections", w->connections);
        view_number(row, "exchanges", w->exchanges);
        view_number(row, "idle_to_servers", w->idle);
        put_latency(view_object(row, "latency"), &w->latency);
        view_number(row, "turns_total", w->turns);
    }
    free(census);
    call_show(c);
}

static void run_workers(struct call *c) {
    ask_workers(c, show_workers);
}

/* --- show memory ------------------------------------------------------------------------------------------------ */

static void put_pool(struct view_node *list, const char *name, const char *what, uint64_t count, uint64_t bytes) {
    struct view_node *row = view_object(list, NULL);
    view_text(row, "pool", name);
    if (count == UINT64_MAX)
        view_null(row, "in_use");
    else
        view_number(row, "in_use", count);
    view_bytes(row, "bytes", bytes);
    view_text(row, "what", what);
}

static void put_slab(struct view_node *list, const struct census *census, size_t offset, const char *name,
                     const char *what) {
    uint64_t count = 0, bytes = 0;
    for (unsigned i = 0; i < census->count; i++) {
        struct slab_report one;
        memcpy(&one, (const char *)&census->v[i] + offset, sizeof one);
        count += one.in_use;
        bytes += one.bytes;
    }
    put_pool(list, name, what, count, bytes);
}

static void put_telemetry(struct view_node *list, struct call *c) {
    struct telemetry_memory m = telemetry_memory(&runtime_registry(c->control->runtime)->telemetry);
    put_pool(list, "stats_shards", "what workers count for each frontend, route, backend and server", UINT64_MAX,
             m.shards);
    put_pool(list, "stats_windows", "the last minutes of each", UINT64_MAX, m.windows);
    put_pool(list, "stats_series", "their names", UINT64_MAX, m.series);
}

static void show_memory(void *arg) {
    static const struct {
        size_t offset;
        const char *name, *what;
    } slabs[] = {
        {offsetof(struct worker_report, clients), "clients", "connections of clients"},
        {offsetof(struct worker_report, exchange_slab), "exchanges", "requests under way"},
        {offsetof(struct worker_report, conns), "conns", "sockets, to clients and to servers"},
        {offsetof(struct worker_report, sessions), "sessions", "connections to servers"},
        {offsetof(struct worker_report, waiters), "waiters", "requests that wait for a server"},
    };
    struct census *census = arg;
    struct call *c = census->call;
    struct mallinfo2 heap = mallinfo2();
    uint64_t chunks = 0, pools = 0;
    struct view_node *list = view_begin_list(&c->view);
    for (size_t i = 0; i < LG_COUNT(slabs); i++) put_slab(list, census, slabs[i].offset, slabs[i].name, slabs[i].what);
    for (unsigned i = 0; i < census->count; i++) chunks += census->v[i].chunks, pools += census->v[i].pools;
    put_pool(list, "chunks", "bytes received or to be sent, that had to be kept", UINT64_MAX, chunks);
    put_pool(list, "pools", "lists of idle connections to servers", UINT64_MAX, pools);
    put_pool(list, "read_buffers", "one for each loop", census->count + 1,
             (uint64_t)(census->count + 1) * LOOP_READ_SIZE);
    put_pool(list, "config", "the settings in force", UINT64_MAX,
             runtime_snapshot(c->control->runtime)->config->arena.total);
    put_telemetry(list, c);
    put_pool(list, "audit", "commands for show audit", UINT64_MAX, sizeof c->control->audit);
    put_pool(list, "heap", "all that malloc has handed out, most of the above too", UINT64_MAX,
             heap.uordblks + heap.hblkhd);
    free(census);
    call_show(c);
}

static void run_memory(struct call *c) {
    ask_workers(c, show_memory);
}

const struct command commands_workers[] = {
    {.words = "show workers",
     .arguments = "",
     .run = run_workers,
     .help = "each worker's connections, exchanges, idle connections to servers, and how long its loop's turns take",
     .example = "show workers"},
    {.words = "show memory",
     .arguments = "",
     .run = run_memory,
     .help = "the bytes in each pool, all workers together",
     .example = "show memory"},
    {.words = NULL},
};
