/* spawn.c: another program as a child, with descriptors of this process.
 *
 * The process has threads, so between vfork() and execve() nothing happens that is not async-signal-safe: everything is
 * made before, but for the pid's digits. Descriptors go by two steps, as their new numbers may be those of others:
 *
 *   here:  fd --F_DUPFD_CLOEXEC--> one above all new numbers        in the child:  --dup2--> 3, 4, ... without
 *                                                                                            close-on-exec  */
#include "loomgate/runtime/spawn.h"

#include "loomgate/base/mem.h"
#include "loomgate/runtime/listen_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MORE = 2, PID_TEXT = 32, NUMBERS_TEXT = 64, EXIT_NO_EXEC = 127 };

void spawn_init(struct spawn *s) {
    *s = (struct spawn){0};
}

void spawn_fini(struct spawn *s) {
    free(s->fds);
    free(s->names);
}

void spawn_add(struct spawn *s, int fd, const char *name) {
    size_t len = strlen(name) + 1;
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 16;
        s->fds = xrealloc(s->fds, s->room * sizeof *s->fds);
    }
    if (s->names_len + len > s->names_room) {
        s->names_room = (s->names_len + len) * 2;
        s->names = xrealloc(s->names, s->names_room);
    }
    if (s->count) s->names[s->names_len - 1] = ':';
    memcpy(s->names + s->names_len, name, len);
    s->names_len += len;
    s->fds[s->count++] = fd;
}

/* --- what the child needs --------------------------------------------------------------------------------------- */

struct plan {
    const char *path;
    char *const *argv;
    char **environment;
    char pid_text[PID_TEXT], count_text[NUMBERS_TEXT], numbers_text[NUMBERS_TEXT], *names_text;
    int *fds; /* above the new numbers; behind them where an error is told */
    unsigned count;
};

static bool is_ours(const char *variable) {
    static const char *const names[] = {"LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", SPAWN_VARIABLE "="};
    for (size_t i = 0; i < LG_COUNT(names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static void make_environment(struct plan *p, const struct spawn *s) {
    static const char names[] = "LISTEN_FDNAMES=";
    size_t count = 0, size = sizeof names + s->names_len;
    while (environ[count]) count++;
    p->environment = xcalloc(count + 5, sizeof *p->environment);
    p->names_text = xmalloc(size);
    snprintf(p->pid_text, PID_TEXT, "LISTEN_PID=");
    snprintf(p->count_text, NUMBERS_TEXT, "LISTEN_FDS=%u", s->count);
    snprintf(p->numbers_text, NUMBERS_TEXT, SPAWN_VARIABLE "=%u %u", LISTEN_FDS_FIRST + s->count,
             LISTEN_FDS_FIRST + s->count + 1);
    snprintf(p->names_text, size, "%s%s", names, s->count ? s->names : "");
    char **to = p->environment;
    for (size_t i = 0; i < count; i++)
        if (!is_ours(environ[i])) *to++ = environ[i];
    *to++ = p->numbers_text;
    *to++ = p->pid_text;
    *to++ = p->count_text;
    *to++ = p->names_text;
}

static void plan_fini(struct plan *p) {
    for (unsigned i = 0; i < p->count; i++) close(p->fds[i]);
    free(p->fds);
    free(p->environment);
    free(p->names_text);
}

static bool lift(struct plan *p, int fd, unsigned above, struct error *e) {
    p->fds[p->count] = fcntl(fd, F_DUPFD_CLOEXEC, LISTEN_FDS_FIRST + (int)above);
    if (p->fds[p->count] < 0) return error_set_errno(e, "a descriptor cannot be duplicated");
    p->count++;
    return true;
}

static bool lift_all(struct plan *p, const struct spawn *s, int channel, int state, int error_fd, struct error *e) {
    unsigned above = s->count + MORE;
    p->fds = xcalloc(above + 1, sizeof *p->fds);
    for (unsigned i = 0; i < s->count; i++)
        if (!lift(p, s->fds[i], above, e)) return false;
    return lift(p, channel, above, e) && lift(p, state, above, e) && lift(p, error_fd, above, e);
}

/* --- in the child ----------------------------------------------------------------------------------------------- */

static void put_pid(char *text) {
    char digits[PID_TEXT];
    size_t n = 0;
    for (unsigned long pid = (unsigned long)getpid(); pid; pid /= 10) digits[n++] = (char)('0' + pid % 10);
    char *to = text + strlen(text);
    while (n) *to++ = digits[--n];
    *to = '\0';
}

/* Ignored signals would stay so over execve(); the parent's handlers must not run here. All are blocked until then. */
static void reset_signals(void) {
    struct sigaction fresh = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++) sigaction(i, &fresh, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Never returns. The last descriptor takes an errno, and is closed by a program that is executed. */
static _Noreturn __attribute__((noinline)) void run_child(struct plan *p) {
    unsigned last = p->count - 1;
    bool ok = true;
    put_pid(p->pid_text);
    reset_signals();
    for (unsigned i = 0; ok && i < last; i++) ok = dup2(p->fds[i], LISTEN_FDS_FIRST + (int)i) >= 0;
    if (ok) execve(p->path, p->argv, p->environment);
    int error_number = errno;
    if (write(p->fds[last], &error_number, sizeof error_number) < 0) _exit(EXIT_NO_EXEC);
    _exit(EXIT_NO_EXEC);
}

/* --- the parent ------------------------------------------------------------------------------------------------- */

static pid_t start(struct plan *p) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* fork() would have all workers copy their pages; see the head of the file for why it is safe. */
    pid_t pid = vfork();        /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
    if (pid == 0) run_child(p); /* NOLINT(clang-analyzer-unix.Vfork) */
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

/* False: it is one that could not be executed, and has ended. */
static bool was_executed(pid_t pid, int error_fd, const char *path, struct error *e) {
    int error_number;
    ssize_t n;
    do n = read(error_fd, &error_number, sizeof error_number);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof error_number) return true;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    errno = error_number;
    return error_set_errno(e, "'%s' cannot be started", path);
}

bool spawn_run(struct spawn *s, const char *path, char *const *argv, int channel, int state, pid_t *pid,
               struct error *e) {
    struct plan p = {.path = path, .argv = argv};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return error_set_errno(e, "there is no pipe");
    make_environment(&p, s);
    bool ok = lift_all(&p, s, channel, state, ends[1], e);
    close(ends[1]);
    if (ok) {
        *pid = start(&p);
        ok = *pid > 0 || error_set_errno(e, "there is no process for '%s'", path);
    }
    plan_fini(&p);
    ok = ok && was_executed(*pid, ends[0], path, e);
    close(ends[0]);
    return ok;
}
