/* log_sink.c: where records go: pending bytes, writes that never wait for one sink at the expense of another, losses.
 *
 *   line -> bytes[start..end) --write--> fd        no room: the line is lost      write failed: all whole lines are
 *                                                                                 lost, a torn one is finished first
 *
 * Losses are told by a log_lost record that stands where the lost ones would have stood. */
#include "log_internal.h"

#include "loomgate/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    PENDING = 1024 * 1024,      /* bytes that wait for a sink, at least */
    PENDING_ROOM = 2 * PENDING, /* so that moving the bytes to the front happens once in PENDING bytes */
    PENDING_BATCH = 128 * 1024, /* write before there is more than this */
    STREAM_PIECE = 64 * 1024,
    TELL_EVERY_MS = 1000,
    TELL_SIZE = 160
};

static _Atomic(struct log_sink *) sinks;
static _Atomic uint64_t lost_total;

struct log_sink *sinks_first(void) {
    return atomic_load_explicit(&sinks, memory_order_acquire);
}

uint64_t log_lost(void) {
    return atomic_load_explicit(&lost_total, memory_order_relaxed);
}

void sink_lose(struct log_sink *s, uint64_t n) {
    if (s) atomic_fetch_add_explicit(&s->untold, n, memory_order_relaxed);
    atomic_fetch_add_explicit(&lost_total, n, memory_order_relaxed);
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static enum sink_kind kind_of(int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0) return SINK_FILE;
    if (S_ISSOCK(st.st_mode)) return SINK_STREAM;
    return S_ISFIFO(st.st_mode) || isatty(fd) ? SINK_PIPE : SINK_FILE;
}

static int file_open(const char *path) {
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0640);
}

/* O_NONBLOCK belongs to the open file, which an inherited descriptor shares with others: for pipes and terminals a file
 * of our own on the same thing is opened; where that is not allowed, poll() is asked before each write. */
static void sink_open_inherited(struct log_sink *s) {
    int fd = s->target == LOG_TO_STDOUT ? STDOUT_FILENO : STDERR_FILENO;
    char self[32];
    s->kind = kind_of(fd);
    s->fd = fd;
    if (s->kind != SINK_PIPE) return;
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    int own = open(self, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    s->owns_fd = own >= 0;
    s->polls = own < 0;
    if (own >= 0) s->fd = own;
}

static bool sink_open(struct log_sink *s, struct error *e) {
    s->fd = -1;
    if (s->target == LOG_TO_SYSLOG) {
        s->kind = SINK_SYSLOG; /* connected by the first record */
        s->owns_fd = true;
    } else if (s->target == LOG_TO_FILE) {
        s->fd = file_open(s->path);
        if (s->fd < 0) return error_set_errno(e, "cannot open the log file %s", s->path);
        s->kind = kind_of(s->fd);
        s->owns_fd = true;
    } else {
        sink_open_inherited(s);
    }
    return true;
}

static bool is_same(const struct log_sink *s, enum log_target target, const char *path) {
    return s->target == target && (path ? s->path && strcmp(s->path, path) == 0 : !s->path);
}

struct log_sink *log_open(enum log_target target, const char *path, struct error *e) {
    if (target == LOG_TO_SYSLOG && !path) path = "/dev/log";
    if (target == LOG_TO_STDERR || target == LOG_TO_STDOUT) path = NULL;
    LG_ASSERT(target != LOG_TO_FILE || path);
    for (struct log_sink *s = sinks_first(); s; s = s->next)
        if (is_same(s, target, path)) return s;
    struct log_sink *s = xcalloc(1, sizeof *s);
    s->target = target;
    s->path = path ? xstrdup(path) : NULL;
    if (!sink_open(s, e)) {
        free(s->path);
        free(s);
        return NULL;
    }
    s->bytes = mmap(NULL, PENDING_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    LG_ASSERT(s->bytes != MAP_FAILED);
    s->next = sinks_first();
    atomic_store_explicit(&sinks, s, memory_order_release);
    return s;
}

void log_set_format(struct log_sink *s, enum log_format format) {
    atomic_store_explicit(&s->format, (int)format, memory_order_relaxed);
}

/* --- pending bytes ---------------------------------------------------------------------------------------------- */

static size_t count_lines(const char *at, const char *end) {
    size_t n = 0;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        n++;
        if (++at == end) break;
    }
    return n;
}

static bool sink_has_room(const struct log_sink *s, size_t len) {
    return PENDING_ROOM - s->end >= len || (s->start >= PENDING && PENDING_ROOM - (s->end - s->start) >= len);
}

static void sink_put(struct log_sink *s, const char *bytes, size_t n) {
    if (PENDING_ROOM - s->end < n) {
        memmove(s->bytes, s->bytes + s->start, s->end - s->start);
        s->end -= s->start;
        s->told_end -= s->told ? s->start : 0;
        s->start = 0;
    }
    memcpy(s->bytes + s->end, bytes, n);
    s->end += n;
}

static void sink_took(struct log_sink *s, size_t n) {
    s->start += n;
    s->torn = s->bytes[s->start - 1] != '\n';
    s->broken = false;
    if (s->told && s->start >= s->told_end) s->told = 0;
    if (s->start < s->end) return;
    if (s->end > PENDING / 2) madvise(s->bytes, PENDING_ROOM, MADV_DONTNEED); /* a burst is over: give it back */
    s->start = s->end = 0;
}

/* All whole lines are lost; what is left of a torn one stays. A lost log_lost record is told again. */
static void sink_drop(struct log_sink *s) {
    size_t keep = s->start;
    if (s->torn) {
        const char *line_end = memchr(s->bytes + s->start, '\n', s->end - s->start);
        keep = line_end ? (size_t)(line_end - s->bytes) + 1 : s->end;
    }
    size_t lines = keep < s->end ? count_lines(s->bytes + keep, s->bytes + s->end) : 0;
    if (s->told && s->told_end > keep) {
        lines--;
        atomic_fetch_add_explicit(&s->untold, s->told, memory_order_relaxed);
        s->told = 0;
    }
    if (lines) sink_lose(s, lines);
    s->end = keep;
    s->broken = true;
    if (s->start == s->end) s->start = s->end = 0;
}

bool sink_waits(const struct log_sink *s) {
    return s->start < s->end && !s->broken && s->fd >= 0;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static bool syslog_connect(struct log_sink *s) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(s->path) >= sizeof to.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(to.sun_path, s->path, strlen(s->path));
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd >= 0 && connect(s->fd, (struct sockaddr *)&to, sizeof to) == 0) return true;
    int saved = errno;
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    errno = saved;
    return false;
}

