/* health_internal.h: the conversation of one check, which health_probe.c holds for health.c. */
#ifndef LOOMGATE_SRC_BACKEND_HEALTH_INTERNAL_H
#define LOOMGATE_SRC_BACKEND_HEALTH_INTERNAL_H

#include "loomgate/backend/health.h"
#include "loomgate/http/h1_codec.h"
#include "loomgate/net/conn.h"

/* More than so many bytes before the end of the answer's head are too many. */
enum { PROBE_HEAD_MAX = 65536 };

struct probe {
    struct loop *loop;
    struct h1_scratch *scratch;
    struct spares *spares;
    const struct server *server;
    const struct health_settings *settings;
    const struct server_settings *server_settings;
    void (*on_done)(struct probe *p, bool passed); /* status and reason say why; no conversation is under way then */
    struct conn *conn;                             /* NULL: none is under way */
    struct conn *kept;                             /* of the check before, for the next one; NULL: none */
    bool on_kept;                                  /* this one uses it */
    bool skips_one;                                /* the first that could be kept is not: see is_wanted() */
    bool passed;                                   /* the answer's head was good; its rest may still come */
    uint64_t before_in;                            /* bytes that had come on the connection before */
    struct h1_codec codec;
    uint16_t status; /* of an HTTP answer; 0: none */
    char reason[sizeof((struct health_state *)0)->reason];
};

/* 0: on_done follows, never before it returns. Else an errno, and its name as the reason: nothing was begun and nothing
 * follows. */
LG_MUST_CHECK int probe_start(struct probe *p);
void probe_cancel(struct probe *p);

#endif
