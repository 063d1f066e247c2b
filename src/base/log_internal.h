/* log_internal.h: what the files of the log share: a ring per thread, the sinks, the writer's wake-up.
 *
 *   log.c         the API, process events             any thread
 *   log_ring.c    log_reserve, log_commit, log_flush  any thread, each on its own ring
 *   log_writer.c  the writer thread, its sleep        the writer; start and stop: the main thread
 *   log_sink.c    pending bytes, writing, losses      the writer; opening: the main thread
 *   log_escape.c  rendering helpers                   any thread, no state but a cached time */
#ifndef LOOMGATE_BASE_LOG_INTERNAL_H
#define LOOMGATE_BASE_LOG_INTERNAL_H

#include "loomgate/base/log.h"
#include "loomgate/base/macros.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>

/* --- rings (log_ring.c) ----------------------------------------------------------------------------------------- */

/* What stands before each record; a NULL sink is filler up to the ring's end. Records start at multiples of its size,
 * so that there is always room for a filler. */
struct log_record {
    struct log_sink *sink;
    uint32_t len;
    uint32_t level;
};

/* Positions only grow; a byte's place is (position - base) & mask. One thread moves `head`, the writer moves `tail`.
 * `base` is changed by that thread while the ring is empty, so that places are used again that are in memory and in the
 * cache; the writer reads it after a `head` that it has not seen before. */
struct log_ring {
    alignas(LG_CACHE_LINE) _Atomic size_t head;
    size_t base;
    size_t reserved; /* bytes of the record being rendered, 0: none */
    size_t skip;     /* bytes of filler before it */
    bool dirty;      /* committed since the last log_flush() */

    alignas(LG_CACHE_LINE) _Atomic size_t tail;

    alignas(LG_CACHE_LINE) size_t mask;
    char *data;
    size_t mapped;
    struct log_ring *next; /* in `incoming` until the writer adopts the ring, then in the writer's own list */
    atomic_bool retired;   /* its thread is gone: the writer frees it when it is empty */
};

void rings_init(unsigned queue);
/* The rings that threads made since the last call, linked by `next`; the caller owns the list. */
struct log_ring *rings_take_new(void);
/* True when a thread made a ring that rings_take_new() has not yet returned. */
bool rings_has_new(void);
char *ring_reserve(struct log_sink *sink, size_t max, enum log_level level);
bool ring_is_empty(const struct log_ring *r);
/* Moves what is in the ring now to the sinks' pending bytes; false when there was nothing. */
bool ring_drain(struct log_ring *r, uint64_t now_ms);
void ring_free(struct log_ring *r);

/* --- sinks (log_sink.c) ----------------------------------------------------------------------------------------- */

enum sink_kind {
    SINK_FILE,   /* never blocks for long: written at once, as much as there is */
    SINK_PIPE,   /* pipes and terminals: at most PIPE_BUF in one write, never torn by other writers */
    SINK_STREAM, /* a connected socket, as journald gives for stdout */
    SINK_SYSLOG  /* datagrams, one a record */
};

/* The writer's alone, but for the atomics and what log_open() sets before it publishes the sink. */
struct log_sink {
    struct log_sink *next;
    enum log_target target;
    char *path; /* NULL for stdout and stderr */
    _Atomic int format;
    _Atomic uint64_t untold; /* records lost that no log_lost record has told yet */

    int fd; /* -1: a syslog socket that is to be connected */
    bool owns_fd;
    enum sink_kind kind;
    bool polls;   /* `fd` is shared with others and may block: ask poll() before each write */
    bool blocked; /* took nothing more in this pass of the writer */
    bool broken;  /* the last write failed: tried again with the next records only */
    bool torn;    /* the last byte written was inside a record; its rest stands first in `bytes` */

    char *bytes; /* pending: bytes[start..end), whole lines but for a torn first one */
    size_t start, end;
    uint64_t told; /* the number in the log_lost record that is pending, 0: none is */
    size_t told_end;
    uint64_t told_ms;
};

/* All sinks; the list only grows until sinks_close(). */
struct log_sink *sinks_first(void);
/* Counts `n` records as lost; any thread. */
void sink_lose(struct log_sink *s, uint64_t n);
/* Adds one line to the pending bytes, or counts it as lost. */
void sink_append(struct log_sink *s, enum log_level level, struct slice line, uint64_t now_ms);
/* Writes until nothing is pending or the sink takes no more. */
void sink_flush(struct log_sink *s);
/* Adds the log_lost record when losses are untold and a second has passed since the last one (or `last_chance`). */
void sink_tell(struct log_sink *s, uint64_t now_ms, bool last_chance);
/* Milliseconds until sink_tell() has something to add; -1: nothing to tell, or not before the sink moves. */
int sink_tell_due(const struct log_sink *s, uint64_t now_ms);
/* True when the sink has bytes that wait for it to become writable. */
bool sink_waits(const struct log_sink *s);
void sink_reopen(struct log_sink *s);
/* Frees all sinks; what they still hold is lost. The writer must have ended. */
void sinks_close(void);

/* --- the writer (log_writer.c) ---------------------------------------------------------------------------------- */

void writer_start(void);
void writer_stop(unsigned patience_ms);
/* Wakes the writer if it sleeps, and if `urgent` also if it lingers. Everything the caller published before with
 * memory_order_seq_cst is seen by the woken writer, or by the look it takes before it sleeps. */
void writer_nudge(bool urgent);
/* Changes with each log_init() and is 0 when there is no writer: tells a thread that its ring is of an earlier life. */
unsigned writer_generation(void);

/* --- rendering (log_escape.c) ----------------------------------------------------------------------------------- */

/* CLOCK_REALTIME in microseconds. */
uint64_t log_now_us(void);

#endif
