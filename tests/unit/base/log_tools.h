/* log_tools.h: what the tests of the log share: a folder of its own a test, files and pipes read back, bounded waits.
 */
#ifndef LOOMGATE_TESTS_LOG_TOOLS_H
#define LOOMGATE_TESTS_LOG_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/base/log.h"
#include "loomgate/base/mem.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
enum { PATIENCE_MS = 10000 };

static char folder[64];

static UNUSED int folder_make(void **state) {
    (void)state;
    strcpy(folder, "/tmp/loomgate-log-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_unlink(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static UNUSED int folder_remove(void **state) {
    (void)state;
    log_configure(NULL, FORMAT_TEXT, LEVEL_INFO);
    return nftw(folder, folder_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* "<folder>/<name>"; the caller frees it. */
static UNUSED char *path_of(const char *name) {
    char *path = xmalloc(strlen(folder) + strlen(name) + 2);
    sprintf(path, "%s/%s", folder, name);
    return path;
}

/* All that the descriptor gives until its end, NUL-terminated; the caller frees it. */
static UNUSED char *read_all(int fd) {
    size_t n = 0, room = 65536;
    char *text = xmalloc(room);
    for (;;) {
        ssize_t got = read(fd, text + n, room - n - 1);
        if (got <= 0) break;
        n += (size_t)got;
        if (room - n < 32768) text = xrealloc(text, room *= 2);
    }
    text[n] = '\0';
    return text;
}

static UNUSED char *read_file(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return xstrdup("");
    char *text = read_all(fd);
    close(fd);
    return text;
}

static UNUSED struct log_sink *open_sink(enum log_target target, const char *path) {
    struct error e = {""};
    struct log_sink *s = log_open(target, path, &e);
    assert_string_equal(e.text, "");
    assert_non_null(s);
    return s;
}

static UNUSED bool in_time(time_t *deadline) {
    if (!*deadline) *deadline = time(NULL) + PATIENCE_MS / 1000;
    sched_yield();
    return time(NULL) <= *deadline;
}

static UNUSED void wait_for_size(const char *path, off_t size) {
    time_t deadline = 0;
    struct stat st;
    while (stat(path, &st) != 0 || st.st_size < size) assert_true(in_time(&deadline));
}

static UNUSED void put_line(struct log_sink *s, const char *line) {
    char *at = log_reserve(s, strlen(line));
    assert_non_null(at);
    memcpy(at, line, strlen(line));
    log_commit(strlen(line));
    log_flush();
}

#endif
