/* reload_watch.c: the configuration is read again by itself when its files have changed. */
#include "loomgate/runtime/reload.h"

#include <string.h>

#include "runtime_internal.h"

/* The file that the one which is watched was read from comes first. */
static void on_change(void *owner) {
    struct runtime *r = owner;
    LG_ASSERT(r->watch.files.paths.count > 0);
    reload_by_watch(r, r->watch.files.paths.v[0]);
}

void reload_watch_init(struct runtime *r) {
    watch_init(&r->watch, on_change, r);
}

/* What is gone back to was read from files that have changed since; only what changes from now on is meant. */
void reload_watch(struct runtime *r, bool as_they_are) {
    const struct config *config = r->snapshot->config;
    struct config_files files = config->files;
    if (!config->global.reload_watch || !files.paths.count) {
        watch_stop(&r->watch);
        return;
    }
    if (as_they_are) files.hash = config_files_hash(&files);
    watch_start(&r->watch, &r->loop, &files);
}

void reload_watch_failed(struct runtime *r, const struct config_files *files) {
    if (!r->watch.loop || !files->paths.count) return;
    if (strcmp(files->paths.v[0], r->watch.files.paths.v[0]) == 0) watch_start(&r->watch, &r->loop, files);
}