/* One line, one datagram, without the newline. A daemon that went away and came back is found again. */
static ssize_t syslog_write(struct log_sink *s, size_t n) {
    for (int tries = 0; tries < 2; tries++) {
        if (s->fd < 0 && !syslog_connect(s)) return -1;
        if (send(s->fd, s->bytes + s->start, n - 1, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return (ssize_t)n;
        if (errno == EMSGSIZE) { /* it alone is lost */
            sink_lose(s, 1);
            return (ssize_t)n;
        }
        if (errno != ECONNREFUSED && errno != ENOTCONN && errno != ECONNRESET && errno != EPIPE) return -1;
        close(s->fd);
        s->fd = -1;
    }
    return -1;
}

/* As many whole lines as fit `most` bytes; a longer line in pieces. */
static size_t lines_within(const char *at, size_t n, size_t most) {
    if (n <= most) return n;
    const char *last = memrchr(at, '\n', most);
    return last ? (size_t)(last - at) + 1 : most;
}

static ssize_t sink_write(struct log_sink *s) {
    const char *at = s->bytes + s->start;
    size_t n = s->end - s->start;
    if (s->polls) {
        struct pollfd fd = {.fd = s->fd, .events = POLLOUT};
        errno = EAGAIN;
        if (poll(&fd, 1, 0) <= 0) return -1;
    }
    switch (s->kind) {
    case SINK_FILE:
        return write(s->fd, at, n);
    case SINK_PIPE:
        return write(s->fd, at, lines_within(at, n, PIPE_BUF));
    case SINK_STREAM:
        return send(s->fd, at, lines_within(at, n, STREAM_PIECE), MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_SYSLOG:
        return syslog_write(s, (size_t)((const char *)memchr(at, '\n', n) - at) + 1);
    }
    return -1;
}

void sink_flush(struct log_sink *s) {
    while (s->start < s->end && !s->blocked) {
        ssize_t n = sink_write(s);
        if (n > 0)
            sink_took(s, (size_t)n);
        else if (n == 0 || errno == EAGAIN)
            s->blocked = true;
        else if (errno != EINTR) {
            sink_drop(s);
            return;
        }
    }
}

/* --- lines in --------------------------------------------------------------------------------------------------- */

/* RFC 3164 section 4.1: <priority>Mmm dd hh:mm:ss tag: (the daemon facility is 3; severities 7, 6, 4, 3). */
static size_t syslog_head(char *out, size_t size, enum log_level level) {
    static const int severity[LEVEL_COUNT] = {[LEVEL_DEBUG] = 7, [LEVEL_INFO] = 6, [LEVEL_WARN] = 4, [LEVEL_ERROR] = 3};
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = time(NULL);
    struct tm t;
    localtime_r(&now, &t);
    int n = snprintf(out, size, "<%d>%.3s %2d %02d:%02d:%02d loomgate[%d]: ", 3 * 8 + severity[level],
                     months + 3 * (t.tm_mon % 12), t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, (int)getpid());
    return (size_t)n < size ? (size_t)n : size - 1;
}

/* False when there is no room for all of it. */
static bool sink_put_line(struct log_sink *s, enum log_level level, struct slice line) {
    char head[64];
    size_t head_size = s->kind == SINK_SYSLOG ? syslog_head(head, sizeof head, level) : 0;
    bool ends = line.n && line.p[line.n - 1] == '\n';
    size_t size = head_size + line.n + !ends;
    if (!sink_has_room(s, size)) return false;
    if (head_size) sink_put(s, head, head_size);
    sink_put(s, line.p, line.n);
    if (!ends) sink_put(s, "\n", 1);
    return true;
}

int sink_tell_due(const struct log_sink *s, uint64_t now_ms) {
    if (s->told || s->broken || !atomic_load_explicit(&s->untold, memory_order_relaxed)) return -1;
    if (!sink_has_room(s, TELL_SIZE)) return -1;
    uint64_t due_ms = s->told_ms + TELL_EVERY_MS;
    return due_ms <= now_ms ? 0 : (int)(due_ms - now_ms);
}

void sink_tell(struct log_sink *s, uint64_t now_ms, bool last_chance) {
    uint64_t lost = atomic_load_explicit(&s->untold, memory_order_relaxed);
    if (!lost || s->told || (s->told_ms + TELL_EVERY_MS > now_ms && !last_chance)) return;
    char line[TELL_SIZE], now[24];
    const char *format = atomic_load_explicit(&s->format, memory_order_relaxed) == FORMAT_JSON
                             ? "{\"time\":\"%.24s\",\"level\":\"warn\",\"event\":\"log_lost\",\"lost\":%" PRIu64 "}\n"
                             : "%.24s warn log_lost lost=%" PRIu64 "\n";
    log_time(now, log_now_us());
    int n = snprintf(line, sizeof line, format, now, lost);
    if (!sink_put_line(s, LEVEL_WARN, slice_from(line, (size_t)n))) return;
    atomic_fetch_sub_explicit(&s->untold, lost, memory_order_relaxed);
    s->told = lost;
    s->told_end = s->end;
    s->told_ms = now_ms;
}

void sink_append(struct log_sink *s, enum log_level level, struct slice line, uint64_t now_ms) {
    if (s->end - s->start >= PENDING_BATCH) sink_flush(s);
    if (LG_UNLIKELY(atomic_load_explicit(&s->untold, memory_order_relaxed))) sink_tell(s, now_ms, false);
    if (!sink_put_line(s, level, line)) sink_lose(s, 1);
}

/* --- reopening and the end -------------------------------------------------------------------------------------- */

/* What is left of a torn line belongs to the old file. */
static void sink_forget_torn(struct log_sink *s) {
    if (!s->torn) return;
    s->torn = false;
    if (s->start == s->end) return;
    s->start +=
        (size_t)((const char *)memchr(s->bytes + s->start, '\n', s->end - s->start) - (s->bytes + s->start)) + 1;
    sink_lose(s, 1);
}

void sink_reopen(struct log_sink *s) {
    if (s->target != LOG_TO_FILE) return;
    int fd = file_open(s->path);
    if (fd < 0) {
        struct error e;
        error_set_errno(&e, "the log file cannot be opened again, the old one is kept");
        log_error("log_reopen_failed", e.text, LOG_STR("path", s->path));
        return;
    }
    sink_forget_torn(s);
    close(s->fd);
    s->fd = fd;
    s->kind = kind_of(fd);
    s->broken = false;
}

void sinks_close(void) {
    struct log_sink *next;
    for (struct log_sink *s = sinks_first(); s; s = next) {
        next = s->next;
        s->torn = false;
        sink_drop(s);
        if (s->owns_fd && s->fd >= 0) close(s->fd);
        munmap(s->bytes, PENDING_ROOM);
        free(s->path);
        free(s);
    }
    atomic_store(&sinks, NULL);
}
