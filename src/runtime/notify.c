/* notify.c: tells the service manager how the process is (sd_notify(3)'s protocol). */
#include "loomgate/runtime/notify.h"

#include "loomgate/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 1, LINES_MAX = 600 };

/* A path, or behind '@' a name that is in no file system. */
static bool set_address(struct notify *n, const char *path) {
    size_t len = strlen(path);
    n->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof n->to.sun_path) return false;
    memcpy(n->to.sun_path, path, len);
    if (path[0] == '@') n->to.sun_path[0] = '\0';
    n->to_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
    return true;
}

static bool connect_to(const struct notify *n) {
    return connect(n->fd, (const struct sockaddr *)&n->to, n->to_len) == 0;
}

static bool tell_failure(const char *error) {
    log_warn("notify_failed", "the service manager could not be told", LOG_STR("error", error));
    return false;
}

void notify_open(struct notify *n) {
    const char *path = getenv("NOTIFY_SOCKET");
    *n = (struct notify){.fd = -1};
    if (!path || !path[0]) return;
    if (!set_address(n, path)) {
        tell_failure("NOTIFY_SOCKET is neither a path nor @NAME");
        return;
    }
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (n->fd < 0) {
        tell_failure(strerror(errno));
        return;
    }
    struct timeval patience = {.tv_sec = PATIENCE_S};
    setsockopt(n->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    connect_to(n); /* what fails now is tried, and told, when there is something to send */
}

void notify_close(struct notify *n) {
    if (n->fd >= 0) close(n->fd);
    n->fd = -1;
}

static bool send_lines(const struct notify *n, const char *lines) {
    ssize_t sent;
    do sent = send(n->fd, lines, strlen(lines), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

bool notify_send(struct notify *n, const char *lines) {
    if (n->fd < 0) return true;
    /* The receiver may have been started anew, with a new socket in the old place. */
    if (send_lines(n, lines) || (errno != EAGAIN && connect_to(n) && send_lines(n, lines))) return true;
    return tell_failure(strerror(errno));
}

static bool send_state(struct notify *n, const char *state, const char *status) {
    char lines[LINES_MAX];
    snprintf(lines, sizeof lines, "%s%s%s", state, status ? "\nSTATUS=" : "", status ? status : "");
    return notify_send(n, lines);
}

bool notify_ready(struct notify *n, const char *status) {
    return send_state(n, "READY=1", status);
}

bool notify_stopping(struct notify *n, const char *status) {
    return send_state(n, "STOPPING=1", status);
}

/* The time tells this reload from one that was asked for before. */
bool notify_reloading(struct notify *n, const char *status) {
    char state[80];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    return send_state(n, state, status);
}

bool notify_main_pid(struct notify *n, pid_t pid) {
    char state[40];
    snprintf(state, sizeof state, "MAINPID=%ld", (long)pid);
    return send_state(n, state, NULL);
}
