/* session.h: the contract of a protocol that runs on a connection and yields streams. */
#ifndef LOOMGATE_HTTP_SESSION_H
#define LOOMGATE_HTTP_SESSION_H

#include "loomgate/http/stream.h"

#include <stdint.h>

struct session;

struct session_events {
    /* A client's session: a request begins. Give the stream its events and owner before returning. */
    void (*on_stream)(struct session *s, struct stream *stream);
    /* A server's session: its stream has ended well and another one may be opened. */
    void (*on_idle)(struct session *s);
    /* The connection is gone and no stream is left: free the session (after this turn). Last, once. */
    void (*on_close)(struct session *s);
    /* What the peer sent cannot be read: lent bytes, and the place in them where that was noticed. Only to be noted;
     * what follows from it is told by other events. May be NULL. */
    void (*on_malformed)(struct session *s, enum failure f, struct slice bytes, const char *place);
};

struct session_timeouts;

struct session_ops {
    /* A server's session that is idle: a stream for one exchange. */
    struct stream *(*open_stream)(struct session *s, const struct stream_events *events, void *owner);
    /* No new exchange: at once when idle, else with the end of the running one. */
    void (*shutdown)(struct session *s);
    /* Other limits of time from now on, borrowed. */
    void (*set_timeouts)(struct session *s, const struct session_timeouts *timeouts);
    /* Drops the connection at once; a stream hears `f` in on_close, then on_close of the session follows. */
    void (*abort)(struct session *s, enum failure f);
};

/* Microseconds, 0 for never. client's side: keep_alive, header, client; server's side: idle_timeout, response, server.
 */
struct session_timeouts {
    uint64_t idle_us; /* nothing is asked of the peer */
    uint64_t
        head_us; /* a whole head must arrive: from its first byte, from the accept, or from the end of the request */
    uint64_t stall_us; /* no byte moves while the exchange needs one */
};

struct session {
    const struct session_ops *ops;
    const struct session_events *events;
    void *owner;
};

#endif
