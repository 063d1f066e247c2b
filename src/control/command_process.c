/* command_process.c: the log, checking a configuration, the end of the process. */
#include "command_internal.h"

#include "loomgate/base/event.h"
#include "loomgate/config/diagnose.h"
#include "loomgate/config/schema.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

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

/* --- config check ----------------------------------------------------------------------------------------------- */

static void put_problems(struct view_node *list, struct diagnostics *d) {
    const struct diagnostic *one;
    for (size_t i = 0; (one = diagnostics_find(d, i)); i++) {
        struct view_node *row = view_object(list, NULL);
        view_text(row, "severity", one->severity == SEVERITY_ERROR ? "error" : "warning");
        view_printf(row, "place", "%s:%u:%u", one->place.source->name, one->place.line, one->place.column);
        view_text(row, "message", one->text);
        view_text(row, "hint", one->hint);
    }
}

/* The first error, and how many there are. */
static void fail_check(struct call *c, struct diagnostics *d, size_t errors) {
    const struct diagnostic *one = diagnostics_find(d, 0);
    for (size_t i = 1; one && one->severity != SEVERITY_ERROR; i++) one = diagnostics_find(d, i);
    LG_ASSERT(one != NULL);
    const struct place *at = &one->place;
    if (errors > 1)
        call_fail(c, COMMAND_CONFIG, "%s:%u:%u: %s; and %zu more", at->source->name, at->line, at->column, one->text,
                  errors - 1);
    else
        call_fail(c, COMMAND_CONFIG, "%s:%u:%u: %s", at->source->name, at->line, at->column, one->text);
}

static void answer_check(struct call *c, const char *path, const struct config *config, struct diagnostics *d) {
    size_t errors = diagnostics_count(d, SEVERITY_ERROR), warnings = diagnostics_count(d, SEVERITY_WARNING);
    if (errors + warnings) put_problems(view_list(&c->view.root, "problems"), d);
    if (!config)
        fail_check(c, d, errors);
    else
        call_ok(c, "%s is valid, with %zu warning%s", path, warnings, warnings == 1 ? "" : "s");
}

/* A pipe would hold up the control thread. */
static const char *why_unfit(struct slice path) {
    struct stat st;
    if (memchr(path.p, '\0', path.n)) return "its name has a NUL";
    if (stat(path.p, &st) != 0) return strerror(errno);
    return S_ISREG(st.st_mode) ? NULL : "it is not a regular file";
}

static void run_check(struct call *c) {
    const struct control_options *o = c->control->options;
    struct slice path = c->words.count ? c->words.v[0].text : slice_of(o->file);
    const char *why = why_unfit(path);
    if (why) {
        call_fail(c, COMMAND_CONFIG, "%.*s: the file cannot be read: %s", SLICE_ARG(path), why);
        return;
    }
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *config = config_load(path.p, o->overrides, o->override_count, &d);
    answer_check(c, path.p, config, &d);
    if (config) config_free(config);
    diagnostics_fini(&d);
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
    if (!now && runtime_state(r) != RUNTIME_RUNNING) {
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

const struct command commands_process[] = {
    {.words = "config check",
     .arguments = "[PATH]",
     .max = 1,
     .level = CONTROL_ADMIN,
     .run = run_check,
     .help = "the errors and warnings of a configuration file, the one in force without PATH; changes nothing",
     .example = "config check /etc/loomgate/new.yaml"},
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
    {.words = NULL},
};
