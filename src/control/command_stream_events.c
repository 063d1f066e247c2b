/* command_stream_events.c: `stream events`: changes of state as they happen, from whichever thread.
 *
 *   event_record on any thread --> the ring of event.h; on_event --the bell, unless it is under way--> control thread:
 *     each stream takes from the ring what it has not had. Nobody waits: what a burst has pushed out of the ring
 *     meanwhile, or what the reader does not take, is counted and told by the next line. */
#include "loomgate/base/event.h"

#include "command_stream_internal.h"

#include <stdlib.h>

struct event_stream {
    struct list node;
    struct call *call;
    uint64_t last;    /* number of the last event that was looked at */
    uint64_t dropped; /* since the last one that was sent */
    uint64_t left;    /* to be sent; 0: no limit */
};

/* --- a stream --------------------------------------------------------------------------------------------------- */

static bool stream_send(struct event_stream *s, const struct event *e) {
    struct view v;
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    view_init(&v);
    event_put(&v.root, e, true);
    if (s->dropped) view_number(&v.root, "dropped", s->dropped);
    view_print_json(&v.root, out);
    view_fini(&v);
    fclose(out);
    bool sent = call_emit(s->call, slice_from(text, len));
    free(text);
    return sent;
}

static void stream_end(struct event_stream *s) {
    struct call *c = s->call;
    list_remove(&s->node);
    free(s);
    call_end_stream(c);
}

/* Sends all that there is. */
static void stream_go_on(struct event_stream *s) {
    struct event e;
    while (event_next(s->last, &e)) {
        s->dropped += e.number - s->last - 1;
        s->last = e.number;
        if (!stream_send(s, &e)) {
            s->dropped++;
            continue;
        }
        s->dropped = 0;
        if (stream_is_over(&s->left)) {
            stream_end(s);
            return;
        }
    }
}

/* --- the feed --------------------------------------------------------------------------------------------------- */

/* On any thread, under the lock of the events. */
static void on_event(void *owner) {
    struct event_feed *f = owner;
    if (!atomic_exchange(&f->is_ringing, true)) mailbox_post(&f->box, &f->bell);
}

/* An event that is recorded from here on rings again. */
static void on_bell(struct mail *mail, void *receiver) {
    struct event_feed *f = receiver;
    (void)mail;
    atomic_store(&f->is_ringing, false);
    LIST_FOR (node, &f->streams) stream_go_on(LIST_ENTRY(node, struct event_stream, node));
    if (list_is_empty(&f->streams)) event_watch(NULL, NULL);
}

void event_feed_init(struct event_feed *f, struct control *control) {
    f->control = control;
    list_init(&f->streams);
    mailbox_init(&f->box, runtime_loop(control->runtime), f);
    f->bell.deliver = on_bell;
}

void event_feed_fini(struct event_feed *f) {
    LG_ASSERT(list_is_empty(&f->streams));
    event_watch(NULL, NULL);
    mailbox_fini(&f->box);
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static void on_stop(struct call *c) {
    stream_end(c->state);
}

void stream_events_run(struct call *c) {
    struct event_feed *f = &c->control->streams->feed;
    uint64_t left = 0;
    unsigned at = 0;
    if (c->words.count && !call_word_is(c, 0, "count")) {
        call_fail_usage(c);
        return;
    }
    if (c->words.count && !stream_take_count(c, &at, &left)) return;
    struct event_stream *s = xcalloc(1, sizeof *s);
    *s = (struct event_stream){.call = c, .last = event_last(), .left = left};
    list_push_back(&f->streams, &s->node);
    event_watch(on_event, f);
    c->state = s;
    c->is_finite = left > 0;
    call_begin_stream(c, on_stop);
}
