/* command_stream_stats.c: `stream stats`: each period one line of JSON for each frontend, backend and server.
 *
 *   beat (a period that somebody follows)
 *     each period: telemetry_tick --> render: one line for each entity that any of its streams wants, once
 *       --> each stream: those it wants, with a head and an end of its own, as one frame: sent or dropped whole */
#include "loomgate/control/entity.h"

#include "command_stream_internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { PERIOD_US = 1000000, PERIOD_LEAST_US = 50000, HEAD_MAX = 128 };
#define PERIOD_MOST_US UINT64_C(86400000000)

struct beat {
    struct list node;
    struct control *control;
    uint64_t every_us, due_us;
    struct loop_timer timer;
    struct list streams; /* of struct stats_stream */
};

struct stats_stream {
    struct list node;
    struct call *call;
    struct beat *beat;
    uint64_t seq, dropped; /* frames so far; of them those dropped since the last that was sent */
    uint64_t left;         /* frames to be sent; 0: no limit */
    unsigned name_count;   /* 0: all */
    struct slice names[STREAM_WORDS_MAX / 2];
};

/* --- a frame ---------------------------------------------------------------------------------------------------- */

struct frame_line {
    struct entity entity;
    size_t end; /* in the frame's text; it begins where the one before ends */
};

/* What all streams of a beat are sent: the lines without their heads and ends. */
struct frame {
    char *text;
    size_t len;
    struct frame_line *lines;
    size_t count, room;
};

static bool stream_wants(const struct stats_stream *s, const struct entity *e) {
    for (unsigned i = 0; i < s->name_count; i++)
        if (entity_is(e, s->names[i])) return true;
    return !s->name_count;
}

static bool anybody_wants(const struct beat *b, const struct entity *e) {
    LIST_FOR (node, &b->streams)
        if (stream_wants(LIST_ENTRY(node, struct stats_stream, node), e)) return true;
    return false;
}

static void frame_add(struct frame *f, const struct entity *e, FILE *out) {
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 16;
        f->lines = xrealloc(f->lines, f->room * sizeof *f->lines);
    }
    LG_ASSERT(fflush(out) == 0);
    f->lines[f->count++] = (struct frame_line){*e, f->len};
}

static void frame_render(struct frame *f, const struct beat *b) {
    struct runtime *r = b->control->runtime;
    const struct loop *loop = runtime_loop(r);
    struct telemetry *t = &runtime_registry(r)->telemetry;
    FILE *out = open_memstream(&f->text, &f->len);
    LG_ASSERT(out != NULL);
    telemetry_tick(t, loop->now_us);
    for (struct entity e = {0}; entity_next(runtime_snapshot(r), &e);) {
        struct entity_stats stats;
        if (!anybody_wants(b, &e)) continue;
        entity_read(&e, t, loop->now_us, &stats);
        entity_print_json(&e, &stats, out);
        frame_add(f, &e, out);
    }
    fclose(out);
}

static void frame_fini(struct frame *f) {
    free(f->text);
    free(f->lines);
}

/* --- a stream's part of it -------------------------------------------------------------------------------------- */

static size_t print_head(const struct stats_stream *s, uint64_t unix_us, char out[HEAD_MAX]) {
    char time[25] = "";
    log_time(time, unix_us);
    return (size_t)snprintf(out, HEAD_MAX, "{\"time\":\"%s\",\"seq\":%" PRIu64 ",", time, s->seq);
}

static size_t print_end(const struct stats_stream *s, char out[HEAD_MAX]) {
    if (!s->dropped) return (size_t)snprintf(out, HEAD_MAX, "}\n");
    return (size_t)snprintf(out, HEAD_MAX, ",\"dropped\":%" PRIu64 "}\n", s->dropped);
}

/* All of its lines as one; false: dropped. */
static bool stream_send(struct stats_stream *s, const struct frame *f, uint64_t unix_us) {
    char head[HEAD_MAX], end[HEAD_MAX], *text;
    size_t head_len = print_head(s, unix_us, head), end_len = print_end(s, end), begin = 0, len;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    for (size_t i = 0; i < f->count; begin = f->lines[i++].end) {
        if (!stream_wants(s, &f->lines[i].entity)) continue;
        fwrite(head, 1, head_len, out);
        fwrite(f->text + begin, 1, f->lines[i].end - begin, out);
        fwrite(end, 1, end_len, out);
    }
    fclose(out);
    bool sent = len == 0 || call_emit(s->call, slice_from(text, len - 1));
    free(text);
    return sent;
}

