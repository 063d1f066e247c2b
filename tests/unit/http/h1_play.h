/* h1_play.h: plays bytes into an HTTP/1 codec, in pieces of any size, and writes down what came out of it.
 *
 * Two accounts are kept: `brief`, to be compared with what a test expects, such as
 *     GET /a host=h none keep | end | POST / host=h length=5 close | "hello" | end | eof:ok
 *     !bad_host
 * and `full`, with every field and byte, to be compared between different ways of cutting the same bytes. */
#ifndef LOOMGATE_TESTS_H1_PLAY_H
#define LOOMGATE_TESTS_H1_PLAY_H

#include "loomgate/base/macros.h"
#include "loomgate/http/h1_codec.h"

#include <stdarg.h>
#include <stdlib.h>

struct h1_play {
    /* what to play */
    enum h1_role role;
    struct h1_limits limits;
    enum method asked; /* responses: of every request they answer */
    bool upgrade_asked;
    void (*on_head)(struct h1_play *, const struct message *); /* may be NULL */

    /* how it went */
    struct h1_codec codec;
    bool over;    /* an error, or a 101 */
    bool interim; /* the message under way is a 1xx */
    unsigned heads;
    size_t body_bytes;
    uint32_t body_sum;
    char body_text[33];
    size_t brief_size, full_size;
    char brief[4096];
    char full[32768];
};

static struct h1_scratch play_scratch;

LG_PRINTF(4, 5)
static inline void play_write(char *text, size_t room, size_t *at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text + *at, room - *at, format, args);
    va_end(args);
    *at = *at + (size_t)n < room ? *at + (size_t)n : room - 1;
}

#define PLAY_BRIEF(p, ...) play_write((p)->brief, sizeof(p)->brief, &(p)->brief_size, __VA_ARGS__)
#define PLAY_FULL(p, ...)  play_write((p)->full, sizeof(p)->full, &(p)->full_size, __VA_ARGS__)

static inline void play_note(struct h1_play *p, const char *format, ...) LG_PRINTF(2, 3);
static inline void play_note(struct h1_play *p, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    PLAY_BRIEF(p, "%s%s", p->brief_size ? " | " : "", text);
    PLAY_FULL(p, "%s\n", text);
}

/* Body events are told as one: where they are cut depends on where the bytes are. */
static inline void play_flush_body(struct h1_play *p) {
    if (p->body_bytes == 0) return;
    PLAY_FULL(p, "%zu bytes, sum %u\n", p->body_bytes, (unsigned)p->body_sum);
    if (p->body_bytes < sizeof p->body_text)
        play_note(p, "\"%.*s\"", (int)p->body_bytes, p->body_text);
    else
        play_note(p, "%zu bytes", p->body_bytes);
    p->body_bytes = p->body_sum = 0;
}

static inline void play_body(struct h1_play *p, struct slice body) {
    LG_ASSERT(body.n > 0);
    for (size_t i = 0; i < body.n; i++, p->body_bytes++) {
        p->body_sum = p->body_sum * 31 + (unsigned char)body.p[i];
        if (p->body_bytes < sizeof p->body_text) p->body_text[p->body_bytes] = body.p[i];
    }
}

static inline void play_fields(struct h1_play *p, const struct fields *f) {
    for (uint32_t i = 0; i < f->count; i++)
        PLAY_FULL(p, "  [%.*s][%.*s] %u%s\n", SLICE_ARG(f->v[i].name), SLICE_ARG(f->v[i].value), (unsigned)f->v[i].id,
                  f->v[i].drop ? " dropped" : "");
}

