/* breaker.h: the circuit breaker of one server, shared by all workers: pure rules over a word of atomic state.
 *
 *   CLOSED --a failure is counted: at least min_requests in the window, error_rate of them failed--> OPEN
 *   OPEN --`open` has passed (twice as long after each failed probe, up to max_open), an exchange comes--> HALF_OPEN
 *   HALF_OPEN lets `probes` exchanges through at a time; when max_open has passed and all still run, as many others
 *        --one of them fails--> OPEN          --`probes` of them have succeeded--> CLOSED, the window empty
 *   any --held by an operator--> CLOSED or OPEN, which neither failures nor time change; released, it goes on from
 * there
 *
 * The word holds state, generation, how often it opened in a row and, as the state needs it, the end of OPEN or what
 * became of the probes; it is replaced as a whole, so exactly one thread makes each transition and is told of it. The
 * window is a ring of slices, each one word with its number, so that whoever comes first in a new slice begins it
 * anew. The clocks of workers lag behind each other; nothing here takes them for equal. */
#ifndef LOOMGATE_BACKEND_BREAKER_H
#define LOOMGATE_BACKEND_BREAKER_H

#include "loomgate/base/facts.h"
#include "loomgate/base/macros.h"
#include "loomgate/config/config.h"

#include <stdatomic.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
enum { BREAKER_SLICES = 10 };

/* All zero: closed, nothing counted. */
struct breaker_window {
    /* A ring with more slices than the window has, so that a thread whose clock lags finds its own. */
    _Alignas(LG_CACHE_LINE) _Atomic uint64_t slices[BREAKER_SLICES + 2];
};
struct breaker {
    _Atomic uint64_t word;
    _Atomic uint64_t changed_us; /* time of the last transition; 0: none yet */
    _Atomic uint32_t trips;      /* to OPEN, since the start */
    _Atomic uint8_t reason;      /* enum breaker_reason: of the last transition; for views */
};

enum breaker_reason {
    BREAKER_REASON_NONE, /* no transition yet */
    BREAKER_REASON_ERROR_RATE,
    BREAKER_REASON_OPEN_OVER,
    BREAKER_REASON_PROBE_FAILED,
    BREAKER_REASON_PROBES_SUCCEEDED,
    BREAKER_REASON_OPERATOR,
};
/* "error_rate"; NULL for none. */
const char *breaker_reason_name(const struct breaker *b);

/* A transition that the calling thread has made; to be logged and counted by it. */
struct breaker_change {
    bool happened;
    uint8_t from, to;          /* enum breaker_state */
    uint32_t requests, errors; /* in the window, when it opened from CLOSED; else 0 */
    uint64_t open_us;          /* for how long it opened */
};

enum breaker_result {
    BREAKER_SUCCEEDED,
    BREAKER_FAILED,
    BREAKER_UNKNOWN, /* nothing was learned: the client left, say */
};

/* What an exchange carries from breaker_enter to breaker_leave or breaker_revoke. */
struct breaker_ticket {
    bool is_probe;
    uint16_t generation;
};

/* The word's highest bits: what nearly every look at a server asks costs no call. */
enum { BREAKER_STATE_AT = 62 };
static inline bool breaker_is_closed(const struct breaker *b) {
    return atomic_load_explicit(&b->word, memory_order_relaxed) >> BREAKER_STATE_AT == BREAKER_CLOSED;
}
/* Whether breaker_enter would let an exchange through now; without side effects. `observe` is not looked at. */
bool breaker_may_take(const struct breaker *b, const struct breaker_settings *s, uint64_t now_us);
/* An exchange wants to use the server: fills in the ticket. False: it may not, and breaker_leave must not be called.
 * With s->observe it always may. Off (s->on false): always may, nothing is counted. */
bool breaker_enter(struct breaker *b, const struct breaker_settings *s, uint64_t now_us, struct breaker_ticket *t,
                   struct breaker_change *change);
/* Its result is known: once. What began before the last transition says nothing. */
void breaker_leave(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                   struct breaker_ticket t, enum breaker_result result, struct breaker_change *change);

/* It was told as a success, but failed after all: in the middle of a long answer, say. Once, after breaker_leave. */
void breaker_revoke(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                    struct breaker_ticket t, struct breaker_change *change);

/* For views and answers. */
enum breaker_state breaker_state_get(const struct breaker *b);
/* OPEN: how long until it half-opens, at least 1; else, and while it is held, 0. */
uint64_t breaker_wait_us(const struct breaker *b, uint64_t now_us);
/* Requests and errors in the window now. */
void breaker_window_read(const struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                         uint32_t *requests, uint32_t *errors);
/* By an operator: closed, window empty; or open for so long. */
void breaker_reset(struct breaker *b, struct breaker_window *w, uint64_t now_us, struct breaker_change *change);
void breaker_trip(struct breaker *b, uint64_t now_us, uint64_t open_us, struct breaker_change *change);
/* By an operator: pins it to CLOSED or OPEN. What is counted meanwhile changes nothing; a reset or a trip lets go. */
void breaker_hold(struct breaker *b, enum breaker_state state, uint64_t now_us, struct breaker_change *change);
/* Lets go: CLOSED stays so until a failure is too many, OPEN half-opens with the next exchange. */
void breaker_release(struct breaker *b, uint64_t now_us);
bool breaker_is_held(const struct breaker *b);

/* --- over to another process (breaker_state.c) ------------------------------------------------------------------- */

/* What it is like, as facts. What is held is not told: who holds it holds it again. */
void breaker_print(const struct breaker *b, const struct breaker_window *w, const struct breaker_settings *s,
                   uint64_t now_us, FILE *out);
/* Becomes that, before anybody uses it. One that is held stays so; probes that were under way are made again. A window
 * of another length begins anew. */
void breaker_take(struct breaker *b, struct breaker_window *w, const struct breaker_settings *s, uint64_t now_us,
                  const struct facts *f);

#endif
