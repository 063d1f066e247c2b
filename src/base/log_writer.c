/* log_writer.c: the one thread that moves records from the rings to the sinks, and how it sleeps.
 *
 *              something moved                nothing moved, no ring has anything
 *   AWAKE ------------------------> LINGERS   AWAKE ----------------------------> SLEEPS
 *     ^    20 ms, or a ring a quarter full |    ^          log_flush()              |
 *     +------------------------------------+    +-----------------------------------+
 *
 * While it lingers, workers log without waking it: under load a record costs them no system call. */
#include "log_internal.h"

#include "loomgate/base/mem.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum writer_state { WRITER_AWAKE, WRITER_LINGERS, WRITER_SLEEPS };
enum { LINGER_MS = 20 };

static struct {
    /* shared */
    alignas(LG_CACHE_LINE) _Atomic int state; /* enum writer_state */
    _Atomic unsigned generation;
    atomic_bool reopen, stop;
    int wake; /* an eventfd; made once and kept, so that a late log_reopen() never meets another descriptor */
    /* the main thread's */
    unsigned lives;
    pthread_t thread;
    uint64_t stop_at_ms; /* set before `stop` */
    /* the writer's */
    alignas(LG_CACHE_LINE) struct log_ring *rings;
    struct pollfd *fds;
    size_t fds_room;
} writer = {.wake = -1};

static uint64_t monotonic_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000U + (uint64_t)t.tv_nsec / 1000000U;
}

unsigned writer_generation(void) {
    return atomic_load_explicit(&writer.generation, memory_order_relaxed);
}

static void writer_wake(void) {
    int saved = errno; /* log_reopen() may be called by a signal handler */
    eventfd_write(writer.wake, 1);
    errno = saved;
}

void writer_nudge(bool urgent) {
    int state = atomic_load(&writer.state);
    if (state == WRITER_AWAKE || (state == WRITER_LINGERS && !urgent)) return;
    if (atomic_exchange(&writer.state, WRITER_AWAKE) != WRITER_AWAKE) writer_wake();
}

void log_reopen(void) {
    atomic_store(&writer.reopen, true);
    if (writer_generation()) writer_wake();
}

/* --- the writer thread ------------------------------------------------------------------------------------------ */

static void rings_adopt(void) {
    struct log_ring *next;
    for (struct log_ring *r = rings_take_new(); r; r = next) {
        next = r->next;
        r->next = writer.rings;
        writer.rings = r;
    }
}

static bool rings_drain(uint64_t now_ms) {
    bool some = false;
    rings_adopt();
    for (struct log_ring **place = &writer.rings, *r; (r = *place) != NULL;) {
        bool retired = atomic_load(&r->retired); /* read before the last drain: nothing comes after it */
        if (ring_drain(r, now_ms)) some = true;
        if (retired) {
            *place = r->next;
            ring_free(r);
        } else {
            place = &r->next;
        }
    }
    return some;
}

/* What a thread did before it looked at the state is seen here when the state was stored before. */
static bool rings_have_some(void) {
    if (rings_has_new()) return true;
    for (const struct log_ring *r = writer.rings; r; r = r->next)
        if (!ring_is_empty(r) || atomic_load(&r->retired)) return true;
    return false;
}

static bool writer_pass(uint64_t now_ms, bool stop) {
    bool reopen =
        atomic_exchange(&writer.reopen, false); /* before the drain: what came earlier goes to the old files */
    for (struct log_sink *s = sinks_first(); s; s = s->next) s->blocked = false;
    bool some = rings_drain(now_ms);
    for (struct log_sink *s = sinks_first(); s; s = s->next) {
        sink_flush(s);
        if (stop || sink_tell_due(s, now_ms) == 0) {
            sink_tell(s, now_ms, stop);
            sink_flush(s);
        }
        if (reopen) sink_reopen(s);
    }
    return some;
}

/* Fills the poll set: the wake-up and the sinks that wait for room; returns its size. */
static size_t writer_poll_set(void) {
    size_t n = 0, want = 1;
    for (struct log_sink *s = sinks_first(); s; s = s->next) want++;
    if (want > writer.fds_room) {
        writer.fds = xrealloc(writer.fds, want * sizeof *writer.fds);
        writer.fds_room = want;
    }
    writer.fds[n++] = (struct pollfd){.fd = writer.wake, .events = POLLIN};
    for (struct log_sink *s = sinks_first(); s; s = s->next)
        if (n < want && sink_waits(s)) writer.fds[n++] = (struct pollfd){.fd = s->fd, .events = POLLOUT};
    return n;
}

static int sooner(int a_ms, int b_ms) {
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

static int writer_timeout(bool some, bool stop, uint64_t now_ms) {
    if (stop) return some || now_ms >= writer.stop_at_ms ? 0 : (int)(writer.stop_at_ms - now_ms);
    int timeout_ms = some ? LINGER_MS : -1;
    for (struct log_sink *s = sinks_first(); s; s = s->next) timeout_ms = sooner(timeout_ms, sink_tell_due(s, now_ms));
    return timeout_ms;
}

static void writer_wait(bool some, bool stop, uint64_t now_ms) {
    size_t n = writer_poll_set();
    int timeout_ms = writer_timeout(some, stop, now_ms);
    atomic_store(&writer.state, some ? WRITER_LINGERS : WRITER_SLEEPS);
    if (!some && rings_have_some()) timeout_ms = 0;
    poll(writer.fds, n, timeout_ms);
    atomic_store(&writer.state, WRITER_AWAKE);
    eventfd_t wakes;
    eventfd_read(writer.wake, &wakes);
}

static bool sinks_wait(void) {
    for (struct log_sink *s = sinks_first(); s; s = s->next)
        if (sink_waits(s)) return true;
    return false;
}

static void *writer_main(void *unused) {
    (void)unused;
    for (;;) {
        bool stop = atomic_load(&writer.stop); /* read before the pass: what was logged before it is drained */
        uint64_t now_ms = monotonic_ms();
        bool some = writer_pass(now_ms, stop);
        if (stop && (now_ms >= writer.stop_at_ms || (!some && !sinks_wait()))) return NULL;
        writer_wait(some, stop, now_ms);
    }
}

/* --- set-up, on the main thread --------------------------------------------------------------------------------- */

/* All signals are blocked in the writer: they are the main thread's to handle, and a SIGPIPE becomes EPIPE. */
static void writer_spawn(void) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    LG_ASSERT(pthread_create(&writer.thread, NULL, writer_main, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(writer.thread, "log");
}

void writer_start(void) {
    LG_ASSERT(!writer_generation());
    if (writer.wake < 0) writer.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    LG_ASSERT(writer.wake >= 0);
    atomic_store(&writer.stop, false);
    atomic_store(&writer.state, WRITER_AWAKE);
    if (++writer.lives == 0) writer.lives = 1;
    writer_spawn();
    atomic_store(&writer.generation, writer.lives);
}

void writer_stop(unsigned patience_ms) {
    writer.stop_at_ms = monotonic_ms() + patience_ms;
    atomic_store(&writer.generation, 0);
    atomic_store(&writer.stop, true);
    writer_wake();
    pthread_join(writer.thread, NULL);
    rings_adopt();
    struct log_ring *next;
    for (struct log_ring *r = writer.rings; r; r = next) {
        next = r->next;
        ring_free(r);
    }
    writer.rings = NULL;
    free(writer.fds);
    writer.fds = NULL;
    writer.fds_room = 0;
}
