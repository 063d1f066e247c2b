/* conn_internal.h: what conn.c (life, reading, events) and conn_write.c share. */
#ifndef LOOMGATE_NET_CONN_INTERNAL_H
#define LOOMGATE_NET_CONN_INTERNAL_H

#include "loomgate/net/conn.h"

static inline bool conn_is_broken(const struct conn *c) {
    return c->error_number || c->write_error;
}

/* Which events are registered with libev; a change is a system call. */
void conn_rewatch(struct conn *c, bool reading, bool writing);
static inline void conn_watch(struct conn *c, bool reading, bool writing) {
    if (reading != c->reading || writing != c->writing) conn_rewatch(c, reading, writing);
}

/* Bytes have gone or come. */
static inline void conn_moved(struct conn *c) {
    if (c->renew && deadline_is_set(&c->deadline)) deadline_set(conn_loop(c), &c->deadline, c->timeout_us);
}

/* Records a failure; the owner hears of it at the end of the turn. */
void conn_break(struct conn *c, int error_number);

/* Writes of what is kept as much as the socket takes. */
void conn_write_out(struct conn *c);
/* FIN, when it is to be sent and nothing is left before it. */
void conn_finish_shutdown(struct conn *c);

#endif
