/* conn.h: one connected socket: state, buffers, deadline, events upward.
 *
 *   conn_connect --> CONNECTING --on_open--> OPEN --conn_close(AFTER_WRITE | LINGER)--> CLOSING --> CLOSED (graveyard)
 *                         |                   ^ |                                            ^
 *      conn_adopt --------|-------------------+ +---------- conn_close(NOW | RESET) ---------+
 *                         +--on_error-------------------------------------------------------/
 *
 * Bytes that arrive are lent from the loop's one read buffer; what the owner does not take is kept here and presented
 * again together with what follows. Bytes to send are written at once; only what did not fit is kept. So a connection
 * that waits holds no buffer. No function of this file but conn_read_now calls the owner back before it returns. */
#ifndef LOOMGATE_NET_CONN_H
#define LOOMGATE_NET_CONN_H

#include "loomgate/net/addr.h"
#include "loomgate/net/loop.h"
#include "loomgate/net/transport.h"

#include <stdbool.h>

enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_CLOSING, CONN_CLOSED };
enum conn_close_how {
    CONN_CLOSE_NOW,         /* what was not sent is dropped */
    CONN_CLOSE_RESET,       /* the same with RST: the peer must see that something is missing */
    CONN_CLOSE_AFTER_WRITE, /* send what is kept, then close; for peers that have nothing more to send */
    CONN_CLOSE_LINGER       /* send what is kept, then FIN, then wait for the peer's FIN, so that no RST destroys what
                             * it has not read yet (RFC 9112 section 9.6) */
};
/* A connection is congested when the kernel did not take all that was written, or when more than HIGH bytes wait for it
 * to be connected; on_drained comes when they are gone. DRAIN: how long a closing connection may stand still with bytes
 * to send; LINGER: how long it waits for the peer's FIN. */
enum { CONN_HIGH_MARK = 4096, CONN_DRAIN_US = 30000000, CONN_LINGER_US = 2000000 };

/* What is read at once may have to be kept, where it goes on to a peer that takes nothing: so at first it is little,
 * but enough for a head and the 16 KiB behind it that so many programs send at once. It is doubled after each sixteen
 * reads that were filled, up to LOOP_READ_SIZE; a pause of SLOW_MS or longer, such as a slow peer's, begins anew. */
enum { CONN_READ_FIRST = 18 * 1024, CONN_READ_LEVELS = 4, CONN_SLOW_MS = 20 };

struct conn;
struct conn_events {
    void (*on_open)(struct conn *c);                       /* connected */
    size_t (*on_read)(struct conn *c, struct slice bytes); /* returns how many were taken; the rest is kept */
    void (*on_eof)(struct conn *c);                        /* the peer has ended its side; once */
    void (*on_drained)(struct conn *c);                 /* no longer congested, all bytes are in the kernel's hands */
    void (*on_error)(struct conn *c, int error_number); /* broken: only conn_close is of use now; once */
    void (*on_timeout)(struct conn *c);                 /* conn_set_timeout has passed */
};

struct conn {
    ev_io io; /* its data is the loop */
    const struct transport *transport;
    const struct conn_events *events; /* NULL once the owner has closed it */
    void *owner;
    struct buf in;  /* received, not taken yet */
    struct buf out; /* to be sent */
    struct deadline deadline;
    uint64_t timeout_us; /* of the deadline; renewed on movement when `renew` */
    struct task task;    /* a deferred event, a flush, or the grave: see `due` */
    uint16_t paused_ms;  /* when the pause began, the low bits */
    uint8_t error_number;
    uint8_t write_error; /* nothing more can be sent; what the peer sent before is still read */
    uint8_t state;
    bool renew : 1;
    bool paused : 1;  /* the owner takes no bytes now */
    bool reading : 1; /* EV_READ is registered */
    bool writing : 1; /* EV_WRITE is registered */
    bool congested : 1;
    bool eof : 1; /* the peer has ended its side */
    bool eof_told : 1;
    bool shut : 1; /* FIN is to be sent, or was, after `out` */
    bool shut_done : 1;
    bool error_told : 1;
    bool in_read : 1; /* on_read is running: kept bytes are presented again by it, not by a task */
    bool reset_on_close : 1;
    bool linger : 1;
    bool reads_on : 1;
    bool yielded : 1;
    bool unseen : 1;        /* bytes are kept that the owner has not been offered since it paused */
    uint8_t read_level : 3; /* CONN_READ_FIRST << level bytes are read at once */
    uint8_t full_reads : 4; /* at this level, so many reads have found as many */
    bool only_flush : 1;    /* the task waits for output alone: in vain once that has gone */
    uint64_t bytes_in, bytes_out;
};
/* Each idle client has one, without a buffer. */
_Static_assert(sizeof(struct conn) <= 192, "idle clients cost more");

/* Takes over a connected, non-blocking socket. One that still connects will do where the owner writes at once: what
 * does not leave yet waits for the connection, and its failure comes as on_error. */
struct conn *conn_adopt(struct loop *loop, int fd, const struct conn_events *events, void *owner);
/* Begins to connect; on_open or on_error follows. NULL with errno when it failed at once (no descriptors, no route...).
 */
struct conn *conn_connect(struct loop *loop, const struct addr *to, const struct conn_events *events, void *owner);
/* Another owner: bytes that were kept are presented to it at the turn's end; its timeout is its own. */
void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner);
/* The owner is done with it; no event follows, the pointer must not be used any more. */
void conn_close(struct conn *c, enum conn_close_how how);
/* The same, but the socket, which must be open, stays so: the caller takes it over, without what was not sent. */
int conn_release(struct conn *c);

/* Sends. `more`: something follows within this turn, so small pieces may wait for it (the turn's end sends them).
 * Errors come later as on_error. Ignored when broken or shut. */
void conn_write(struct conn *c, const struct iovec *iov, int count, bool more);
/* Room for `size` bytes to be written in place at the end of what is to be sent, taken with conn_commit. They wait
 * for the next conn_write, conn_flush or the turn's end. */
char *conn_reserve(struct conn *c, size_t size);
void conn_commit(struct conn *c, size_t size);
void conn_flush(struct conn *c);
/* FIN after all bytes to be sent; the other direction stays open. */
void conn_shutdown(struct conn *c);

/* Stops and restarts on_read. After a resume, kept bytes are presented at the end of the turn. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
/* For this owner a failed write does not end reading: what the peer sent before, an early answer say, is still wanted.
 */
void conn_read_on(struct conn *c);
/* From inside on_read: what it does not take is presented in the next turn only, so that others have theirs. */
void conn_yield(struct conn *c);
/* Reads now, without being told that there is anything: for bytes that are most likely here. The owner may have closed
 * the connection when it returns. */
void conn_read_now(struct conn *c);
/* Whether bytes of the peer's are here, taken from the kernel or not; costs a system call. */
bool conn_has_input(const struct conn *c);
/* on_timeout after so long; 0: never. With `renew`, each movement of bytes starts it anew. Replaces the one before. */
void conn_set_timeout(struct conn *c, uint64_t timeout_us, bool renew);

static inline struct loop *conn_loop(const struct conn *c) {
    return c->io.data;
}
/* Its counts of bytes go on from these. */
static inline void conn_count_from(struct conn *c, uint64_t bytes_in, uint64_t bytes_out) {
    c->bytes_in = bytes_in;
    c->bytes_out = bytes_out;
}
static inline bool conn_is_congested(const struct conn *c) {
    return c->congested;
}
/* Bytes are waiting to be sent. */
static inline bool conn_has_output(const struct conn *c) {
    return c->out.bytes > 0;
}

#endif