static void stream_end(struct stats_stream *s) {
    struct call *c = s->call;
    list_remove(&s->node);
    free(s);
    call_end_stream(c);
}

static void stream_take(struct stats_stream *s, const struct frame *f, uint64_t unix_us) {
    s->seq++;
    if (!stream_send(s, f, unix_us)) {
        s->dropped++;
        return;
    }
    s->dropped = 0;
    if (stream_is_over(&s->left)) stream_end(s);
}

/* --- beats ------------------------------------------------------------------------------------------------------ */

static void beat_end_if_idle(struct beat *b) {
    if (!list_is_empty(&b->streams)) return;
    timer_cancel(&b->timer);
    list_remove(&b->node);
    free(b);
}

/* What came too late is left out: the next one is in step again. */
static void beat_go_on(struct beat *b, struct loop *loop) {
    b->due_us += b->every_us;
    if (b->due_us <= loop->now_us) b->due_us = loop->now_us + b->every_us;
    timer_set(loop, &b->timer, b->due_us - loop->now_us);
}

static void on_beat(struct loop_timer *timer) {
    struct beat *b = LG_CONTAINER_OF(timer, struct beat, timer);
    struct loop *loop = runtime_loop(b->control->runtime);
    struct frame f = {0};
    frame_render(&f, b);
    LIST_FOR (node, &b->streams) stream_take(LIST_ENTRY(node, struct stats_stream, node), &f, loop->unix_us);
    frame_fini(&f);
    beat_go_on(b, loop);
    beat_end_if_idle(b);
}

/* The first frame of a new period comes at once; who joins later waits for the next one. */
static struct beat *beat_get(struct control *control, uint64_t every_us) {
    struct loop *loop = runtime_loop(control->runtime);
    LIST_FOR (node, &control->streams->beats) {
        struct beat *b = LIST_ENTRY(node, struct beat, node);
        if (b->every_us == every_us) return b;
    }
    struct beat *b = xcalloc(1, sizeof *b);
    *b = (struct beat){.control = control, .every_us = every_us, .due_us = loop->now_us};
    list_init(&b->streams);
    timer_init(&b->timer, on_beat);
    timer_set(loop, &b->timer, 0);
    list_push_back(&control->streams->beats, &b->node);
    return b;
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static bool take_period(struct call *c, unsigned *at, uint64_t *every_us) {
    if (!call_take_duration(c, *at + 1, every_us)) return false;
    *at += 2;
    if (*every_us >= PERIOD_LEAST_US && *every_us <= PERIOD_MOST_US) return true;
    call_fail(c, COMMAND_USAGE, "a period has 50ms to 24h");
    _Static_assert(PERIOD_LEAST_US == 50000 && PERIOD_MOST_US / 3600000000 == 24, "it is in the text");
    return false;
}

static bool take_name(struct call *c, unsigned *at, struct stats_stream *s) {
    if (*at + 1 >= c->words.count) {
        call_fail_usage(c);
        return false;
    }
    if (!call_take_entity(c, *at + 1)) return false;
    s->names[s->name_count++] = c->words.v[*at + 1].text;
    *at += 2;
    return true;
}

static bool take_words(struct call *c, struct stats_stream *s, uint64_t *every_us) {
    for (unsigned at = 0; at < c->words.count;) {
        bool taken;
        if (call_word_is(c, at, "every"))
            taken = take_period(c, &at, every_us);
        else if (call_word_is(c, at, "count"))
            taken = stream_take_count(c, &at, &s->left);
        else if (call_word_is(c, at, "of"))
            taken = take_name(c, &at, s);
        else
            return call_fail_usage(c), false;
        if (!taken) return false;
    }
    return true;
}

static void on_stop(struct call *c) {
    struct stats_stream *s = c->state;
    struct beat *b = s->beat;
    stream_end(s);
    beat_end_if_idle(b);
}

void stream_stats_run(struct call *c) {
    struct stats_stream *s = xcalloc(1, sizeof *s);
    uint64_t every_us = PERIOD_US;
    s->call = c;
    if (!take_words(c, s, &every_us)) {
        free(s);
        return;
    }
    s->beat = beat_get(c->control, every_us);
    list_push_back(&s->beat->streams, &s->node);
    c->state = s;
    c->is_finite = s->left > 0;
    call_begin_stream(c, on_stop);
}
