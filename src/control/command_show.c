/* command_show.c: the process as a whole: its version, its state in numbers, its configuration, events, the audit. */
#include "command_internal.h"

#include "loomgate/base/event.h"
#include "loomgate/runtime/reload.h"
#include "loomgate/runtime/upgrade.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void run_version(struct call *c) {
    const struct control_options *o = c->control->options;
    view_text(&c->view.root, "version", LG_VERSION);
    view_text(&c->view.root, "build", LG_FLAVOUR);
    struct view_node *libraries = view_object(&c->view.root, "libraries");
    for (size_t i = 0; i < o->library_count; i++) view_text(libraries, o->libraries[i].name, o->libraries[i].version);
    call_show(c);
}

/* --- show info -------------------------------------------------------------------------------------------------- */

static const char *const state_words[] = {[RUNTIME_RUNNING] = "running",
                                          [RUNTIME_HANDED_OVER] = "handed over",
                                          [RUNTIME_DRAINING] = "stopping",
                                          [RUNTIME_STOPPED] = "stopped"};

static void put_upgrades(struct view_node *in, const struct runtime *r) {
    struct view_node *node = view_object(in, "upgrades");
    pid_t heir = runtime_heir(r);
    view_number(node, "total", runtime_upgrades(r));
    if (heir)
        view_number(node, "handed_over_to", (uint64_t)heir);
    else
        view_null(node, "handed_over_to");
}

static void put_memory(struct view_node *in) {
    uint64_t resident = runtime_resident_bytes();
    if (resident)
        view_bytes(in, "memory", resident);
    else
        view_null(in, "memory");
}

static void put_descriptors(struct view_node *in) {
    struct view_node *node = view_object(in, "descriptors");
    struct rlimit limit;
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (dir) {
        for (const struct dirent *e; (e = readdir(dir));) count += e->d_name[0] != '.';
        closedir(dir);
        view_number(node, "open", count - 1); /* without the one for looking */
    } else {
        view_null(node, "open");
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) view_number(node, "limit", limit.rlim_cur);
}

static void put_connections(struct view_node *in, const struct runtime *r) {
    struct view_node *node = view_object(in, "connections");
    const struct gate *gate = runtime_gate(r);
    view_number(node, "open", atomic_load_explicit(&gate->open, memory_order_relaxed));
    view_number(node, "limit", gate_limit(gate));
    view_number(node, "total", runtime_metric(r, METRIC_connections_total));
    view_number(node, "to_servers_total", runtime_metric(r, METRIC_server_connections_total));
}

/* Over the window of 10 s, or what is kept instead; all frontends together. */
static void put_rps(struct view_node *in, struct runtime *r) {
    enum { RPS_WINDOW_US = 10000000 };
    const struct telemetry *t = &runtime_registry(r)->telemetry;
    struct stats_view view;
    double rps = 0;
    if (!t->timeline.window_count) {
        view_null(in, "rps");
        return;
    }
    unsigned window = telemetry_window_find(t, RPS_WINDOW_US);
    for (const struct series *s = NULL; (s = telemetry_next(t, s));)
        if (s->kind == SERIES_FRONTEND && window_read(t, s, window, &view)) rps += view.rps;
    view_real(in, "rps", rps);
}

static void put_requests(struct view_node *in, struct runtime *r) {
    struct view_node *node = view_object(in, "requests");
    put_rps(node, r);
    view_number(node, "active", runtime_metric(r, METRIC_exchanges_active));
    view_number(node, "queued", runtime_metric(r, METRIC_queued_active));
    view_number(node, "total", runtime_metric(r, METRIC_exchanges_total));
    view_number(node, "retries_total", runtime_metric(r, METRIC_retries_total));
    struct view_node *failed = view_object(node, "failed");
    view_number(failed, "client", runtime_metric(r, METRIC_client_failures_total));
    view_number(failed, "gateway", runtime_metric(r, METRIC_gateway_failures_total));
    view_number(failed, "server", runtime_metric(r, METRIC_server_failures_total));
}

static void put_reloads(struct view_node *in, struct runtime *r) {
    struct view_node *node = view_object(in, "reloads");
    const struct loop *loop = runtime_loop(r);
    struct reload_state state;
    runtime_reload_state(r, &state);
    view_number(node, "total", state.total);
    view_number(node, "failed", state.failed);
    if (state.last_us)
        view_time(node, "last", loop->unix_us - (loop->now_us - state.last_us));
    else
        view_null(node, "last");
    view_number(node, "snapshots_alive", state.alive);
    if (state.confirm_us)
        view_duration(node, "confirm_within", state.confirm_us);
    else
        view_null(node, "confirm_within");
    view_bool(node, "can_roll_back", state.can_roll_back);
}

