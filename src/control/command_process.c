/* command_process.c: the log, the end of the process, and who follows it. */
#include "command_internal.h"

#include "loomgate/base/event.h"
#include "loomgate/config/schema.h"
#include "loomgate/runtime/upgrade.h"

#include <string.h>

/* --- the log ---------------------------------------------------------------------------------------------------- */

static void run_level(struct call *c) {
    const char *names[LEVEL_COUNT];
    struct slice word = c->words.v[0].text;
    for (int i = 0; i < LEVEL_COUNT; i++) {
        names[i] = log_level_name((enum log_level)i);
        if (!slice_is(word, names[i])) continue;
        event_warn("log_level_changed", NULL, LOG_STR("to", names[i]));
        log_set_level((enum log_level)i);
        c->control->log_level =
            (struct override_mark){.by = c->peer, .unix_us = runtime_loop(c->control->runtime)->unix_us};
        call_ok(c, "the log is written from the level %s on", names[i]);
        return;
    }
    char hint[200];
    if (!nearest_word(word, names, LEVEL_COUNT, hint, sizeof hint))
        snprintf(hint, sizeof hint, "there are debug, info, warn, error");
    call_fail(c, COMMAND_USAGE, "'%.*s' is not a level; %s", (int)(word.n < 60 ? word.n : 60), word.p, hint);
}

static void run_reopen(struct call *c) {
    runtime_reopen_logs();
    call_ok(c, "the log files are being opened again");
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void run_shutdown(struct call *c) {
    struct runtime *r = c->control->runtime;
    bool now = call_word_is(c, 0, "now");
    unsigned open = atomic_load_explicit(&runtime_gate(r)->open, memory_order_relaxed);
    if (c->words.count && !now) {
        call_fail_usage(c);
        return;
    }
    if (!now && runtime_state(r) == RUNTIME_DRAINING) {
        call_fail(c, COMMAND_CONFLICT, "it is stopping already; 'shutdown now' does not wait for the %u connections",
                  open);
        return;
    }
    if (now)
        call_ok(c, "stopping at once; %u connections are cut", open);
    else
        call_ok(c, "stopping; %u connections may finish", open);
    runtime_shutdown(r, now);
}

/* --- another process -------------------------------------------------------------------------------------------- */

static void on_upgraded(void *arg, const struct upgrade_result *result) {
    static const enum command_error codes[] = {[UPGRADE_CONFLICT] = COMMAND_CONFLICT,
                                               [UPGRADE_DECLINED] = COMMAND_CONFIG,
                                               [UPGRADE_FAILED] = COMMAND_INTERNAL};
    struct call *c = arg;
    const struct gate *gate = runtime_gate(c->control->runtime);
    unsigned open = atomic_load_explicit(&gate->open, memory_order_relaxed);
    if (result->outcome != UPGRADE_DONE) {
        call_fail(c, codes[result->outcome], "%s; nothing was changed", result->why);
        return;
    }
    view_number(&c->view.root, "pid", (uint64_t)result->pid);
    view_number(&c->view.root, "connections", open);
    call_ok(c, "process %ld serves now; this one ends with its last connection of %u", (long)result->pid, open);
}

static void run_upgrade(struct call *c) {
    runtime_upgrade(c->control->runtime, on_upgraded, c);
}

const struct command commands_process[] = {
    {.words = "log level",
     .arguments = "debug|info|warn|error",
     .min = 1,
     .max = 1,
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_level,
     .help = "what is less important is left out of the process's own log",
     .example = "log level debug"},
    {.words = "log reopen",
     .arguments = "",
     .level = CONTROL_OPERATOR,
     .changes = true,
     .run = run_reopen,
     .help = "opens all log files again, for rotation",
     .example = "log reopen"},
    {.words = "shutdown",
     .arguments = "[now]",
     .max = 1,
     .level = CONTROL_ADMIN,
     .changes = true,
     .run = run_shutdown,
     .help = "stops: what runs may finish within `global.shutdown.grace`; with `now` at once",
     .example = "shutdown"},
    {.words = "upgrade",
     .arguments = "",
     .level = CONTROL_ADMIN,
     .changes = true,
     .run = run_upgrade,
     .help =
         "starts the program's file anew, and hands sockets and state over to it: for another version; no request is "
         "lost, and when it does not start, nothing changes",
     .example = "upgrade"},
    {.words = NULL},
};
