/* upgrade.c: the old process's side of an upgrade: starts the new one, and goes, or goes on. The picture is in the
 * header. */
#include "loomgate/runtime/upgrade.h"

#include "loomgate/base/event.h"
#include "loomgate/runtime/spawn.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime_internal.h"

/* --- the end of one --------------------------------------------------------------------------------------------- */

static void tell(struct runtime *r, enum upgrade_outcome outcome, const char *why) {
    struct upgrade *u = &r->upgrade;
    struct upgrade_result result = {outcome, why, outcome == UPGRADE_DONE ? u->pid : 0};
    upgrade_done *done = u->done;
    u->done = NULL;
    if (done) done(u->arg, &result);
}

static void LG_PRINTF(2, 3) note_why(struct upgrade *u, const char *format, ...) {
    va_list args;
    if (u->why[0]) return; /* the first one is what matters */
    va_start(args, format);
    vsnprintf(u->why, sizeof u->why, format, args);
    va_end(args);
}

static void stop_hearing(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    ev_io_stop(r->loop.ev, &u->heard);
    timer_cancel(&u->limit);
    if (u->channel >= 0) close(u->channel);
    if (u->state_fd >= 0) close(u->state_fd);
    u->channel = u->state_fd = -1;
}

/* It is as if nothing had been. */
static void fail(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    char why[HEIR_MESSAGE_MAX];
    snprintf(why, sizeof why, "%s", u->why);
    enum upgrade_outcome outcome = u->is_own ? UPGRADE_DECLINED : UPGRADE_FAILED;
    event_warn("upgrade_failed", why, LOG_INT("pid", u->pid));
    u->phase = UPGRADE_NONE;
    tell(r, outcome, why);
    reloads_go_on(r);
}

/* --- watching it ------------------------------------------------------------------------------------------------ */

