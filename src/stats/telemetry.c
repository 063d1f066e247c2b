/* telemetry.c: which series there are: names, ids, lives. */
#include "loomgate/stats/telemetry.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "telemetry_internal.h"

const char *series_kind_name(enum series_kind kind) {
    static const char *const names[] = {"frontend", "route", "backend", "server"};
    LG_ASSERT((unsigned)kind < LG_COUNT(names));
    return names[kind];
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void telemetry_init(struct telemetry *t) {
    *t = (struct telemetry){0};
    map_init(&t->map);
    for (unsigned k = 0; k < SERIES_KINDS; k++) list_init(&t->kinds[k]);
}

void telemetry_fini(struct telemetry *t) {
    LG_ASSERT(t->map.count == 0);
    map_fini(&t->map);
    free(t->free_ids);
    free(t->recorders);
    free(t->scratch);
    *t = (struct telemetry){0};
}

void telemetry_add_recorder(struct telemetry *t, const struct recorder *r) {
    t->recorders = xrealloc(t->recorders, (t->recorder_count + 1) * sizeof(struct recorder *));
    t->recorders[t->recorder_count++] = r;
    free(t->scratch); /* its size depends on it */
    t->scratch = NULL;
}

static bool has_windows(const struct telemetry *t, const uint64_t *lengths_us, unsigned count) {
    return t->timeline.window_count == count &&
           memcmp(t->timeline.windows, lengths_us, count * sizeof *lengths_us) == 0;
}

void telemetry_set_windows(struct telemetry *t, const uint64_t *lengths_us, unsigned count, uint64_t now_us) {
    if (!count || has_windows(t, lengths_us, count)) return;
    for (struct series *s = telemetry_next(t, NULL); s; s = telemetry_next(t, s))
        if (s->history) history_clear_slots(t, s->history);
    timeline_init(&t->timeline, lengths_us, count, now_us);
}

unsigned telemetry_window_find(const struct telemetry *t, uint64_t length_us) {
    unsigned w = 0;
    while (w + 1 < t->timeline.window_count && t->timeline.windows[w] < length_us) w++;
    return w;
}

/* --- series ----------------------------------------------------------------------------------------------------- */

static size_t series_bytes(const struct series *s) {
    return sizeof *s + s->key.n + 1 + sizeof(struct map_entry) * 2;
}

/* The key is the kind, the owner's name, NUL, the name; a NUL follows. */
static struct series *series_new(enum series_kind kind, const char *owner, const char *name) {
    size_t owner_size = strlen(owner) + 1, name_size = strlen(name) + 1;
    struct series *s = xcalloc(1, sizeof *s + 1 + owner_size + name_size);
    char *key = (char *)(s + 1);
    key[0] = (char)kind;
    s->kind = kind;
    s->owner = memcpy(key + 1, owner, owner_size);
    s->name = memcpy(key + 1 + owner_size, name, name_size);
    s->key = slice_from(key, owner_size + name_size);
    list_init(&s->node);
    return s;
}

static uint32_t take_id(struct telemetry *t) {
    if (t->free_count) return t->free_ids[--t->free_count];
    LG_ASSERT(t->id_limit < SERIES_MAX);
    return t->id_limit++;
}

static void give_id_back(struct telemetry *t, uint32_t id) {
    if (t->free_count == t->free_room) {
        t->free_room = t->free_room ? t->free_room * 2 : 16;
        t->free_ids = xrealloc(t->free_ids, t->free_room * sizeof *t->free_ids);
    }
    t->free_ids[t->free_count++] = id;
}

struct series *telemetry_acquire(struct telemetry *t, enum series_kind kind, const char *owner, const char *name) {
    struct series *made = series_new(kind, owner, name);
    struct series *known = map_find(&t->map, made->key);
    if (known) {
        free(made);
        known->refs++;
        return known;
    }
    made->refs = 1;
    made->id = take_id(t);
    map_put(&t->map, made->key, made);
    list_push_back(&t->kinds[kind], &made->node);
    t->series_bytes += series_bytes(made);
    history_begin_anew(t, made);
    return made;
}

void telemetry_release(struct telemetry *t, struct series *s) {
    if (!s) return;
    LG_ASSERT(s->refs > 0);
    if (--s->refs) return;
    history_free(t, s);
    give_id_back(t, s->id);
    map_remove(&t->map, s->key);
    list_remove(&s->node);
    t->series_bytes -= series_bytes(s);
    free(s);
}

struct series *telemetry_find(const struct telemetry *t, enum series_kind kind, const char *owner, const char *name) {
    struct series *wanted = series_new(kind, owner, name);
    struct series *found = map_find(&t->map, wanted->key);
    free(wanted);
    return found;
}

struct series *telemetry_next(const struct telemetry *t, const struct series *after) {
    unsigned kind = after ? after->kind : 0;
    struct list *node = after ? after->node.next : t->kinds[0].next;
    while (node == &t->kinds[kind]) {
        if (++kind == SERIES_KINDS) return NULL;
        node = t->kinds[kind].next;
    }
    return LIST_ENTRY(node, struct series, node);
}

/* --- memory ----------------------------------------------------------------------------------------------------- */

struct telemetry_memory telemetry_memory(const struct telemetry *t) {
    struct telemetry_memory m = {.windows = t->history_bytes, .series = t->series_bytes};
    if (t->scratch) m.windows += sizeof *t->scratch + t->recorder_count * sizeof(struct shard *);
    m.series += t->free_room * sizeof *t->free_ids;
    for (unsigned i = 0; i < t->recorder_count; i++)
        m.shards += atomic_load_explicit(&t->recorders[i]->bytes, memory_order_relaxed);
    return m;
}