static inline void play_head(struct h1_play *p, const struct message *m) {
    static const char *const bodies[] = {"none", "length", "chunked", "until-close"};
    char length[32] = "";
    if (m->body == BODY_LENGTH || m->has_length)
        snprintf(length, sizeof length, "=%llu", (unsigned long long)m->length);
    char start[512];
    if (p->role == H1_READS_REQUESTS)
        snprintf(start, sizeof start, "%.*s %.*s host=%.*s", SLICE_ARG(m->method_name), SLICE_ARG(m->uri),
                 SLICE_ARG(m->host));
    else
        snprintf(start, sizeof start, "%u", m->status);
    play_note(p, "%s %s%s %s%s%s%s%.*s", start, bodies[m->body], length, m->keep_alive ? "keep" : "close",
              m->expect_continue ? " expect" : "", m->te_trailers ? " te" : "", m->upgrade ? " upgrade=" : "",
              SLICE_ARG(m->upgrade_to));
    PLAY_FULL(p, "  raw %zu minor %u method %u path [%.*s] query %d [%.*s] reason [%.*s]\n", m->raw.n, m->minor,
              m->method, SLICE_ARG(m->path), m->has_query, SLICE_ARG(m->query), SLICE_ARG(m->reason));
    play_fields(p, &m->fields);
    if (p->on_head) p->on_head(p, m);
    p->heads++;
    p->interim = p->role == H1_READS_RESPONSES && m->status < 200;
    if (m->status == 101) p->over = true;
}

static inline void play_end(struct h1_play *p, const struct fields *trailers) {
    unsigned kept = 0;
    for (uint32_t i = 0; i < trailers->count; i++) kept += !trailers->v[i].drop;
    if (trailers->count)
        play_note(p, "end %u of %u trailers", kept, (unsigned)trailers->count);
    else
        play_note(p, "end");
    play_fields(p, trailers);
}

static inline void play_event(struct h1_play *p, enum h1_event event, const struct h1_result *r) {
    if (event == H1_BODY) {
        play_body(p, r->body);
        return;
    }
    play_flush_body(p);
    if (event == H1_HEAD) play_head(p, r->head);
    if (event == H1_END) play_end(p, r->trailers);
    if (event == H1_ERROR) {
        play_note(p, "!%s", failure_get(r->failure)->name);
        p->over = true;
    }
}

/* All events in `pending`; returns what is left. */
static inline struct slice play_bytes(struct h1_play *p, struct slice pending) {
    while (!p->over) {
        struct h1_result r;
        struct slice before = pending;
        enum h1_event event = h1_codec_next(&p->codec, &pending, &p->limits, &play_scratch, &r);
        LG_ASSERT(pending.p + pending.n == before.p + before.n && pending.n <= before.n);
        if (event == H1_MORE) break;
        LG_ASSERT(event != H1_ERROR || (r.place >= before.p && r.place <= before.p + before.n));
        play_event(p, event, &r);
        if (event == H1_END && p->role == H1_READS_RESPONSES && !p->interim && p->codec.keep_alive)
            h1_codec_expect(&p->codec, p->asked, p->upgrade_asked);
    }
    return pending;
}

/* Plays `bytes` cut into pieces: the first of `first` bytes, the others of `rest` bytes (0: all there are), then the
 * end of the connection. Each piece is presented, behind what is still pending, in memory of exactly that size. */
static inline void h1_play(struct h1_play *p, struct slice bytes, size_t first, size_t rest) {
    char *memory = NULL;
    size_t pending = 0, piece = first;
    h1_codec_init(&p->codec, p->role);
    if (p->role == H1_READS_RESPONSES) h1_codec_expect(&p->codec, p->asked, p->upgrade_asked);
    for (size_t at = 0; at < bytes.n && !p->over; at += piece, piece = rest) {
        if (piece == 0 || piece > bytes.n - at) piece = bytes.n - at;
        char *grown = malloc(pending + piece);
        LG_ASSERT(grown);
        if (pending) memcpy(grown, memory, pending);
        memcpy(grown + pending, bytes.p + at, piece);
        free(memory);
        memory = grown;
        struct slice left = play_bytes(p, slice_from(memory, pending + piece));
        memmove(memory, left.p, left.n);
        pending = left.n;
    }
    if (!p->over) {
        struct h1_result r;
        enum h1_event event = h1_codec_eof(&p->codec, slice_from(memory, pending), &r);
        if (event == H1_MORE) {
            play_flush_body(p);
            play_note(p, "eof:ok");
        } else {
            play_event(p, event, &r);
        }
    }
    free(memory);
}

#endif