/* Where SIGCHLD was ignored when this process began there is nothing to be known any more. */
static void note_end(struct upgrade *u) {
    int status = 0;
    pid_t pid;
    do pid = waitpid(u->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    if (pid > 0 && WIFSIGNALED(status))
        note_why(u, "the new process was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (pid > 0)
        note_why(u, "the new process exited with status %d before it served", WEXITSTATUS(status));
    note_why(u, "the new process has ended before it served");
}

static void stop_watching(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    ev_io_stop(r->loop.ev, &u->ended);
    if (u->pidfd >= 0) close(u->pidfd);
    u->pidfd = -1;
}

static void put_end_to(struct upgrade *u) {
    u->phase = UPGRADE_ENDS;
    kill(u->pid, SIGKILL); /* it has not been waited for, so the number is still its own */
}

static void on_limit(struct loop_timer *t) {
    struct upgrade *u = LG_CONTAINER_OF(t, struct upgrade, limit);
    note_why(u, "the new process did not serve in time, and was ended");
    put_end_to(u);
}

static bool has_ended(const struct upgrade *u) {
    struct pollfd p = {.fd = u->pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* --- handing over ----------------------------------------------------------------------------------------------- */

static void hand_over(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    u->phase = UPGRADE_OVER;
    stop_hearing(r);
    r->state = RUNTIME_HANDED_OVER;
    r->is_alone = r->pid_written = false;
    event_info("handed_over", "another process serves now; what runs here may finish", LOG_INT("pid", u->pid),
               LOG_INT("connections", gate_open(&r->gate)), LOG_INT("took_us", r->loop.now_us - u->began_us));
    notify_main_pid(&r->notify, u->pid);
    notify_close(&r->notify); /* the service is the other one */
    binds_share_files(&r->binds, true);
    watch_stop(&r->watch);
    if (r->hooks && r->hooks->on_handed_over) r->hooks->on_handed_over(r->hooks->owner);
    tell(r, UPGRADE_DONE, NULL);
    reloads_go_on(r);
    for (unsigned i = 0; i < r->worker_count; i++) worker_hand_over(r->workers[i]);
}

static bool give_state(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    int copy = dup(u->state_fd);
    FILE *out = copy >= 0 ? fdopen(copy, "w") : NULL;
    if (!out) return false;
    upgrade_print(r, out);
    bool ok = fclose(out) == 0;
    return ok && send(u->channel, HEIR_SAYS_STATE, strlen(HEIR_SAYS_STATE), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

static void on_message(struct runtime *r, struct slice text) {
    struct upgrade *u = &r->upgrade;
    const struct slice failed = SLICE(HEIR_SAYS_FAILED);
    if (slice_is(text, HEIR_SAYS_STATE)) {
        if (!give_state(r)) note_why(u, "the state could not be handed over: %s", strerror(errno));
    } else if (slice_has_prefix(text, failed) && text.n > failed.n) {
        u->is_own = !u->why[0];
        note_why(u, "%.*s", (int)(text.n - failed.n), text.p + failed.n);
    } else if (slice_is(text, HEIR_SAYS_SERVING) && u->phase == UPGRADE_STARTS && !has_ended(u)) {
        hand_over(r);
    }
    if (u->why[0] && !u->is_own && u->phase == UPGRADE_STARTS) put_end_to(u);
}

/* One message. False: there is none now, or no more ever. */
static bool hear(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    char text[HEIR_MESSAGE_MAX];
    ssize_t n = u->channel >= 0 ? recv(u->channel, text, sizeof text, MSG_DONTWAIT) : -1;
    if (n == 0) ev_io_stop(r->loop.ev, &u->heard); /* it has closed its end; its own follows */
    if (n > 0) on_message(r, slice_from(text, (size_t)n));
    return n > 0;
}

static void on_heard(struct ev_loop *ev, ev_io *w, int events) {
    (void)ev, (void)events;
    hear(w->data);
}

static void on_ended(struct ev_loop *ev, ev_io *w, int events) {
    (void)ev, (void)events;
    struct runtime *r = w->data;
    struct upgrade *u = &r->upgrade;
    while (hear(r)) continue; /* its last words */
    note_end(u);
    stop_watching(r);
    if (u->phase == UPGRADE_OVER) return; /* it served, and whether it still does is not for this process to say */
    stop_hearing(r);
    fail(r);
}

/* --- starting it ------------------------------------------------------------------------------------------------ */

/* Why it is not begun at all; NULL: it is. */
static const char *why_not(const struct runtime *r, char *room, size_t size) {
    const struct global_settings *g = &r->snapshot->config->global;
    if (r->state == RUNTIME_HANDED_OVER) {
        snprintf(room, size, "process %ld serves already; this one ends with its last connection",
                 (long)r->upgrade.pid);
        return room;
    }
    if (r->state != RUNTIME_RUNNING) return "the process is stopping";
    if (r->upgrade.phase != UPGRADE_NONE) return "an upgrade is under way already";
    if (r->unconfirmed) return "a reload waits to be confirmed: use 'confirm' or 'rollback' first";
    if (getpid() == 1) return "this is process 1: its container would end with it; start another container instead";
    if (!r->program[0] || !r->source.argv) return "it is not known which program was started";
    if (g->chroot && access(r->program, X_OK) != 0) {
        snprintf(room, size, "'%s' is not there in the chroot '%s': restart instead", r->program, g->chroot);
        return room;
    }
    return NULL;
}

static bool open_channel(struct upgrade *u, int *other, struct error *e) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return error_set_errno(e, "there is no channel to the new process");
    u->channel = ends[0];
    *other = ends[1];
    u->state_fd = memfd_create("loomgate-state", MFD_CLOEXEC);
    return u->state_fd >= 0 || error_set_errno(e, "there is no memory file for the state");
}

static void add(void *arg, int fd, const char *name) {
    spawn_add(arg, fd, name);
}

static bool start(struct runtime *r, struct error *e) {
    struct upgrade *u = &r->upgrade;
    struct spawn s;
    int other = -1;
    spawn_init(&s);
    binds_bequeath(&r->binds, add, &s);
    if (r->hooks && r->hooks->on_bequeath) r->hooks->on_bequeath(r->hooks->owner, add, &s);
    bool ok = open_channel(u, &other, e) && spawn_run(&s, r->program, r->source.argv, other, u->state_fd, &u->pid, e);
    if (other >= 0) close(other);
    spawn_fini(&s);
    if (!ok) return false;
    u->pidfd = (int)syscall(SYS_pidfd_open, u->pid, 0);
    if (u->pidfd >= 0) return true;
    error_set_errno(e, "the new process cannot be watched");
    put_end_to(u);
    note_end(u);
    return false;
}

static void watch(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    uint64_t limit_us = r->source.upgrade_limit_us;
    u->heard.data = u->ended.data = r;
    ev_io_set(&u->heard, u->channel, EV_READ);
    ev_io_set(&u->ended, u->pidfd, EV_READ);
    ev_io_start(r->loop.ev, &u->heard);
    ev_io_start(r->loop.ev, &u->ended);
    timer_set(&r->loop, &u->limit, limit_us ? limit_us : HEIR_LIMIT_US);
}

static void begin(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    struct error e;
    u->phase = UPGRADE_STARTS;
    u->pid = 0;
    u->channel = u->state_fd = u->pidfd = -1;
    u->why[0] = '\0';
    u->is_own = false;
    u->began_us = r->loop.now_us;
    if (start(r, &e)) {
        event_info("upgrade_started", r->program, LOG_INT("pid", u->pid));
        watch(r);
        return;
    }
    stop_hearing(r);
    snprintf(u->why, sizeof u->why, "%s", e.text);
    fail(r);
}

/* --- from outside ----------------------------------------------------------------------------------------------- */

void upgrade_init(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    *u = (struct upgrade){.channel = -1, .state_fd = -1, .pidfd = -1};
    ev_init(&u->heard, on_heard);
    ev_init(&u->ended, on_ended);
    timer_init(&u->limit, on_limit);
    ssize_t n = readlink("/proc/self/exe", r->program, sizeof r->program - 1);
    r->program[n > 0 ? n : 0] = '\0';
}

void runtime_upgrade(struct runtime *r, upgrade_done *done, void *arg) {
    struct upgrade *u = &r->upgrade;
    char room[PATH_MAX + 200];
    const char *why = why_not(r, room, sizeof room);
    if (why) {
        event_warn("upgrade_failed", why, LOG_INT("pid", 0));
        if (done) done(arg, &(struct upgrade_result){UPGRADE_CONFLICT, why, 0});
        return;
    }
    u->done = done;
    u->arg = arg;
    u->phase = UPGRADE_WAITS;
    reloads_go_on(r);
}

void upgrade_by_signal(struct runtime *r) {
    runtime_upgrade(r, NULL, NULL);
}

bool upgrade_holds_reloads(const struct runtime *r) {
    return r->upgrade.phase == UPGRADE_STARTS || r->upgrade.phase == UPGRADE_ENDS;
}

/* What it waited for may have changed what it was begun by. */
void upgrade_go_on(struct runtime *r) {
    char room[PATH_MAX + 200];
    if (r->upgrade.phase != UPGRADE_WAITS) return;
    r->upgrade.phase = UPGRADE_NONE;
    const char *why = why_not(r, room, sizeof room);
    if (!why) {
        begin(r);
        return;
    }
    event_warn("upgrade_failed", why, LOG_INT("pid", 0));
    tell(r, UPGRADE_CONFLICT, why);
}

void upgrade_cancel(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    note_why(u, "the process is stopping");
    if (u->phase == UPGRADE_STARTS) put_end_to(u);
}

void upgrade_fini(struct runtime *r) {
    struct upgrade *u = &r->upgrade;
    if (u->phase == UPGRADE_STARTS || u->phase == UPGRADE_ENDS) {
        put_end_to(u);
        note_end(u);
    }
    stop_watching(r);
    stop_hearing(r);
    tell(r, UPGRADE_FAILED, "the process is stopping");
}

uint64_t runtime_upgrades(const struct runtime *r) {
    return r->upgrades;
}

pid_t runtime_heir(const struct runtime *r) {
    return r->state != RUNTIME_RUNNING && r->upgrade.phase == UPGRADE_OVER ? r->upgrade.pid : 0;
}
