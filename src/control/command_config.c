/* command_config.c: the configuration: checked, compared with the one in force, replaced, and back again. */
#include "command_internal.h"

#include "loomgate/config/diagnose.h"
#include "loomgate/runtime/plan.h"
#include "loomgate/runtime/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

/* --- what is wrong with a file ---------------------------------------------------------------------------------- */

static void put_problems(struct call *c, struct diagnostics *d) {
    const struct diagnostic *one;
    if (!diagnostics_find(d, 0)) return;
    struct view_node *list = view_list(&c->view.root, "problems");
    for (size_t i = 0; (one = diagnostics_find(d, i)); i++) {
        struct view_node *row = view_object(list, NULL);
        view_text(row, "severity", one->severity == SEVERITY_ERROR ? "error" : "warning");
        view_printf(row, "place", "%s:%u:%u", one->place.source->name, one->place.line, one->place.column);
        view_text(row, "message", one->text);
        view_text(row, "hint", one->hint);
    }
}

/* The first error, and how many there are. */
static void fail_file(struct call *c, struct diagnostics *d) {
    size_t errors = diagnostics_count(d, SEVERITY_ERROR);
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

/* A pipe would hold up the control thread. */
static const char *why_unfit(struct slice path) {
    struct stat st;
    if (memchr(path.p, '\0', path.n)) return "its name has a NUL";
    if (stat(path.p, &st) != 0) return strerror(errno);
    return S_ISREG(st.st_mode) ? NULL : "it is not a regular file";
}

/* Whether the file can be read at all; false: the call has failed, and ended. */
static bool is_fit(struct call *c, struct slice path) {
    const char *why = why_unfit(path);
    if (why) call_fail(c, COMMAND_CONFIG, "%.*s: the file cannot be read: %s", SLICE_ARG(path), why);
    return !why;
}

/* Word 0 if there is one, else the file that the process began with, as what `d` says of it and what is in it. False:
 * the call has failed, and ended. */
static bool load(struct call *c, struct diagnostics *d, struct config **config) {
    const struct control_options *o = c->control->options;
    struct slice path = c->words.count ? c->words.v[0].text : slice_of(o->file);
    if (!is_fit(c, path)) return false;
    diagnostics_init(d);
    *config = config_load(path.p, o->overrides, o->override_count, d);
    put_problems(c, d);
    if (*config) return true;
    fail_file(c, d);
    diagnostics_fini(d);
    return false;
}

static void run_check(struct call *c) {
    struct diagnostics d;
    struct config *config;
    if (!load(c, &d, &config)) return;
    size_t warnings = diagnostics_count(&d, SEVERITY_WARNING);
    const char *path = c->words.count ? c->words.v[0].text.p : c->control->options->file;
    call_ok(c, "%s is valid, with %zu warning%s", path, warnings, warnings == 1 ? "" : "s");
    config_free(config);
    diagnostics_fini(&d);
}

/* --- what changes ----------------------------------------------------------------------------------------------- */

/* A line a change for eyes; all of it for programs. */
static void put_changes(struct call *c, const struct config_diff *d) {
    if (!c->json) {
        char *text;
        size_t len;
        FILE *out = open_memstream(&text, &len);
        LG_ASSERT(out != NULL);
        config_diff_print(d, out);
        fclose(out);
        if (d->count) view_lines(&c->view.root, "changes", slice_from(text, len));
        free(text);
        return;
    }
    struct view_node *list = view_list(&c->view.root, "changes");
    for (uint32_t i = 0; i < d->count; i++) {
        const struct config_change *one = &d->v[i];
        struct view_node *row = view_object(list, NULL);
        view_text(row, "change", change_kind_name(one->kind));
        view_text(row, "key", one->path);
        view_text(row, "before", one->before);
        view_text(row, "after", one->after);
        view_bool(row, "needs_restart", one->reload == RELOAD_RESTART);
    }
}

/* "2 added, 1 changed"; "nothing changes" */
static void sum_up(const struct config_diff *d, char *out, size_t room) {
    static const enum change_kind kinds[] = {CHANGE_ADDED, CHANGE_VALUE, CHANGE_REMOVED, CHANGE_MOVED};
    size_t n = 0;
    snprintf(out, room, "nothing changes");
    for (size_t k = 0; k < LG_COUNT(kinds); k++) {
        unsigned count = 0;
        for (uint32_t i = 0; i < d->count; i++) count += d->v[i].kind == kinds[k];
        if (count)
            n += (size_t)snprintf(out + n, room - n, "%s%u %s", n ? ", " : "", count, change_kind_name(kinds[k]));
    }
}

/* --- config plan ------------------------------------------------------------------------------------------------ */

static void put_sockets(struct call *c, const char *name, const struct plan_socket *v, uint32_t count) {
    struct view_node *list = view_list(&c->view.root, name);
    for (uint32_t i = 0; i < count; i++)
        if (c->json) {
            struct view_node *row = view_object(list, NULL);
            view_text(row, "address", v[i].address);
            view_text(row, "frontend", v[i].frontend);
        } else {
            view_printf(list, NULL, "%s (%s)", v[i].address, v[i].frontend);
        }
}

static void put_restart(struct call *c, const struct config_diff *d) {
    struct view_node *list = view_list(&c->view.root, "needs_restart");
    for (uint32_t i = 0; i < d->count; i++)
        if (d->v[i].reload == RELOAD_RESTART) view_text(list, NULL, d->v[i].path);
}

static void on_planned(void *arg, const struct plan *plan) {
    struct call *c = arg;
    char sum[160];
    sum_up(&plan->diff, sum, sizeof sum);
    put_changes(c, &plan->diff);
    put_sockets(c, "sockets_opened", plan->opened, plan->opened_count);
    put_sockets(c, "sockets_closed", plan->closed, plan->closed_count);
    view_number(&c->view.root, "sockets_kept", plan->kept_count);
    put_restart(c, &plan->diff);
    view_number(&c->view.root, "exchanges_touched", plan->exchanges);
    call_ok(c, "%s; nothing was done", sum);
}

static void run_plan(struct call *c) {
    struct diagnostics d;
    struct config *config;
    if (!load(c, &d, &config)) return;
    runtime_plan(c->control->runtime, config, on_planned, c);
    config_free(config);
    diagnostics_fini(&d);
}

/* --- reload ----------------------------------------------------------------------------------------------------- */

static void refuse(struct call *c, const struct reload_result *r) {
    if (r->diagnostics) put_problems(c, r->diagnostics);
    if (r->outcome == RELOAD_LATE)
        call_fail(c, COMMAND_CONFLICT, "%s", r->why);
    else if (r->diagnostics && diagnostics_count(r->diagnostics, SEVERITY_ERROR))
        fail_file(c, r->diagnostics);
    else
        call_fail(c, COMMAND_CONFIG, "%s; nothing was changed", r->why);
}

static void answer(struct call *c, const struct reload_result *r, const char *intro) {
    char sum[160], fixed[80] = "", until[VIEW_VALUE_MAX + 80] = "";
    struct reload_state state;
    if (r->outcome != RELOAD_DONE) {
        refuse(c, r);
        return;
    }
    sum_up(r->diff, sum, sizeof sum);
    if (r->diff->restart_count)
        snprintf(fixed, sizeof fixed, "; %u of them need a restart and were not applied", r->diff->restart_count);
    runtime_reload_state(c->control->runtime, &state);
    if (state.confirm_us) {
        char left[VIEW_VALUE_MAX];
        view_format_duration(left, (state.confirm_us + 999) / 1000 * 1000);
        snprintf(until, sizeof until, "; it goes back unless confirmed within %s", left);
    }
    view_number(&c->view.root, "number", r->number);
    put_changes(c, r->diff);
    view_number(&c->view.root, "sockets_opened", r->sockets.opened);
    view_number(&c->view.root, "sockets_closed", r->sockets.closed);
    view_number(&c->view.root, "sockets_kept", r->sockets.kept);
    put_restart(c, r->diff);
    if (r->diagnostics) put_problems(c, r->diagnostics);
    call_ok(c, "%s %" PRIu64 " is in force%s: %s%s%s", intro, r->number,
            r->replaced ? " in place of one that was not confirmed" : "", sum, fixed, until);
}

static void on_reloaded(void *arg, const struct reload_result *r) {
    answer(arg, r, "configuration");
}

static void on_rolled_back(void *arg, const struct reload_result *r) {
    answer(arg, r, "the former configuration, as number");
}

/* [PATH] [confirm within DURATION] */
static void run_reload(struct call *c) {
    const struct control_options *o = c->control->options;
    struct reload_request request = {.path = NULL};
    unsigned at = 0;
    bool confirms = call_word_is(c, 0, "confirm");
    if (c->words.count && !confirms) request.path = c->words.v[at++].text.p;
    if (at < c->words.count) {
        if (!call_word_is(c, at, "confirm") || !call_word_is(c, at + 1, "within") || c->words.count != at + 3) {
            call_fail_usage(c);
            return;
        }
        if (!call_take_duration(c, at + 2, &request.confirm_us)) return;
        if (!request.confirm_us) {
            call_fail(c, COMMAND_USAGE, "the time to confirm it in is longer than 0");
            return;
        }
    }
    if (!is_fit(c, request.path ? c->words.v[0].text : slice_of(o->file))) return;
    runtime_reload(c->control->runtime, &request, on_reloaded, c);
}

static void run_confirm(struct call *c) {
    struct runtime *r = c->control->runtime;
    if (runtime_confirm(r))
        call_ok(c, "configuration %" PRIu64 " stays", runtime_snapshot(r)->number);
    else
        call_fail(c, COMMAND_CONFLICT, "no reload waits to be confirmed");
}

static void run_rollback(struct call *c) {
    runtime_rollback(c->control->runtime, on_rolled_back, c);
}

const struct command commands_config[] = {
    {.words = "config check",
     .arguments = "[PATH]",
     .max = 1,
     .level = CONTROL_ADMIN,
     .run = run_check,
     .help = "the errors and warnings of a configuration file, the one in force without PATH; changes nothing",
     .example = "config check /etc/loomgate/new.yaml"},
    {.words = "config plan",
     .arguments = "[PATH]",
     .max = 1,
     .level = CONTROL_ADMIN,
     .run = run_plan,
     .help = "what `reload` would change: key by key, sockets that open and close, what needs a restart, exchanges in "
             "flight that it touches; changes nothing",
     .example = "config plan /etc/loomgate/new.yaml"},
    {.words = "reload",
     .arguments = "[PATH] [confirm within DURATION]",
     .max = 4,
     .level = CONTROL_ADMIN,
     .changes = true,
     .run = run_reload,
     .help = "puts the file in force, as one step or not at all; with `confirm`, it goes back by itself unless "
             "`confirm` comes in time",
     .example = "reload confirm within 60s"},
    {.words = "confirm",
     .arguments = "",
     .level = CONTROL_ADMIN,
     .changes = true,
     .run = run_confirm,
     .help = "the configuration that a `reload` has put in force for a time stays",
     .example = "confirm"},
    {.words = "rollback",
     .arguments = "",
     .level = CONTROL_ADMIN,
     .changes = true,
     .run = run_rollback,
     .help = "back to the configuration before the last reload, or the last confirmed one; once",
     .example = "rollback"},
    {.words = NULL},
};
