/* runtime.h: the control thread: workers, signals, shutdown; and what whoever commands it may ask of it.
 *
 *   runtime_run: bind -> on_bind -> drop privileges -> start workers -> RUNNING
 *     --SIGTERM or runtime_shutdown--> DRAINING --all drained, or grace over, or told again--> STOPPED -> on_stop
 *     --another process serves (upgrade.h)--> HANDED_OVER --all drained--> STOPPED, or --SIGTERM--> DRAINING */
#ifndef LOOMGATE_RUNTIME_RUNTIME_H
#define LOOMGATE_RUNTIME_RUNTIME_H

#include "loomgate/config/config.h"
#include "loomgate/proxy/env.h"

enum runtime_state { RUNTIME_RUNNING, RUNTIME_HANDED_OVER, RUNTIME_DRAINING, RUNTIME_STOPPED };

struct runtime;
/* What is above subscribes; all of it on the control thread. */
struct runtime_hooks {
    void *owner;
    /* All listening sockets are bound, privileges are still there. False with an error: the process does not start. */
    bool (*on_bind)(void *owner, struct runtime *r, struct error *e);
    /* Nothing runs on the control thread's loop any more; workers may still run. Only after on_bind. What it asked of
     * the workers before is still told to it until runtime_run returns. */
    void (*on_stop)(void *owner, struct runtime *r);
    /* Another process is to take over: tells each listening socket of its own, with its name for listen_fds.h. NULL: it
     * has none. */
    void (*on_bequeath)(void *owner, void (*each)(void *arg, int fd, const char *name), void *arg);
    /* It has: closes them, and leaves their files. NULL: nothing to do. */
    void (*on_handed_over)(void *owner);
};

/* Where the configuration came from, to read it again; constant for the process's life. */
struct runtime_source {
    const char *path; /* NULL: nowhere, it cannot be read again */
    const struct config_override *overrides;
    size_t override_count;
    char *const *argv;         /* that the program was started with, for an upgrade; NULL: there can be none */
    uint64_t upgrade_limit_us; /* so soon the new process must serve; 0: 30 s */
};

/* Serves the configuration, which it takes over, until told to stop. `source` and `hooks` may be NULL. Returns the exit
 * status: 0 after a stop, 1 when it could not start (said on the log). */
int runtime_run(struct config *config, const struct runtime_source *source, const char *pid_path,
                const struct runtime_hooks *hooks);

/* --- for the hooks' owner, on the control thread ---------------------------------------------------------------- */

struct loop *runtime_loop(struct runtime *r);
enum runtime_state runtime_state(const struct runtime *r);
/* The configuration in force; valid until the loop's next turn unless referenced. */
struct snapshot *runtime_snapshot(const struct runtime *r);
struct registry *runtime_registry(struct runtime *r);
/* Of all client connections. */
const struct gate *runtime_gate(const struct runtime *r);
unsigned runtime_worker_count(const struct runtime *r);
/* The counters of one worker, and the sum of one counter over all of the process. */
const struct metrics *runtime_worker_metrics(const struct runtime *r, unsigned worker);
uint64_t runtime_metric(const struct runtime *r, enum metric m);
/* When it began to serve, by the loop's clock. */
uint64_t runtime_start_us(const struct runtime *r);

/* Memory that the process has in use; 0 where /proc cannot be seen, as in a chroot. */
uint64_t runtime_resident_bytes(void);

/* How many configurations are still alive: the current one, and those with exchanges that began under them. */
unsigned runtime_snapshots_alive(const struct runtime *r);

/* While on_bind runs: a listening socket of this address that was there before the process, which is the caller's then;
 * -1: there is none. *is_lent: the service manager has made it, and its file. */
int runtime_inherit(struct runtime *r, const struct addr *a, bool *is_lent);
/* No other process serves the same sockets: files of sockets that were inherited are not removed before that. */
bool runtime_is_alone(const struct runtime *r);

/* Stops gracefully; `now`, or when the workers drain already and `now` is set: at once, in this turn of the loop. */
void runtime_shutdown(struct runtime *r, bool now);
/* Opens all log files again. */
void runtime_reopen_logs(void);

/* Runs `run` on each worker's thread, with its number, then `done` on the control thread. `arg` is shared by all of
 * them: what is not constant in it must be atomic, or a place for each worker. Never calls back before it returns;
 * `done` comes also when the process stops meanwhile, at the latest before runtime_run returns. */
void runtime_broadcast(struct runtime *r, void (*run)(struct env *env, unsigned worker, void *arg),
                       void (*done)(void *arg), void *arg);
/* The same for work that grows with what there is: `step` does a portion and is called again in the loop's next turns,
 * after mail that came meanwhile, until it returns true. *at is its own to remember how far it has come on this worker;
 * 0 at first. */
void runtime_broadcast_steps(struct runtime *r, bool (*step)(struct env *env, unsigned worker, uint64_t *at, void *arg),
                             void (*done)(void *arg), void *arg);

#endif
