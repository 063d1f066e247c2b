/* command_call.c: one call of a command: from its words to the end of its answer. */
#include "command_internal.h"

#include "loomgate/config/values.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

enum { SENTENCE_MAX = 1024, REFUSED_SHOWN = 60 };
#define FOR_MAX_US (8760 * 3600000000ULL)

/* --- birth ------------------------------------------------------------------------------------------------------ */

/* `json` at the end is not one of the words; quoted it is. */
static void take_json(struct call *c) {
    if (!c->words.count) return;
    const struct word *last = &c->words.v[c->words.count - 1];
    c->json = last->is_plain && slice_is(last->text, "json");
    c->words.count -= c->json;
}

struct call *call_new(struct control *control, const struct call_events *events, void *owner, enum control_level level,
                      const struct socket_peer *peer, struct slice *rest) {
    struct call *c = xcalloc(1, sizeof *c);
    struct slice raw = {NULL, 0};
    *c = (struct call){.control = control, .events = events, .owner = owner, .level = level, .peer = *peer};
    arena_init(&c->arena, NULL, 0);
    if (line_take(rest, &c->arena, &c->words, &raw, &c->problem) == LINE_END) {
        arena_fini(&c->arena);
        free(c);
        return NULL;
    }
    view_init(&c->view);
    c->text = slice_from(arena_strndup(&c->arena, raw.p, raw.n), raw.n);
    if (!c->problem) take_json(c);
    return c;
}

void call_run(struct call *c) {
    char sentence[SENTENCE_MAX];
    if (c->problem) {
        call_fail(c, COMMAND_USAGE, "%s", c->problem);
        return;
    }
    struct words words = c->words;
    c->command = command_find(&c->words);
    if (!c->command) {
        command_explain_unknown(&words, sentence, sizeof sentence);
        call_fail(c, COMMAND_UNKNOWN, "%s", sentence);
    } else if (c->command->level > c->level) {
        call_fail(c, COMMAND_DENIED, "'%s' needs the level %s; this socket gives %s", c->command->words,
                  control_level_name(c->command->level), control_level_name(c->level));
    } else if (c->words.count < c->command->min || c->words.count > c->command->max) {
        call_fail_usage(c);
    } else {
        c->command->run(c);
    }
}

