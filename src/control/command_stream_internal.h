/* command_stream_internal.h: what the streams of the control sockets share, and the parts of their commands. */
#ifndef LOOMGATE_CONTROL_COMMAND_STREAM_INTERNAL_H
#define LOOMGATE_CONTROL_COMMAND_STREAM_INTERNAL_H

#include "loomgate/net/mailbox.h"

#include "command_internal.h"

enum { STREAM_WORDS_MAX = 132 };

/* Word of events from any thread to those who follow them. */
struct event_feed {
    struct control *control;
    struct list streams; /* of command_stream_events.c; the events are watched while there are any */
    struct mailbox box;
    struct mail bell;
    _Atomic bool is_ringing; /* the bell is under way */
};

struct streams {
    struct control *control;
    struct list beats; /* of command_stream_stats.c: one for each period that somebody follows */
    struct event_feed feed;
};

void event_feed_init(struct event_feed *f, struct control *control);
void event_feed_fini(struct event_feed *f); /* nobody follows any more */

void stream_stats_run(struct call *c);
void stream_events_run(struct call *c);

/* Takes `count N`, with N at least 1, at word *at; false: the call has failed, and ended. */
LG_MUST_CHECK bool stream_take_count(struct call *c, unsigned *at, uint64_t *count);
/* One more has been sent of those that are left (0: no limit): whether it was the last one. */
bool stream_is_over(uint64_t *left);

#endif
