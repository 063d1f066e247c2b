/* watch.c: tells when the configuration has become another one. */
#include "loomgate/runtime/watch.h"

#include "loomgate/base/log.h"

#include <string.h>

#include "watch_internal.h"

static void settle(struct watch *w) {
    deadline_set(w->loop, &w->quiet, w->quiet_us);
    if (!deadline_is_set(&w->latest)) deadline_set(w->loop, &w->latest, w->latest_us);
}

static void on_readable(struct ev_loop *ev, ev_io *io, int events) {
    (void)ev, (void)events;
    struct watch *w = io->data;
    if (ways_read(&w->ways)) settle(w);
}

/* Told once until it is over. */
static void tell_error(struct watch *w) {
    bool has_error = w->ways.error != 0;
    if (has_error && !w->told_error)
        log_warn("watch_polls", "not all files of the configuration can be watched; they are looked at now and then",
                 LOG_STR("error", strerror(w->ways.error)), LOG_INT("interval_ms", w->poll_us / 1000));
    w->told_error = has_error;
}

static void close_ways(struct watch *w) {
    ev_io_stop(w->loop->ev, &w->io);
    ways_close(&w->ways);
}

static void open_ways(struct watch *w) {
    ways_open(&w->ways, &w->files);
    tell_error(w);
    deadline_set(w->loop, &w->poll, w->ways.error ? w->poll_us : 0);
    if (w->ways.fd < 0) return;
    ev_io_init(&w->io, on_readable, w->ways.fd, EV_READ);
    w->io.data = w;
    ev_io_start(w->loop->ev, &w->io);
}

/* Watched first and read then: what happens in between makes an event. */
static void look(struct watch *w) {
    deadline_cancel(&w->quiet);
    deadline_cancel(&w->latest);
    close_ways(w);
    open_ways(w);
    uint64_t hash = config_files_hash(&w->files);
    if (hash == w->hash) return;
    w->hash = hash;
    w->on_change(w->owner);
}

static void on_quiet(struct deadline *d) {
    look(LG_CONTAINER_OF(d, struct watch, quiet));
}

static void on_latest(struct deadline *d) {
    look(LG_CONTAINER_OF(d, struct watch, latest));
}

static void on_poll(struct deadline *d) {
    look(LG_CONTAINER_OF(d, struct watch, poll));
}

void watch_init(struct watch *w, void (*on_change)(void *owner), void *owner) {
    *w = (struct watch){.owner = owner,
                        .on_change = on_change,
                        .quiet_us = WATCH_QUIET_US,
                        .latest_us = WATCH_LATEST_US,
                        .poll_us = WATCH_POLL_US,
                        .ways = {.fd = -1}};
    deadline_init(&w->quiet, on_quiet);
    deadline_init(&w->latest, on_latest);
    deadline_init(&w->poll, on_poll);
}

void watch_start(struct watch *w, struct loop *loop, const struct config_files *files) {
    struct arena arena;
    struct config_files copy;
    arena_init(&arena, NULL, 0); /* `files` may be our own */
    config_files_copy(&copy, files, &arena);
    bool told_error = w->told_error;
    watch_stop(w);
    w->told_error = told_error;
    w->loop = loop;
    w->arena = arena;
    w->files = copy;
    w->files.arena = &w->arena;
    w->hash = copy.hash;
    ev_init(&w->io, on_readable);
    open_ways(w);
    if (config_files_hash(&w->files) != w->hash) settle(w);
}

void watch_stop(struct watch *w) {
    if (!w->loop) return;
    deadline_cancel(&w->quiet);
    deadline_cancel(&w->latest);
    deadline_cancel(&w->poll);
    close_ways(w);
    arena_fini(&w->arena);
    w->loop = NULL;
    w->told_error = false;
}
