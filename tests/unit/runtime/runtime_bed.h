/* runtime_bed.h: a runtime with one backend, `app`, of two servers and two workers that never run: they heed what they
 * are told when a test reads their mail. */
#ifndef TESTS_UNIT_RUNTIME_RUNTIME_BED_H
#define TESTS_UNIT_RUNTIME_RUNTIME_BED_H

#include "loomgate/runtime/override.h"

#include "../../../src/runtime/runtime_internal.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKERS = 2 };

static struct runtime runtime;
static struct worker *workers[WORKERS];
static struct backend_settings *settings;
static struct server *a1, *a2; /* a2 is in maintenance by the configuration */

static const struct socket_peer alice = {.pid = 1, .uid = 100, .gid = 10};

static inline void bed_begin(void) {
    struct config *c = config_make();
    struct addr at = addr_make_ip("127.0.0.1", 9);
    struct error e;
    settings = config_add_backend(c, "app");
    settings->slow_start_us = 10000000;
    config_add_server(c, settings, "a1", &at);
    config_add_server(c, settings, "a2", &at)->maint = true;
    log_set_level(LEVEL_ERROR);
    runtime = (struct runtime){.worker_count = WORKERS, .workers = workers};
    loop_init(&runtime.loop);
    mailbox_init(&runtime.box, &runtime.loop, &runtime);
    list_init(&runtime.overrides);
    list_init(&runtime.drains);
    registry_init(&runtime.registry);
    runtime.snapshot = snapshot_build(c, &runtime.registry, &e);
    assert_non_null(runtime.snapshot);
    a1 = runtime.snapshot->backends[0].members[0].server;
    a2 = runtime.snapshot->backends[0].members[1].server;
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = aligned_alloc(LG_CACHE_LINE, (sizeof *workers[i] | (LG_CACHE_LINE - 1)) + 1);
        memset(workers[i], 0, sizeof *workers[i]);
        workers[i]->home = &runtime.box;
        mailbox_init(&workers[i]->box, &runtime.loop, workers[i]);
    }
}

static inline void read_mail(void) {
    for (unsigned i = 0; i < WORKERS; i++) mailbox_deliver(&workers[i]->box);
    mailbox_deliver(&runtime.box);
}

/* `before` (may be NULL) is a snapshot that the test has left over. */
static inline void bed_end(struct snapshot *before) {
    read_mail();
    overrides_fini(&runtime);
    drains_fini(&runtime);
    for (unsigned i = 0; i < WORKERS; i++) {
        mailbox_fini(&workers[i]->box);
        free(workers[i]);
    }
    snapshot_free(runtime.snapshot, &runtime.registry);
    if (before) snapshot_free(before, &runtime.registry);
    registry_fini(&runtime.registry);
    mailbox_fini(&runtime.box);
    loop_fini(&runtime.loop);
}

#endif
