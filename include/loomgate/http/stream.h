/* stream.h: the contract between a protocol and an exchange: one request and its response, seen from one side.
 *
 * A client's stream gives a request and takes the response; a server's stream takes the request and gives the response.
 * Both have this one contract, so that protocols pair freely, and so do fixed answers and the fakes of tests.
 *
 *   on_head, (1xx: on_head again), on_body*, on_end .... on_close (last, once)
 *
 * Operations never call back before they return, with one exception that the path of a request needs: the send that
 * completes both directions, and reset of nothing at all, may give on_close at once. */
#ifndef LOOMGATE_HTTP_STREAM_H
#define LOOMGATE_HTTP_STREAM_H

#include "loomgate/base/failure.h"
#include "loomgate/http/message.h"

struct conn;
struct stream;

/* What an exchange asks of one side. */
struct stream_ops {
    /* The head to send; edited already (http/rewrite). m->body and m->length say what will follow, m->keep_alive
     * false asks for the connection to end with this exchange. `end`: nothing follows, not even send_end. */
    void (*send_head)(struct stream *s, const struct message *m, bool end);
    /* `more`: something follows within this turn. The bytes are taken or copied before it returns. */
    void (*send_body)(struct stream *s, struct slice body, bool more);
    void (*send_end)(struct stream *s, const struct fields *trailers); /* NULL: none */
    /* No on_body until resume (at most the one that is under way). */
    void (*pause)(struct stream *s);
    void (*resume)(struct stream *s);
    /* The exchange gives up: what was not sent completely will be seen as cut. No event follows, not even on_close. */
    void (*reset)(struct stream *s);
    /* After a 101 was received or sent: the bare connection, bytes not taken yet included. No event follows. */
    struct conn *(*take_conn)(struct stream *s);
    /* Brings bytes_in and bytes_out up to date, which else is done at the end alone. */
    void (*count)(struct stream *s);
};

/* What a side tells its exchange. */
struct stream_events {
    void (*on_head)(struct stream *s, struct message *m); /* m is lent until the call returns */
    void (*on_body)(struct stream *s, struct slice body, bool more);
    void (*on_end)(struct stream *s, const struct fields *trailers);
    void (*on_writable)(struct stream *s); /* congested no longer */
    /* Client's side only: the request cannot be read to its end, but an answer may still be sent. */
    void (*on_fail)(struct stream *s, enum failure f);
    /* The stream is gone: FAILURE_NONE when both directions were complete. */
    void (*on_close)(struct stream *s, enum failure f);
};

struct stream {
    const struct stream_ops *ops;
    const struct stream_events *events;
    void *owner;
    bool congested;               /* sending more than the peer takes: pause the other side until on_writable */
    bool untouched;               /* with on_close: the peer cannot have seen any byte of ours */
    bool reused;                  /* its connection has served before */
    uint64_t bytes_in, bytes_out; /* on the wire, heads included */
};

#endif
