/* command_stream.c: the commands that send lines until they are told to stop; what their words say.
 *
 *   stream stats   every period, as long as somebody follows (command_stream_stats.c)
 *   stream events  whenever something changes (command_stream_events.c) */
#include "command_stream_internal.h"

#include <stdlib.h>

void control_start(struct control *control, struct runtime *runtime) {
    control->runtime = runtime;
    control->streams = xcalloc(1, sizeof *control->streams);
    control->streams->control = control;
    list_init(&control->streams->beats);
    event_feed_init(&control->streams->feed, control);
}

void control_stop(struct control *control) {
    struct streams *s = control->streams;
    LG_ASSERT(list_is_empty(&s->beats));
    event_feed_fini(&s->feed);
    free(s);
    control->streams = NULL;
}

bool stream_take_count(struct call *c, unsigned *at, uint64_t *count) {
    if (*at + 1 >= c->words.count) {
        call_fail_usage(c);
        return false;
    }
    if (!call_take_number(c, *at + 1, UINT64_MAX, count)) return false;
    *at += 2;
    if (*count) return true;
    call_fail(c, COMMAND_USAGE, "a stream of 0 lines says nothing; without 'count' it runs until it is stopped");
    return false;
}

bool stream_is_over(uint64_t *left) {
    return *left && --*left == 0;
}

const struct command commands_stream[] = {
    {.words = "stream stats",
     .arguments = "[every DURATION] [count N] [of NAME]...",
     .max = STREAM_WORDS_MAX,
     .run = stream_stats_run,
     .help = "each period (1s) a line of JSON for each frontend, backend and server, or for those of the names",
     .example = "stream stats every 500ms count 3 of app"},
    {.words = "stream events",
     .arguments = "[count N]",
     .max = 2,
     .run = stream_events_run,
     .help = "changes of state as they happen, a line of JSON each",
     .example = "stream events"},
    {.words = NULL},
};
