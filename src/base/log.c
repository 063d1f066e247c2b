/* log.c: the log's set-up and the process's own records: levels, and their rendering as JSON or text. */
#include "loomgate/base/log.h"

#include "log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    EVENT_MAX = 4096, /* bytes of a process record; longer ones are cut between or inside their values */
    EVENT_CLOSE = 3,  /* what ends a record: a quote, a brace, a newline */
    NUMBER_MAX = 24
};

static const char *const level_names[LEVEL_COUNT] = {"debug", "info", "warn", "error"};

static struct {
    _Atomic(struct log_sink *) sink; /* NULL: straight to stderr as text */
    _Atomic int format, level;
} process = {.format = FORMAT_TEXT, .level = LEVEL_INFO};

/* --- set-up ----------------------------------------------------------------------------------------------------- */

void log_init(unsigned queue) {
    rings_init(queue);
    writer_start();
}

void log_fini(unsigned patience_ms) {
    if (writer_generation()) writer_stop(patience_ms);
    atomic_store(&process.sink, NULL);
    sinks_close();
}

void log_sync(unsigned patience_ms) {
    if (!writer_generation()) return;
    writer_stop(patience_ms);
    writer_start();
}

void log_configure(struct log_sink *process_sink, enum log_format format, enum log_level level) {
    if (process_sink) log_set_format(process_sink, format);
    atomic_store(&process.format, (int)format);
    atomic_store(&process.level, (int)level);
    atomic_store(&process.sink, process_sink);
}

void log_set_level(enum log_level level) {
    LG_ASSERT((unsigned)level < LEVEL_COUNT);
    atomic_store(&process.level, (int)level);
}

enum log_level log_get_level(void) {
    return (enum log_level)atomic_load_explicit(&process.level, memory_order_relaxed);
}

const char *log_level_name(enum log_level level) {
    LG_ASSERT((unsigned)level < LEVEL_COUNT);
    return level_names[level];
}

bool log_wants(enum log_level level) {
    return (int)level >= atomic_load_explicit(&process.level, memory_order_relaxed);
}

/* --- rendering -------------------------------------------------------------------------------------------------- */

/* Copies all of it or nothing. */
static char *put(char *at, const char *end, const char *text) {
    size_t n = strlen(text);
    if ((size_t)(end - at) < n) return at;
    memcpy(at, text, n);
    return at + n;
}

static char *put_time(char *at) {
    char now[24];
    log_time(now, log_now_us());
    memcpy(at, now, sizeof now);
    return at + sizeof now;
}

static char *put_number(char *at, const char *end, int64_t number) {
    char digits[NUMBER_MAX];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    return put(at, end, digits);
}

/* Room for the name, what stands around it and at least a number: a field is there as a whole or not at all. */
static bool field_fits(const char *at, const char *end, const char *name) {
    return (size_t)(end - at) >= strlen(name) + NUMBER_MAX + 6;
}

static char *json_text(char *at, const char *end, const char *name, struct slice value) {
    if (!field_fits(at, end, name)) return at;
    at = put(at, end, ",\"");
    at = put(at, end, name);
    at = put(at, end, "\":\"");
    at = log_escape_json(at, end - 1, value);
    *at++ = '"';
    return at;
}

static char *json_number(char *at, const char *end, const char *name, int64_t value) {
    if (!field_fits(at, end, name)) return at;
    at = put(at, end, ",\"");
    at = put(at, end, name);
    at = put(at, end, "\":");
    return put_number(at, end, value);
}

static char *render_json(char *at, const char *end, enum log_level level, const char *event, const char *message,
                         const struct log_field *fields) {
    end -= EVENT_CLOSE;
    at = put(at, end, "{\"time\":\"");
    at = put_time(at);
    *at++ = '"';
    at = json_text(at, end, "level", slice_of(level_names[level]));
    at = json_text(at, end, "event", slice_of(event));
    if (message) at = json_text(at, end, "message", slice_of(message));
    for (const struct log_field *f = fields; f->kind != LOG_END; f++)
        at = f->kind == LOG_TEXT ? json_text(at, end, f->name, f->text) : json_number(at, end, f->name, f->number);
    *at++ = '}';
    *at++ = '\n';
    return at;
}

static char *text_field(char *at, const char *end, const struct log_field *f) {
    if (!field_fits(at, end, f->name)) return at;
    *at++ = ' ';
    at = put(at, end, f->name);
    *at++ = '=';
    return f->kind == LOG_TEXT ? log_escape_text(at, end, f->text) : put_number(at, end, f->number);
}

static char *render_text(char *at, const char *end, enum log_level level, const char *event, const char *message,
                         const struct log_field *fields) {
    end -= EVENT_CLOSE;
    at = put_time(at);
    *at++ = ' ';
    at = put(at, end, level_names[level]);
    *at++ = ' ';
    at = log_escape_text(at, end, slice_of(event));
    if (message) {
        at = put(at, end, ": ");
        at = log_escape_sentence(at, end, slice_of(message));
    }
    for (const struct log_field *f = fields; f->kind != LOG_END; f++) at = text_field(at, end, f);
    *at++ = '\n';
    return at;
}

/* --- one record ------------------------------------------------------------------------------------------------- */

static void event_to_stderr(enum log_level level, const char *event, const char *message,
                            const struct log_field *fields) {
    char text[EVENT_MAX];
    const char *end = render_text(text, text + sizeof text, level, event, message, fields);
    for (const char *at = text; at < end;) {
        ssize_t n = write(STDERR_FILENO, at, (size_t)(end - at));
        if (n <= 0) return;
        at += n;
    }
}

void log_event(enum log_level level, const char *event, const char *message, const struct log_field *fields) {
    struct log_sink *sink = atomic_load_explicit(&process.sink, memory_order_acquire);
    if (!sink || !writer_generation()) {
        event_to_stderr(level, event, message, fields);
        return;
    }
    char *at = ring_reserve(sink, EVENT_MAX, level);
    if (!at) return;
    bool json = atomic_load_explicit(&process.format, memory_order_relaxed) == FORMAT_JSON;
    char *end = (json ? render_json : render_text)(at, at + EVENT_MAX, level, event, message, fields);
    log_commit((size_t)(end - at));
    log_flush();
}
