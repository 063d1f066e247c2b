/* event.h: changes of state (a server goes down, a breaker opens, a drain, a shortage): logged, and the last of them
 * kept in memory, so that one can ask for them. */
#ifndef LOOMGATE_BASE_EVENT_H
#define LOOMGATE_BASE_EVENT_H

#include "loomgate/base/log.h"

enum { EVENTS_KEPT = 512, EVENT_TEXT_MAX = 384, EVENT_FIELDS_MAX = 8 };

struct event_field {
    enum log_kind kind;
    const char *name;
    int64_t number;
    uint32_t at, len; /* of LOG_TEXT: where in `text` */
};
struct event {
    uint64_t number; /* from 1, without gaps */
    uint64_t unix_us;
    enum log_level level;
    const char *name;
    uint32_t message_len; /* at the beginning of `text`; 0: none */
    uint32_t field_count;
    struct event_field fields[EVENT_FIELDS_MAX];
    char text[EVENT_TEXT_MAX]; /* cut when it would not fit */
};

/* As log_info() and such, with the same arguments: logged where the level wants it, and kept whatever the level. Any
 * thread; for what happens rarely. The names are literals: they are not copied. */
#define event_info(...) event_at(LEVEL_INFO, __VA_ARGS__)
#define event_warn(...) event_at(LEVEL_WARN, __VA_ARGS__)
#define event_at(level, event, ...) \
    EVENT_RECORD_(level, event, __VA_ARGS__, (struct log_field){LOG_END, NULL, {NULL, 0}, 0})
#define EVENT_RECORD_(level, event, message, ...) \
    event_record(level, event, message, (const struct log_field[]){__VA_ARGS__})
void event_record(enum log_level level, const char *name, const char *message, const struct log_field *fields);

/* The number of the last one, 0 when there was none. */
uint64_t event_last(void);
/* Copies the first one that is kept and whose number is above `after`; false when there is none. Any thread. */
bool event_next(uint64_t after, struct event *out);

/* Calls `on_event` after each event from now on, on the thread that recorded it and under a lock: it must be short, and
 * neither record events nor ask for any. One at a time; NULL: nobody. The one before is not called any more when this
 * returns. */
void event_watch(void (*on_event)(void *owner), void *owner);

static inline struct slice event_message(const struct event *e) {
    return slice_from(e->text, e->message_len);
}
static inline struct slice event_field_text(const struct event *e, const struct event_field *f) {
    return slice_from(e->text + f->at, f->len);
}

#endif
