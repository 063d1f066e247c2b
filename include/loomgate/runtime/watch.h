/* watch.h: tells when the configuration has become another one: the files it was read from, those that its patterns
 * mean, and all symbolic links and directories on the way to them.
 *
 *   WAITING --something happened to them--> SETTLING --nothing more for quiet_us, or latest_us over--> look:
 *     read all of it --the same as before--> WAITING
 *                    --another content--> on_change --> WAITING
 *
 * Where inotify cannot be used (its limits are reached), it looks each poll_us besides, and says so on the log. */
#ifndef LOOMGATE_RUNTIME_WATCH_H
#define LOOMGATE_RUNTIME_WATCH_H

#include "loomgate/config/config_files.h"
#include "loomgate/net/loop.h"

enum { WATCH_QUIET_US = 200000, WATCH_LATEST_US = 2000000, WATCH_POLL_US = 5000000 };

/* A name in a watched directory that matters. */
struct watch_name {
    int wd;
    const char *name;
    bool is_pattern;
};
/* What inotify looks at; made anew after each change, as other files may be meant then. */
struct watch_ways {
    int fd;    /* -1: no inotify */
    int error; /* why something is not watched; 0: everything is */
    struct arena arena;
    struct watch_name *names;
    uint32_t count, room;
};

struct watch {
    struct loop *loop; /* NULL: stopped */
    struct arena arena;
    struct config_files files;
    uint64_t hash; /* of what was there when it was last read */
    struct watch_ways ways;
    ev_io io;
    struct deadline quiet, latest, poll;
    uint64_t quiet_us, latest_us, poll_us;
    bool told_error;
    void *owner;
    void (*on_change)(void *owner);
};

/* The times are the defaults above; they may be set before watch_start. `on_change` may stop the watch or start it
 * anew. */
void watch_init(struct watch *w, void (*on_change)(void *owner), void *owner);
/* Begins, or begins anew with other files: those of the configuration in force, or, when a reload failed, those that
 * the failed one was read from (diagnostics.files). They are copied. What has changed since they were read is told
 * too; never before this returns. Reads all files. */
void watch_start(struct watch *w, struct loop *loop, const struct config_files *files);
/* Also when it was never started. */
void watch_stop(struct watch *w);

#endif