void call_abandon(struct call *c) {
    c->events = NULL;
    c->owner = NULL;
    if (c->on_stop)
        c->on_stop(c);
    else if (c->on_gone)
        c->on_gone(c);
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

static bool send_text(struct call *c, struct slice text) {
    return c->events && c->events->on_text(c, text);
}

/* Sends what was printed, ends the call. */
static void finish(struct call *c, FILE *out, char **text, const size_t *len) {
    fputc('\n', out);
    fclose(out);
    send_text(c, slice_from(*text, *len));
    free(*text);
    if (c->events) c->events->on_end(c);
    view_fini(&c->view);
    arena_fini(&c->arena);
    free(c);
}

static void audit(struct call *c, const char *result, const char *message) {
    if (c->command && c->command->changes)
        audit_add(&c->control->audit, runtime_loop(c->control->runtime)->unix_us, &c->peer, c->text, result, message);
}

/* `word`: of an error; NULL: ok. `sentence`: NULL: only data. */
static void print_json(const struct call *c, const char *word, const char *sentence, FILE *out) {
    struct view head;
    view_init(&head);
    view_bool(&head.root, "ok", !word);
    if (word) view_text(&head.root, "error", word);
    if (sentence) view_text(&head.root, "message", sentence);
    if (!word || c->view.root.first) view_graft(&head.root, "data", &c->view.root);
    view_print_json(&head.root, out);
    fputc('\n', out);
    view_fini(&head);
}

static void print_sentence(const char *intro, const char *word, const char *sentence, FILE *out) {
    char escaped[SENTENCE_MAX * 4];
    const char *end = log_escape_sentence(escaped, escaped + sizeof escaped, slice_of(sentence));
    fprintf(out, "%s%s%s%.*s\n", intro, word, *word ? ": " : "", (int)(end - escaped), escaped);
}

static void answer(struct call *c, const char *word, const char *sentence) {
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    audit(c, word ? word : "ok", sentence ? sentence : "");
    if (c->json) {
        print_json(c, word, sentence, out);
    } else {
        if (sentence) print_sentence(word ? "error: " : "ok: ", word ? word : "", sentence, out);
        if (!sentence || c->view.root.first) view_print_text(&c->view.root, out);
    }
    finish(c, out, &text, &len);
}

void call_show(struct call *c) {
    answer(c, NULL, NULL);
}

#define FORMAT_SENTENCE(out, format)               \
    do {                                           \
        va_list args;                              \
        va_start(args, format);                    \
        vsnprintf(out, sizeof(out), format, args); \
        va_end(args);                              \
    } while (0)

void call_ok(struct call *c, const char *format, ...) {
    char sentence[SENTENCE_MAX];
    FORMAT_SENTENCE(sentence, format);
    answer(c, NULL, sentence);
}

void call_fail(struct call *c, enum command_error code, const char *format, ...) {
    char sentence[SENTENCE_MAX];
    FORMAT_SENTENCE(sentence, format);
    answer(c, command_error_word(code), sentence);
}

void call_fail_usage(struct call *c) {
    const struct command *row = c->command;
    call_fail(c, COMMAND_USAGE, "%s%s%s", row->words, *row->arguments ? " " : "", row->arguments);
}

/* --- more than one line ----------------------------------------------------------------------------------------- */

void call_tell(struct call *c, const char *format, ...) {
    char sentence[SENTENCE_MAX];
    if (c->json) return;
    FORMAT_SENTENCE(sentence, format);
    char escaped[SENTENCE_MAX * 4 + 1],
        *end = log_escape_sentence(escaped, escaped + SENTENCE_MAX * 4, slice_of(sentence));
    *end++ = '\n';
    send_text(c, slice_from(escaped, (size_t)(end - escaped)));
}

void call_begin_stream(struct call *c, void (*on_stop)(struct call *c)) {
    c->on_stop = on_stop;
}

bool call_emit(struct call *c, struct slice line) {
    LG_ASSERT(c->on_stop != NULL);
    char *text = xmalloc(line.n + 1);
    memcpy(text, line.p, line.n);
    text[line.n] = '\n';
    bool sent = send_text(c, slice_from(text, line.n + 1));
    free(text);
    return sent;
}

void call_end_stream(struct call *c) {
    char *text;
    size_t len;
    c->on_stop = NULL;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    audit(c, "ok", "");
    finish(c, out, &text, &len);
}

/* --- words ------------------------------------------------------------------------------------------------------ */

bool call_word_is(const struct call *c, unsigned i, const char *keyword) {
    return i < c->words.count && c->words.v[i].is_plain && slice_is(c->words.v[i].text, keyword);
}

static int shown(struct slice s) {
    return (int)(s.n < REFUSED_SHOWN ? s.n : REFUSED_SHOWN);
}

bool call_take_number(struct call *c, unsigned i, uint64_t max, uint64_t *out) {
    LG_ASSERT(i < c->words.count);
    struct slice word = c->words.v[i].text;
    if (slice_to_u64(word, max, out)) return true;
    call_fail(c, COMMAND_USAGE, "'%.*s' is not a number from 0 to %" PRIu64, shown(word), word.p, max);
    return false;
}

bool call_take_duration(struct call *c, unsigned i, uint64_t *us) {
    struct complaint complaint;
    if (i >= c->words.count) {
        call_fail_usage(c);
        return false;
    }
    if (duration_parse(c->words.v[i].text, us, &complaint)) return true;
    call_fail(c, COMMAND_USAGE, "%s%s%s", complaint.text, *complaint.hint ? "; " : "", complaint.hint);
    return false;
}

bool call_take_for(struct call *c, unsigned *i, uint64_t *us) {
    *us = 0;
    if (!call_word_is(c, *i, "for")) return true;
    if (!call_take_duration(c, *i + 1, us)) return false;
    *i += 2;
    if (*us && *us <= FOR_MAX_US) return true;
    call_fail(c, COMMAND_USAGE,
              *us ? "it lasts a year at most; without `for` until it is undone"
                  : "it lasts longer than 0; without `for` until it is undone");
    return false;
}
