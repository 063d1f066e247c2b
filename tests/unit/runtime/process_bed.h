/* process_bed.h: a runtime in a process of its own, with two workers, one frontend on a UNIX socket and an answer of
 * its own; its log, on standard error, is what a test goes by. */
#ifndef TESTS_UNIT_RUNTIME_PROCESS_BED_H
#define TESTS_UNIT_RUNTIME_PROCESS_BED_H

#include "loomgate/runtime/runtime.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 20000, LOG_MAX = 16384 };

static char dir[32], socket_path[64];
static pid_t child;
static int log_fd; /* what the child logs */
static char text[LOG_MAX];
static size_t text_len;

static inline void process_begin(void) {
    strcpy(dir, "/tmp/lg-runtime-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(socket_path, sizeof socket_path, "%s/web", dir);
    text[text_len = 0] = '\0';
    child = -1;
    log_fd = -1;
}

/* What else the test has put into the folder is gone by then. */
static inline void process_end(void) {
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    if (log_fd >= 0) close(log_fd);
    unlink(socket_path);
    rmdir(dir);
}

static inline struct config *make_config(void) {
    struct config *c = config_make();
    struct addr at = addr_make_unix(socket_path);
    struct frontend_settings *f = config_add_frontend(c, "web");
    struct listener_settings *l = arena_calloc(&c->arena, sizeof *l);
    *l = (struct listener_settings){.address = address_make(&c->arena, &at), .backlog = 64};
    f->listeners = l;
    f->listener_count = 1;
    config_add_route(c, f, "own", "/")->respond.body = SLICE("mine");
    c->global = (struct global_settings){
        .workers = 2,
        .max_connections = 100,
        .log = {.on = true, .level = LEVEL_INFO, .target = LOG_TO_STDERR, .format = FORMAT_JSON, .queue = 64},
        .shutdown_grace_us = 60000000,
    };
    return c;
}

static inline void process_spawn(struct config *c, const struct runtime_source *source, const char *pid_path,
                                 const struct runtime_hooks *hooks) {
    int ends[2];
    assert_return_code(pipe(ends), errno);
    child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        _exit(runtime_run(c, source, pid_path, hooks));
    }
    assert_true(child > 0);
    close(ends[1]);
    log_fd = ends[0];
    config_free(c);
}

/* Reads the child's log until it has told `event`, or has ended. */
static inline bool read_log_until(const char *event) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"event\":\"%s\"", event);
    while (!strstr(text, wanted)) {
        struct pollfd p = {.fd = log_fd, .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) != 1) return false;
        ssize_t n = read(log_fd, text + text_len, LOG_MAX - 1 - text_len);
        if (n <= 0) return false;
        text[text_len += (size_t)n] = '\0';
    }
    return true;
}

static inline void await_event(const char *event) {
    if (!read_log_until(event)) fail_msg("no event \"%s\" in:\n%s", event, text);
}

#endif
