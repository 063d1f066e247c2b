/* command.h: the table of commands, and one call of a command: its words, and the answer that it owes.
 *
 *   call_new --(line.h)--> call_run: of the table? right level? right count of words? --> the command's `run`
 *     run, at once or later: call_show | call_ok | call_fail  --> on_text ... on_end, gone
 *     run, a stream:         call_begin_stream, call_emit..., call_end_stream
 *
 * A call is ended exactly once, by its command, also when who asked has gone (on_gone tells it): then nothing is sent,
 * but a change is still in the audit. Control thread only. */
#ifndef LOOMGATE_CONTROL_COMMAND_H
#define LOOMGATE_CONTROL_COMMAND_H

#include "loomgate/control/audit.h"
#include "loomgate/control/line.h"
#include "loomgate/control/view.h"
#include "loomgate/runtime/override.h"

/* A library that the program stands on. */
struct control_library {
    const char *name;
    char version[24];
};

/* What main() knows. */
struct control_options {
    const char *file; /* the configuration */
    const struct config_override *overrides;
    size_t override_count;
    const struct control_library *libraries;
    size_t library_count;
};

struct streams; /* what they share: src/control/command_stream_internal.h */

/* What commands work on. */
struct control {
    struct runtime *runtime;
    const struct control_options *options;
    struct audit audit;
    unsigned client_count; /* connections to control sockets */
    struct streams *streams;
    struct override_mark log_level; /* who set it last; `value` is not used */
};
/* Before the first call, with the options set; and behind the last one's end, or when all that go on are abandoned. */
void control_start(struct control *control, struct runtime *runtime);
void control_stop(struct control *control);

enum command_error {
    COMMAND_UNKNOWN,
    COMMAND_USAGE,
    COMMAND_NO_SUCH_BACKEND,
    COMMAND_NO_SUCH_SERVER,
    COMMAND_DENIED,
    COMMAND_CONFIG,
    COMMAND_CONFLICT,
    COMMAND_TIMEOUT,
    COMMAND_TOO_LONG,
    COMMAND_INTERNAL,
    COMMAND_ERROR_COUNT
};
/* "unknown_command" */
const char *command_error_word(enum command_error e);

struct call;
/* A row of the table. */
struct command {
    const char *words;     /* "show servers" */
    const char *arguments; /* "[BACKEND]"; "" for none */
    unsigned min, max;     /* words behind; a `json` at the end not counted */
    enum control_level level;
    bool changes; /* something: it is logged, and in `show audit` */
    void (*run)(struct call *call);
    const char *help; /* one sentence, without a full stop */
    const char *example;
};
/* All rows in order; NULL behind the last. */
const struct command *command_at(size_t index);
/* "user", "operator", "admin" */
const char *control_level_name(enum control_level level);
/* The table as markdown, for doc/control.md and `loomgate --print-commands`. */
void commands_print(FILE *out);

/* Who made a call: what it is told. */
struct call_events {
    /* A part of the answer. False: who asked does not read, and this part, of a stream, was dropped. */
    bool (*on_text)(struct call *c, struct slice text);
    /* The answer is over; the call is gone when this returns. */
    void (*on_end)(struct call *c);
};

struct call {
    struct control *control;
    const struct command *command; /* NULL: not of the table */
    struct words words;            /* behind the command's own */
    bool json;
    enum control_level level; /* of the socket it came by */
    struct socket_peer peer;
    struct slice text; /* the command as it was written */
    struct arena arena;
    struct view view; /* what call_show() shows */
    bool is_finite;   /* a stream that ends by itself: the client's end of input does not end it */

    /* Set by a command that answers later. */
    void *state;
    void (*on_gone)(struct call *c); /* who asked has gone, or the process stops; NULL: it does not matter */
    void (*on_stop)(struct call *c); /* of a stream: who asked wants no more; it must end, now or soon */

    /* For who made it, when it has ended. */
    bool wants_prompt, wants_quit;

    const struct call_events *events; /* NULL: gone */
    void *owner;
    const char *problem; /* of its syntax */
};

/* The next command of a line; NULL when there is none. */
struct call *call_new(struct control *control, const struct call_events *events, void *owner, enum control_level level,
                      const struct socket_peer *peer, struct slice *rest);
/* Runs it: it may have ended when this returns. */
void call_run(struct call *c);
/* Who made it has gone, and is told nothing any more. */
void call_abandon(struct call *c);

/* --- for commands: each of the first four ends the call --------------------------------------------------------- */

/* The data in c->view. */
void call_show(struct call *c);
/* "ok: SENTENCE"; with data in c->view it is in JSON too. */
void call_ok(struct call *c, const char *format, ...) LG_PRINTF(2, 3);
/* "error: CODE: SENTENCE"; data in c->view follows. */
void call_fail(struct call *c, enum command_error code, const char *format, ...) LG_PRINTF(3, 4);
/* The command's usage. */
void call_fail_usage(struct call *c);

/* A line while the command goes on; none in JSON, where an answer is one line. */
void call_tell(struct call *c, const char *format, ...) LG_PRINTF(2, 3);

/* From now on it sends lines until call_end_stream(), which on_stop may ask for. */
void call_begin_stream(struct call *c, void (*on_stop)(struct call *c));
/* One line (without its end); false: dropped, as who asked does not read fast enough. */
bool call_emit(struct call *c, struct slice line);
void call_end_stream(struct call *c);

/* Whether word `i` is this keyword; a quoted one never is. */
bool call_word_is(const struct call *c, unsigned i, const char *keyword);
/* Word `i` as a number or a duration; false: the call has failed, and ended. */
LG_MUST_CHECK bool call_take_number(struct call *c, unsigned i, uint64_t max, uint64_t *out);
LG_MUST_CHECK bool call_take_duration(struct call *c, unsigned i, uint64_t *us);

/* `for DURATION` at word `*i`, which is moved behind it; *us is 0 without. False: the call has failed, and ended. */
LG_MUST_CHECK bool call_take_for(struct call *c, unsigned *i, uint64_t *us);

/* --- what a command is about ------------------------------------------------------------------------------------ */

/* A backend's servers, or one of them. */
struct target {
    const struct backend *backend;
    const struct balance_member *only; /* NULL: all */
};
enum target_form { TARGET_BACKEND, TARGET_SERVER, TARGET_EITHER };
/* Word `i` as B, B/S, or either of them, of the configuration in force; false: the call has failed, and ended. */
LG_MUST_CHECK bool call_take_target(struct call *c, unsigned i, enum target_form form, struct target *t);
/* The same without a word to who asks; false: there is none (now). */
bool target_find(const struct call *c, unsigned i, struct target *t);
/* The frontend that word `i` names; NULL: there is none, the call has failed, and ended. */
LG_MUST_CHECK const struct frontend *call_take_frontend(struct call *c, unsigned i);
/* Walks its servers, backups last: start with *at = 0; NULL at the end. */
const struct balance_member *target_next(const struct target *t, uint32_t *at);

#endif
