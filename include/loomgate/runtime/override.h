/* override.h: what operators have set against the configuration, of one server each: who, when, until when.
 *
 *   the configuration's --set--> LASTING --restore--> the configuration's
 *        either --set for a time--> LIMITED, above it --the time is over--> what is below
 *
 * Kept by the names of backend and server for the process's life: another configuration's servers heed it too. Control
 * thread only. */
#ifndef LOOMGATE_RUNTIME_OVERRIDE_H
#define LOOMGATE_RUNTIME_OVERRIDE_H

#include "loomgate/net/socket.h"
#include "loomgate/runtime/runtime.h"

enum override_setting {
    OVERRIDE_ADMIN,   /* enum server_admin */
    OVERRIDE_HEALTH,  /* enum server_health */
    OVERRIDE_BREAKER, /* BREAKER_OPEN or BREAKER_CLOSED */
    OVERRIDE_WEIGHT,  /* in units of 1 / WEIGHT_ONE */
    OVERRIDE_SETTINGS
};
enum { OVERRIDE_TEXT_MAX = 24 };

struct override_mark {
    uint32_t value;
    struct socket_peer by;
    uint64_t unix_us;       /* when it was set */
    uint64_t until_unix_us; /* 0: without end */
};

struct override {
    struct list node;
    struct runtime *runtime;
    enum override_setting setting;
    const char *backend, *server;
    bool has_lasting;
    struct override_mark lasting, limited;
    struct loop_timer timer; /* set: `limited` is in force */
};

/* Sets it, for so long, or for_us 0: until it is taken back. An admin state that is also the configuration's is no
 * override, but takes one back. New exchanges heed it when this returns; `done` (may be NULL) comes when every worker
 * does, never before this returns. The server is one of the configuration in force. */
void runtime_override(struct runtime *r, struct server *server, enum override_setting setting, uint32_t value,
                      const struct socket_peer *by, uint64_t for_us, void (*done)(void *arg), void *arg);
/* Takes it back, if there is one. */
void runtime_restore(struct runtime *r, struct server *server, enum override_setting setting, void (*done)(void *arg),
                     void *arg);

/* NULL: it is as in the configuration. */
const struct override *override_find(const struct runtime *r, const struct server *server,
                                     enum override_setting setting);
/* All of them in the order in which they were set first: NULL gives the first one; NULL behind the last. */
const struct override *override_next(const struct runtime *r, const struct override *before);
/* The one in force. */
const struct override_mark *override_mark(const struct override *o);

/* "weight"; "0.5" */
const char *override_setting_name(enum override_setting setting);
void override_print(enum override_setting setting, uint32_t value, char out[OVERRIDE_TEXT_MAX]);

#endif
