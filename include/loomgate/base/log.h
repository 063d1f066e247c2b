/* log.h: structured logs, written by one thread: a ring per logging thread, never a wait, losses counted and told.
 *
 *   thread -> its ring --(one reader)--> writer thread -> the sink's pending bytes -> stdout | stderr | file | syslog
 *
 * A full ring or a sink that does not keep up loses records, never time: log_lost() counts them and a record of its
 * own ("log_lost") tells how many, at most once a second, when the sink takes bytes again. */
#ifndef LOOMGATE_BASE_LOG_H
#define LOOMGATE_BASE_LOG_H

#include "loomgate/base/error.h"
#include "loomgate/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARN, LEVEL_ERROR, LEVEL_COUNT };
enum log_format { FORMAT_JSON, FORMAT_TEXT };
enum log_target { LOG_TO_STDERR, LOG_TO_STDOUT, LOG_TO_FILE, LOG_TO_SYSLOG };

/* Where records go. Sinks with the same target and path are one (opened once, records of both interleave whole). */
struct log_sink;

/* --- set-up, on the main thread --------------------------------------------------------------------------------- */

/* Starts the writer; `queue` is records a ring (one ring a thread; a record counts as 512 bytes of it). Until
 * log_init, and after log_fini, log_event() writes straight to stderr as text. */
void log_init(unsigned queue);
/* Writes what is still in the rings (waits at most `patience_ms` for a sink that blocks), stops the writer and closes
 * the sinks. Other threads must have ended, or have called log_thread_end() and log no more. */
void log_fini(unsigned patience_ms);
/* Writes what is in the rings now, as log_fini does, and goes on: afterwards log_lost() knows of all of it. Other
 * threads must have ended or called log_thread_end(). */
void log_sync(unsigned patience_ms);
/* Opens (or finds) a sink; NULL with an error when the file cannot be opened. Sinks live until log_fini. `path` is that
 * of LOG_TO_FILE (which may be a pipe that somebody reads); for syslog NULL means /dev/log; else it is not looked at.
 * A syslog daemon need not be there yet; below a chroot its socket must be reachable to be found again. */
struct log_sink *log_open(enum log_target target, const char *path, struct error *e);
/* Where the process's own log goes (NULL: stderr, as text, by the logging thread itself) and from which level on. May
 * be called again while other threads log. */
void log_configure(struct log_sink *process_sink, enum log_format format, enum log_level level);
/* From which level on the process's own log is written; any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level);
/* How a sink tells its own losses ("log_lost"): JSON unless set; log_configure() sets it for the process's sink. */
void log_set_format(struct log_sink *sink, enum log_format format);
/* Closes and opens again every file (SIGUSR1); a file that cannot be opened keeps its old descriptor and says so.
 * Safe from any thread and in a signal handler; the writer does the work. */
void log_reopen(void);
/* Records lost since the start, all sinks. */
uint64_t log_lost(void);

/* --- the process's own log -------------------------------------------------------------------------------------- */

enum log_kind { LOG_END, LOG_TEXT, LOG_NUMBER };
struct log_field {
    enum log_kind kind;
    const char *name;
    struct slice text;
    int64_t number;
};
#define LOG_STR(name, value)   ((struct log_field){LOG_TEXT, name, slice_of(value), 0})
#define LOG_SLICE(name, value) ((struct log_field){LOG_TEXT, name, value, 0})
#define LOG_INT(name, value)   ((struct log_field){LOG_NUMBER, name, {NULL, 0}, (int64_t)(value)})

/* One record: `event` is a stable word for programs, `message` a sentence for eyes (may be NULL). Any thread.
 *   JSON: {"time":"2026-01-31T12:00:00.000Z","level":"info","event":"listening","message":"...","frontend":"web"}
 *   text: 2026-01-31T12:00:00.000Z info listening: message frontend=web
 * Use: log_info("listening", "accepting connections", LOG_STR("frontend", name), LOG_INT("workers", n)); */
#define log_debug(...) log_at(LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LEVEL_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LEVEL_WARN, __VA_ARGS__)
#define log_error(...) log_at(LEVEL_ERROR, __VA_ARGS__)
#define log_at(level, event, ...)                                                                                     \
    do {                                                                                                              \
        if (log_wants(level)) LOG_EVENT_(level, event, __VA_ARGS__, (struct log_field){LOG_END, NULL, {NULL, 0}, 0}); \
    } while (0)
#define LOG_EVENT_(level, event, message, ...) log_event(level, event, message, (const struct log_field[]){__VA_ARGS__})
bool log_wants(enum log_level level);
void log_event(enum log_level level, const char *event, const char *message, const struct log_field *fields);

/* --- records rendered by the caller (the access log) ------------------------------------------------------------ */

/* Room for one record of at most `max` bytes (newline included) in the calling thread's ring, to be rendered in place;
 * NULL when the ring is full: the record is lost and counted. Half a ring (at least 32 KiB less a header) always fits
 * an empty one. Nothing else may be logged by the thread before log_commit(). A record is one line; a sink to syslog
 * takes it as LEVEL_INFO. */
char *log_reserve(struct log_sink *sink, size_t max);
/* Hands over the first `len` bytes of what was reserved (0: none). */
void log_commit(size_t len);
/* Wakes the writer when this thread has committed since the last call and the writer sleeps: once a turn of a loop,
 * just before it waits. log_event() does it by itself. */
void log_flush(void);
/* Forgets the calling thread's ring once the writer has emptied it; call before the thread ends. */
void log_thread_end(void);

/* --- rendering helpers (also used by the access record) --------------------------------------------------------- */

/* Writes `s` as the inside of a JSON string: control characters, quotes, backslashes and bytes that are not valid
 * UTF-8 (as \u00XX) escaped; never past `end`; returns the new position (cut at a whole character when full). */
char *log_escape_json(char *at, const char *end, struct slice s);
/* The same for text records: controls, spaces, quotes and non-UTF-8 bytes as \xXX. */
char *log_escape_text(char *at, const char *end, struct slice s);
/* As log_escape_text(), but spaces and quotes stay. */
char *log_escape_sentence(char *at, const char *end, struct slice s);
/* RFC 3339 in UTC with milliseconds, 24 bytes, cached a millisecond a thread. */
void log_time(char out[24], uint64_t unix_us);

#endif
