/* One connection of the origin: what was read, what is to be sent, and how it ends. */
#ifndef ORIGIN_CONN_H
#define ORIGIN_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "request.h"
#include "text.h"
#include "timers.h"

struct settings {
    const char *name;
    bool is_tcp;        /* -t: echo bytes */
    bool greets;        /* -g: say the name first (with -t) */
    bool wants_proxy;   /* -p: every connection begins with a PROXY header */
    uint64_t idle_ms;   /* -q: keep-alive connections idle for this long are closed; 0: never */
    unsigned drop_rate; /* -r: percent of answers after which the connection is closed without a word */
};

struct counters {
    uint64_t requests, accepted, open;
};

extern struct settings settings;
extern struct counters counters;

enum conn_state {
    CONN_PROXY,  /* waiting for a PROXY header */
    CONN_HEAD,   /* waiting for a request head; idle when nothing of it is there */
    CONN_BODY,   /* reading a body, before or (answered) after the answer */
    CONN_WAIT,   /* /delay: the timer starts the answer */
    CONN_SEND,   /* sending out, fill and tail */
    CONN_RESET,  /* all is written; RST as soon as the peer's kernel has it */
    CONN_AFTER,  /* the timer closes it */
    CONN_HANG,   /* nothing happens until the peer leaves */
    CONN_TUNNEL, /* bytes come back as they are */
};

/* What happens once everything is sent. */
enum ending { END_KEEP, END_CLOSE, END_RESET, END_FIN_AND_HANG, END_HANG, END_TUNNEL };

/* The bulk of a body: a repeated pattern, never copied. With chunk > 0 it is cut into chunks, framing included. */
struct fill {
    uint64_t at, size; /* bytes on the wire */
    size_t chunk;      /* data bytes a chunk; 0: no chunks */
    char head[12];     /* the chunk size line */
    size_t head_len;
};

struct answer;

struct conn {
    int fd;
    enum conn_state state;
    bool is_readable, is_writable; /* until EAGAIN: epoll is edge-triggered */
    bool is_half_closed;           /* the peer's FIN is known */
    uint64_t serial;               /* 1 for the first connection */
    uint64_t requests;             /* on this connection, this one included */
    struct timer timer;            /* what it does depends on the state */

    char *in; /* IN_SIZE bytes, only while something is in it */
    size_t in_from, in_to;
    struct text proxy; /* what the PROXY header said */

    struct request request;
    const struct answer *answer;
    const char *rest; /* of the path, behind the answer's name; ends with '?' or ' ' */
    uint64_t delay_ms;
    bool is_early;    /* answer before the body is read */
    bool is_answered; /* the body that is being read is only drained */
    int64_t budget;   /* body bytes that may be read now, if rate > 0 */
    uint64_t rate;    /* bytes a second */

    struct text out, tail;
    size_t out_sent, tail_sent;
    struct fill fill;
    uint64_t pace_ms; /* > 0: out goes byte by byte, after the first `allowed` ones */
    size_t allowed;
    enum ending ending;
    uint64_t after_ms; /* a pause before END_CLOSE and END_RESET */
    unsigned polls;
};

/* The pattern that fill sends: 64 characters, the last one a line feed, over and over. */
extern const char *conn_pattern;
enum { PATTERN_PERIOD = 64, PATTERN_SIZE = 256 * 1024 };

void conn_init_pattern(void);

/* Takes over a fresh non-blocking socket. */
struct conn *conn_new(int fd);

/* Something happened to it; it may be gone afterwards. */
void conn_on_event(struct conn *conn, uint32_t epoll_events);
void conn_on_timer(struct timer *timer);

/* Starts a body of `size` bytes of the pattern; chunk 0 is without chunks. */
void conn_set_fill(struct conn *conn, uint64_t size, size_t chunk);

/* answers.c: chooses conn->answer from the target when the head is there; writes out, fill, tail and ending. */
void answer_find(struct conn *conn);
void answer_run(struct conn *conn);

#endif
