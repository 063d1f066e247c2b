/* command_requests.c: `stream requests`: finished exchanges, live.
 *
 *   a worker's ring --a line--> on_line --> the client reads? --> the line, with what was lost before it
 *                                             | no: lost, counted */
#include "command_internal.h"

#include "loomgate/runtime/taps.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SAMPLE_MAX = 1000000 };

/* What the words ask for. */
struct wish {
    struct record_filter *filter; /* NULL: all */
    uint64_t sample_per_s, count; /* 0: all, no end */
};

struct follow {
    struct call *call;
    struct runtime_tap *tap;
    uint64_t left; /* lines until the end; 0: there is none */
    uint64_t lost; /* lines that the client did not take */
    uint64_t told; /* of all that was lost */
};

/* --- words ------------------------------------------------------------------------------------------------------ */

/* The expression is read as it was written, since decoding has taken its quotes. */
static struct slice take_raw_word(struct slice *rest) {
    *rest = slice_trim(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t') n++;
    struct slice word = slice_from(rest->p, n);
    *rest = slice_trim(slice_from(rest->p + n, rest->n - n));
    return word;
}

static bool take_filter(struct call *c, struct slice *rest, struct wish *w) {
    struct error e;
    size_t used;
    w->filter = record_filter_compile(*rest, &used, &e);
    if (!w->filter) {
        call_fail(c, COMMAND_USAGE, "the expression behind 'where': %s", e.text);
        return false;
    }
    *rest = slice_from(rest->p + used, rest->n - used);
    return true;
}

static bool take_sample(struct call *c, struct slice word, struct wish *w) {
    size_t slash = slice_find(word, '/');
    if (slice_is(slice_from(word.p + slash, word.n - slash), "/s") &&
        slice_to_u64(slice_from(word.p, slash), SAMPLE_MAX, &w->sample_per_s) && w->sample_per_s)
        return true;
    call_fail(c, COMMAND_USAGE, "'sample' takes how many a second, such as 10/s, at most %d/s", SAMPLE_MAX);
    return false;
}

static bool take_count(struct call *c, struct slice word, struct wish *w) {
    if (slice_to_u64(word, UINT64_MAX, &w->count) && w->count) return true;
    call_fail(c, COMMAND_USAGE, "'count' takes a number from 1 on");
    return false;
}

/* False: the call has failed, and ended. */
static bool take_options(struct call *c, struct slice rest, struct wish *w) {
    while (rest.n) {
        struct slice word = take_raw_word(&rest);
        if (slice_is(word, "sample")) {
            if (!take_sample(c, take_raw_word(&rest), w)) return false;
        } else if (slice_is(word, "count")) {
            if (!take_count(c, take_raw_word(&rest), w)) return false;
        } else {
            call_fail(c, COMMAND_USAGE, "'%.*s' is not expected here; %s %s", (int)(word.n < 60 ? word.n : 60), word.p,
                      c->command->words, c->command->arguments);
            return false;
        }
    }
    return true;
}

static bool take_wish(struct call *c, struct wish *w) {
    struct slice rest = c->text;
    if (c->json) rest.n -= strlen("json"); /* each line is JSON in any case */
    take_raw_word(&rest);                  /* the command's own two have no spaces in them, however they are quoted */
    take_raw_word(&rest);
    if (call_word_is(c, 0, "where")) {
        take_raw_word(&rest);
        if (!take_filter(c, &rest, w)) return false;
    }
    return take_options(c, rest, w);
}

/* --- following -------------------------------------------------------------------------------------------------- */

static void on_stop(struct call *c) {
    struct follow *f = c->state;
    runtime_tap_close(f->tap);
    free(f);
    call_end_stream(c);
}

/* With "dropped" as its last member. */
static bool emit_with_loss(struct follow *f, struct slice line, uint64_t loss) {
    char text[ACCESS_RECORD_MAX + 64];
    LG_ASSERT(line.n > 0 && line.n < ACCESS_RECORD_MAX && line.p[line.n - 1] == '}');
    memcpy(text, line.p, line.n - 1);
    size_t n = line.n - 1;
    n += (size_t)snprintf(text + n, sizeof text - n, ",\"dropped\":%" PRIu64 "}", loss);
    return call_emit(f->call, slice_from(text, n));
}

static void on_line(void *owner, struct slice line) {
    struct follow *f = owner;
    uint64_t lost = f->lost + runtime_tap_dropped(f->tap);
    if (lost > f->told ? !emit_with_loss(f, line, lost - f->told) : !call_emit(f->call, line)) {
        f->lost++;
        return;
    }
    f->told = lost;
    if (f->left && --f->left == 0) on_stop(f->call);
}

static void run_requests(struct call *c) {
    struct wish w = {NULL, 0, 0};
    if (!take_wish(c, &w)) {
        record_filter_free(w.filter);
        return;
    }
    struct follow *f = xcalloc(1, sizeof *f);
    *f = (struct follow){.call = c, .left = w.count};
    f->tap = runtime_tap_open(
        c->control->runtime,
        &(struct runtime_tap_options){
            .filter = w.filter, .sample_per_s = (uint32_t)w.sample_per_s, .owner = f, .on_line = on_line});
    if (!f->tap) {
        free(f);
        call_fail(c, COMMAND_CONFLICT, "%d streams of requests are open already", RUNTIME_TAPS_MAX);
        return;
    }
    c->state = f;
    c->is_finite = w.count > 0;
    call_begin_stream(c, on_stop);
}

const struct command commands_requests[] = {
    {.words = "stream requests",
     .arguments = "[where EXPR] [sample N/s] [count N]",
     .max = CONTROL_WORDS_MAX,
     .level = CONTROL_OPERATOR,
     .run = run_requests,
     .help = "exchanges as they end, a line of JSON each: the access record; of those that EXPR takes, until so many "
             "were sent",
     .example = "stream requests where status>=500 and path~\"^/v1\" count 10"},
    {.words = NULL},
};
