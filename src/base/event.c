/* event.c: changes of state: logged, and the last of them kept in a ring. A lock, because they are rare. */
#include "loomgate/base/event.h"

#include "log_internal.h"

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct event ring[EVENTS_KEPT]; /* under lock: number N at N % EVENTS_KEPT */
static uint64_t last;                  /* under lock */

static void (*watcher)(void *owner); /* under lock; NULL: nobody */
static void *watcher_owner;          /* under lock */

/* Copies as much of a text as there is room for; returns its length there. */
static uint32_t put_text(struct event *e, uint32_t *used, struct slice text) {
    size_t room = EVENT_TEXT_MAX - *used, n = text.n < room ? text.n : room;
    if (n) memcpy(e->text + *used, text.p, n);
    *used += (uint32_t)n;
    return (uint32_t)n;
}

static void fill(struct event *e, const char *message, const struct log_field *fields) {
    uint32_t used = 0;
    e->message_len = put_text(e, &used, slice_of(message));
    e->field_count = 0;
    for (const struct log_field *f = fields; f->kind != LOG_END && e->field_count < EVENT_FIELDS_MAX; f++) {
        struct event_field *to = &e->fields[e->field_count++];
        *to = (struct event_field){.kind = f->kind, .name = f->name, .number = f->number, .at = used};
        if (f->kind == LOG_TEXT) to->len = put_text(e, &used, f->text);
    }
}

void event_record(enum log_level level, const char *name, const char *message, const struct log_field *fields) {
    if (log_wants(level)) log_event(level, name, message, fields);
    uint64_t unix_us = log_now_us();
    pthread_mutex_lock(&lock);
    struct event *e = &ring[++last % EVENTS_KEPT];
    e->number = last;
    e->unix_us = unix_us;
    e->level = level;
    e->name = name;
    fill(e, message, fields);
    if (watcher) watcher(watcher_owner);
    pthread_mutex_unlock(&lock);
}

void event_watch(void (*on_event)(void *owner), void *owner) {
    pthread_mutex_lock(&lock);
    watcher = on_event;
    watcher_owner = owner;
    pthread_mutex_unlock(&lock);
}

uint64_t event_last(void) {
    pthread_mutex_lock(&lock);
    uint64_t number = last;
    pthread_mutex_unlock(&lock);
    return number;
}

bool event_next(uint64_t after, struct event *out) {
    pthread_mutex_lock(&lock);
    uint64_t number = after + 1;
    if (last > EVENTS_KEPT && number <= last - EVENTS_KEPT) number = last - EVENTS_KEPT + 1;
    bool is_there = number <= last;
    if (is_there) *out = ring[number % EVENTS_KEPT];
    pthread_mutex_unlock(&lock);
    return is_there;
}
