/* plan_client.c: asks the running process by its control socket, as a shell would by socat. */
#include "loomgate/control/plan_client.h"

#include "loomgate/control/line.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

const char *plan_socket(const struct config *config) {
    const struct global_settings *g = &config->global;
    for (uint32_t i = 0; i < g->control_count; i++)
        if (g->controls[i].level == CONTROL_ADMIN) return g->controls[i].socket;
    return NULL;
}

/* --- the question ----------------------------------------------------------------------------------------------- */

static void put_quoted(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc(*text, out);
    }
}

char *plan_command(const char *folder, const char *path) {
    char *text = NULL;
    size_t len = 0;
    if (strpbrk(folder, "\r\n") || strpbrk(path, "\r\n")) return NULL;
    FILE *out = open_memstream(&text, &len);
    LG_ASSERT(out != NULL);
    fputs("config plan \"", out);
    if (*path != '/') {
        put_quoted(out, folder);
        fputc('/', out);
    }
    put_quoted(out, path);
    fputs("\"\n", out);
    fclose(out);
    if (len <= CONTROL_LINE_MAX) return text;
    free(text);
    return NULL;
}

/* --- the connection --------------------------------------------------------------------------------------------- */

struct asking {
    int fd;
    uint64_t until_us;
    char *text; /* what has come */
    size_t len;
};

static uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
}

/* Until `events`, or an error, is there; false with ETIMEDOUT when that takes too long. */
static bool wait_for(const struct asking *a, short events) {
    for (;;) {
        uint64_t now_us = clock_us();
        struct pollfd p = {.fd = a->fd, .events = events};
        int found = now_us < a->until_us ? poll(&p, 1, (int)((a->until_us - now_us + 999) / 1000)) : 0;
        if (found > 0) return true;
        if (found < 0 && errno == EINTR) continue;
        if (found == 0) errno = ETIMEDOUT;
        return false;
    }
}

/* A full queue of UNIX sockets tells nobody when it has room: the kernel waits, for a limit of its own. */
static bool reach(struct asking *a, const char *socket_path, uint64_t wait_us) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const struct timeval limit = {(time_t)(wait_us / 1000000), (suseconds_t)(wait_us % 1000000)};
    size_t len = strlen(socket_path);
    if (len >= sizeof at.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(at.sun_path, socket_path, len + 1);
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (a->fd < 0 || setsockopt(a->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) return false;
    if (connect(a->fd, (const struct sockaddr *)&at, sizeof at) == 0) return true;
    if (errno == EAGAIN) errno = ETIMEDOUT;
    return false;
}

static bool send_all(const struct asking *a, const char *text) {
    for (size_t left = strlen(text); left;) {
        ssize_t n = wait_for(a, POLLOUT) ? send(a->fd, text, left, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
        if (n > 0) text += n, left -= (size_t)n;
    }
    return shutdown(a->fd, SHUT_WR) == 0;
}

/* Up to the end of the connection, which follows the answer as there is no other question. */
static bool read_all(struct asking *a) {
    enum { PIECE = 16384 };
    for (ssize_t n = 1; n;) {
        a->text = xrealloc(a->text, a->len + PIECE + 1);
        n = wait_for(a, POLLIN) ? recv(a->fd, a->text + a->len, PIECE, MSG_DONTWAIT) : -1;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
        if (n > 0) a->len += (size_t)n;
    }
    a->text[a->len] = '\0';
    return true;
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

/* A sentence for what errno says. */
static void explain(const char *socket_path, uint64_t wait_us, struct error *e) {
    if (errno == ETIMEDOUT)
        error_set(e, "the control socket %s did not answer within %g s", socket_path, (double)wait_us / 1e6);
    else if (errno == EACCES || errno == EPERM)
        error_set_errno(e, "the control socket %s does not let this user in: its owner, or root, has to ask",
                        socket_path);
    else
        error_set_errno(e,
                        "nobody answers at the control socket %s: is LoomGate running, with this socket in its file?",
                        socket_path);
}

/* Cuts the empty line off; false: the answer is none, or an error. */
static bool take_answer(struct asking *a, const char *socket_path, struct error *e) {
    static const char error[] = "error: ";
    if (a->len < 2 || memcmp(a->text + a->len - 2, "\n\n", 2) != 0)
        return error_set(e, "the control socket %s closed the connection before the answer was complete", socket_path);
    a->text[--a->len] = '\0';
    if (strncmp(a->text, error, sizeof error - 1) != 0) return true;
    const char *sentence = a->text + sizeof error - 1;
    return error_set(e, "the process at the control socket %s says: %.*s", socket_path, (int)strcspn(sentence, "\n"),
                     sentence);
}

/* The answer is a's then, from malloc. */
static bool ask(struct asking *a, const char *socket_path, const char *command, uint64_t wait_us, struct error *e) {
    if (reach(a, socket_path, wait_us) && send_all(a, command) && read_all(a)) return take_answer(a, socket_path, e);
    explain(socket_path, wait_us, e);
    return false;
}

char *plan_ask(const char *socket_path, const char *path, uint64_t wait_us, struct error *e) {
    char folder[PATH_MAX] = "";
    struct asking a = {.fd = -1, .until_us = clock_us() + wait_us};
    if (*path != '/' && !getcwd(folder, sizeof folder)) {
        error_set_errno(e, "cannot tell which folder this is");
        return NULL;
    }
    char *command = plan_command(folder, path);
    if (!command) {
        error_set(e, "the control socket %s cannot be told a path like %s", socket_path, path);
        return NULL;
    }
    bool ok = ask(&a, socket_path, command, wait_us, e);
    if (a.fd >= 0) close(a.fd);
    free(command);
    if (ok) return a.text;
    free(a.text);
    return NULL;
}