static void run_info(struct call *c) {
    struct runtime *r = c->control->runtime;
    const struct loop *loop = runtime_loop(r);
    struct view_node *root = &c->view.root;
    uint64_t uptime_us = loop->now_us - runtime_start_us(r);
    view_text(root, "version", LG_VERSION);
    view_text(root, "state", state_words[runtime_state(r)]);
    view_number(root, "pid", (uint64_t)getpid());
    view_text(root, "file", c->control->options->file);
    view_time(root, "started", loop->unix_us - uptime_us);
    view_duration(root, "uptime", uptime_us);
    view_number(root, "workers", runtime_worker_count(r));
    view_number(root, "control_clients", c->control->client_count);
    put_connections(root, r);
    put_requests(root, r);
    put_reloads(root, r);
    put_upgrades(root, r);
    put_memory(root);
    put_descriptors(root);
    view_text(root, "log_level", log_level_name(log_get_level()));
    view_number(root, "log_lost_total", log_lost());
    call_show(c);
}

/* --- the rest --------------------------------------------------------------------------------------------------- */

static void run_config(struct call *c) {
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    config_print(runtime_snapshot(c->control->runtime)->config, out);
    fclose(out);
    view_lines(&c->view.root, "yaml", slice_from(text, len));
    free(text);
    call_show(c);
}

static void put_fields(struct view_node *row, const struct event *e, bool json) {
    struct view_node *fields = json ? view_object(row, "fields") : view_list(row, "fields");
    for (uint32_t i = 0; i < e->field_count; i++) {
        const struct event_field *f = &e->fields[i];
        struct slice text = event_field_text(e, f);
        if (!json && f->kind == LOG_TEXT)
            view_printf(fields, NULL, "%s=%.*s", f->name, SLICE_ARG(text));
        else if (!json)
            view_printf(fields, NULL, "%s=%lld", f->name, (long long)f->number);
        else if (f->kind == LOG_TEXT)
            view_slice(fields, f->name, text);
        else
            view_signed(fields, f->name, f->number);
    }
}

void event_put(struct view_node *row, const struct event *e, bool json) {
    view_time(row, "time", e->unix_us);
    view_text(row, "level", log_level_name(e->level));
    view_text(row, "event", e->name);
    view_slice(row, "message", event_message(e));
    put_fields(row, e, json);
}

static void run_events(struct call *c) {
    uint64_t wanted = EVENTS_KEPT, last = event_last();
    if (c->words.count && !call_take_number(c, 0, EVENTS_KEPT, &wanted)) return;
    struct view_node *list = view_begin_list(&c->view);
    struct event e = {.number = last > wanted ? last - wanted : 0};
    while (event_next(e.number, &e)) event_put(view_object(list, NULL), &e, c->json);
    call_show(c);
}

static void run_audit(struct call *c) {
    struct view_node *list = view_begin_list(&c->view);
    const struct audit_entry *e;
    for (uint64_t i = 0; (e = audit_find(&c->control->audit, i)); i++) {
        struct view_node *row = view_object(list, NULL);
        view_time(row, "time", e->unix_us);
        view_number(row, "uid", e->peer.uid);
        view_number(row, "gid", e->peer.gid);
        view_number(row, "pid", (uint64_t)e->peer.pid);
        view_slice(row, "command", slice_from(e->command, e->command_len));
        view_text(row, "result", e->result);
        view_text(row, "message", e->message);
    }
    call_show(c);
}

const struct command commands_show[] = {
    {.words = "show version",
     .arguments = "",
     .run = run_version,
     .help = "the version, the build and the versions of the libraries",
     .example = "show version"},
    {.words = "show info",
     .arguments = "",
     .run = run_info,
     .help = "the process in numbers: uptime, workers, connections, requests, RPS, reloads, memory, descriptors, log "
             "losses",
     .example = "show info json"},
    {.words = "show config",
     .arguments = "",
     .run = run_config,
     .help = "the configuration in force as YAML, defaults filled in; it loads again",
     .example = "show config"},
    {.words = "show events",
     .arguments = "[COUNT]",
     .max = 1,
     .run = run_events,
     .help = "the last changes of state: servers, breakers, shortages, stops",
     .example = "show events 20"},
    {.words = "show audit",
     .arguments = "",
     .run = run_audit,
     .help = "the last 256 commands that changed something or tried to: who, what, with which result",
     .example = "show audit"},
    {.words = NULL},
};
