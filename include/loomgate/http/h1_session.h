/* h1_session.h: HTTP/1 on a connection, either role: one stream at a time, pipelined requests wait.
 *
 *            +------------------ keep-alive, both directions complete <---------------+
 *            v                                                                         |
 *   IDLE -> HEAD (its bytes arrive) -> EXCHANGE: receiving | sending, each until complete -> close
 *            |                              |
 *            +--> on_fail: answer, close    +--> reset, peer gone, timeout: close         101: the conn is taken away
 */
#ifndef LOOMGATE_HTTP_H1_SESSION_H
#define LOOMGATE_HTTP_H1_SESSION_H

#include "loomgate/base/failure.h"
#include "loomgate/http/h1_codec.h"
#include "loomgate/http/session.h"
#include "loomgate/net/conn.h"

struct h1_session {
    struct session session;
    struct stream stream;
    struct conn *conn; /* NULL once closed or taken away */
    struct h1_scratch *scratch;
    const struct h1_limits *limits;
    const struct session_timeouts *timeouts;
    struct h1_codec codec;
    uint64_t out_left;  /* of a body with a length */
    uint32_t drained;   /* request bytes thrown away after the response was complete */
    uint32_t sent_turn; /* the loop's turn in which the request was sent, its low bits */
    uint32_t pending;   /* bytes of the read under way that were not taken yet */
    uint32_t served;    /* streams ended */
    uint8_t wait;       /* what the conn's timeout is for */
    uint8_t out_body;   /* enum body_kind on the wire */
    uint8_t request_method;
    bool client_side : 1; /* the peer is a client: requests come in */
    bool open : 1;        /* a stream is out */
    bool got_head : 1;    /* the (final) head was received */
    bool in_done : 1, out_head : 1, out_done : 1;
    bool interim : 1; /* the head just received was a 1xx */
    bool keep_alive : 1;
    bool asked_close : 1; /* the client's request says that it is its last one */
    bool peer_10 : 1;     /* the peer speaks HTTP/1.0 */
    bool paused : 1;
    bool expects : 1; /* the client waits for 100 before it sends the body */
    bool broken : 1;  /* nothing more is to be read as HTTP */
    bool pumping : 1; /* on_read is running */
    bool fresh : 1;   /* no request has come yet */
    bool used : 1;    /* a stream has ended */
};
/* Each idle client has one: what only a head under way needs is in the scratch. */
_Static_assert(sizeof(struct h1_session) <= 160, "idle clients cost more");

/* Starts on a connected conn, which it owns from now on. limits, timeouts and scratch are borrowed for its life. */
void h1_session_init_client(struct h1_session *s, struct conn *c, struct h1_scratch *scratch,
                            const struct h1_limits *limits, const struct session_timeouts *timeouts,
                            const struct session_events *events, void *owner);
void h1_session_init_server(struct h1_session *s, struct conn *c, struct h1_scratch *scratch,
                            const struct h1_limits *limits, const struct session_timeouts *timeouts,
                            const struct session_events *events, void *owner);
/* Others from the next request on, borrowed like the first ones. */
void h1_session_set_policies(struct h1_session *s, const struct h1_limits *limits,
                             const struct session_timeouts *timeouts);

#endif
