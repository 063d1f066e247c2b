/* watch_ways.c: finds by inotify that something happened on the way to a file.
 *
 *   /etc/loomgate/loomgate.yaml -> ..data/loomgate.yaml, ..data -> 2026_01:
 *     /, /etc                    : moved or deleted themselves
 *     /etc/loomgate              : the same, and the names loomgate.yaml and ..data in it
 *     /etc/loomgate/2026_01      : the same, and the name loomgate.yaml in it
 *     the file itself            : written (its directory may be another one's mount), moved, deleted
 *
 * A way is walked from the top, and each thing is watched before it is looked into: what changes after the look makes
 * an event, what changed before is seen by it. */
#include "watch_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define ITSELF  (IN_DELETE_SELF | IN_MOVE_SELF)
#define ENTRIES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB)
#define CONTENT (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB)

enum { LINKS_MAX = 40, STEPS_MAX = 1000, EVENTS_SIZE = 8192 };

/* --- what is watched -------------------------------------------------------------------------------------------- */

/* -1 when it cannot be; what is not there (any more) is no failure: its parent is watched. */
static int watch_path(struct watch_ways *w, const char *path, uint32_t mask) {
    int wd = inotify_add_watch(w->fd, path, mask | IN_MASK_ADD);
    if (wd < 0 && errno != ENOENT && errno != ENOTDIR) w->error = errno;
    return wd;
}

static void watch_name(struct watch_ways *w, const char *dir, const char *name, bool is_pattern) {
    int wd = watch_path(w, dir, ITSELF | ENTRIES);
    if (wd < 0) return;
    if (w->count == w->room) {
        w->room = w->room ? w->room * 2 : 16;
        w->names = xrealloc(w->names, w->room * sizeof *w->names);
    }
    w->names[w->count++] = (struct watch_name){wd, arena_strndup(&w->arena, name, strlen(name)), is_pattern};
}

/* --- one way ---------------------------------------------------------------------------------------------------- */

struct walk {
    char at[PATH_MAX];   /* a directory, without symbolic links but for what a relative path starts from */
    char rest[PATH_MAX]; /* from there on */
    char name[NAME_MAX + 1], full[PATH_MAX];
    unsigned links;
};

static void walk_from(struct watch_ways *w, struct walk *walk) {
    snprintf(walk->at, sizeof walk->at, "%s", walk->rest[0] == '/' ? "/" : ".");
    watch_path(w, walk->at, ITSELF);
}

/* Sets `name` and `full` to the next part; false when there is none, or no path can be so long. */
static bool walk_next(struct walk *walk) {
    const char *p = walk->rest;
    size_t n;
    for (;; p += n) {
        p += strspn(p, "/");
        n = strcspn(p, "/");
        if (n != 1 || p[0] != '.') break;
    }
    if (n == 0 || n > NAME_MAX) return false;
    memcpy(walk->name, p, n);
    walk->name[n] = '\0';
    memmove(walk->rest, p + n, strlen(p + n) + 1);
    const char *dir = strcmp(walk->at, "/") == 0 ? "" : walk->at;
    int len = strcmp(dir, ".") == 0 ? snprintf(walk->full, sizeof walk->full, "%s", walk->name)
                                    : snprintf(walk->full, sizeof walk->full, "%s/%s", dir, walk->name);
    return len < (int)sizeof walk->full;
}

/* The link's target takes its place in what is left to walk; false when it cannot. */
static bool walk_link(struct watch_ways *w, struct walk *walk) {
    char target[PATH_MAX], rest[2 * PATH_MAX];
    ssize_t n = readlink(walk->full, target, sizeof target - 1);
    if (n <= 0 || ++walk->links > LINKS_MAX) return false;
    target[n] = '\0';
    int len = snprintf(rest, sizeof rest, "%s/%s", target, walk->rest);
    if (len >= (int)sizeof walk->rest) return false;
    memcpy(walk->rest, rest, (size_t)len + 1);
    if (target[0] == '/') walk_from(w, walk);
    return true;
}

/* Watches all that leads to a path; `entry` (may be NULL) is a pattern of names in it that matter. */
static void watch_way(struct watch_ways *w, const char *path, const char *entry) {
    struct walk walk = {.links = 0};
    struct stat st;
    if (snprintf(walk.rest, sizeof walk.rest, "%s", path) >= (int)sizeof walk.rest) return;
    walk_from(w, &walk);
    for (unsigned steps = 0; steps < STEPS_MAX && walk_next(&walk); steps++) {
        bool is_dir = lstat(walk.full, &st) == 0 && S_ISDIR(st.st_mode) &&
                      watch_path(w, walk.full, ITSELF | IN_ONLYDIR | IN_DONT_FOLLOW) >= 0;
        if (!is_dir) {
            watch_name(w, walk.at, walk.name, false);
            if (lstat(walk.full, &st) != 0) return;
            if (S_ISLNK(st.st_mode)) {
                if (!walk_link(w, &walk)) return;
                continue;
            }
            watch_path(w, walk.full, S_ISDIR(st.st_mode) ? ITSELF : ITSELF | CONTENT);
            if (!S_ISDIR(st.st_mode)) return;
        }
        memcpy(walk.at, walk.full, strlen(walk.full) + 1);
    }
    if (entry) watch_name(w, walk.at, entry, true);
}

/* --- patterns --------------------------------------------------------------------------------------------------- */

static bool has_wildcard(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strchr("*?[\\", text[i])) return true;
    return false;
}

/* Each directory that the part of a pattern before `dir_len` means: the part behind it is watched in it. */
static void watch_part(struct watch_ways *w, const char *pattern, size_t dir_len, const char *part) {
    char *dir = arena_strndup(&w->arena, pattern, dir_len);
    glob_t found = {0};
    if (!has_wildcard(pattern, dir_len))
        watch_way(w, dir_len ? dir : ".", part);
    else if (glob(dir, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++) watch_way(w, found.gl_pathv[i], part);
    globfree(&found);
}

static void watch_pattern(struct watch_ways *w, const char *pattern) {
    size_t len = strlen(pattern);
    if (!has_wildcard(pattern, len)) {
        watch_way(w, pattern, NULL);
        return;
    }
    for (size_t at = 0, n; at < len; at += n) {
        n = strspn(pattern + at, "/");
        size_t dir_len = at + n;
        n += strcspn(pattern + dir_len, "/");
        if (has_wildcard(pattern, at + n))
            watch_part(w, pattern, dir_len, arena_strndup(&w->arena, pattern + dir_len, at + n - dir_len));
    }
}

void ways_open(struct watch_ways *w, const struct config_files *files) {
    *w = (struct watch_ways){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
    arena_init(&w->arena, NULL, 0);
    if (w->fd < 0) {
        w->error = errno;
        return;
    }
    for (uint32_t i = 0; i < files->paths.count; i++) watch_way(w, files->paths.v[i], NULL);
    for (uint32_t i = 0; i < files->patterns.count; i++) watch_pattern(w, files->patterns.v[i]);
}

void ways_close(struct watch_ways *w) {
    if (w->fd >= 0) close(w->fd);
    arena_fini(&w->arena);
    free(w->names);
    *w = (struct watch_ways){.fd = -1};
}

/* --- what has happened ------------------------------------------------------------------------------------------ */

/* Without a name it is about what is watched itself; a lost event may have been any. */
static bool does_matter(const struct watch_ways *w, const struct inotify_event *event) {
    if (event->len == 0) return true;
    for (uint32_t i = 0; i < w->count; i++) {
        const struct watch_name *n = &w->names[i];
        if (n->wd != event->wd) continue;
        if (n->is_pattern ? fnmatch(n->name, event->name, FNM_PERIOD) == 0 : strcmp(n->name, event->name) == 0)
            return true;
    }
    return false;
}

bool ways_read(struct watch_ways *w) {
    _Alignas(struct inotify_event) char events[EVENTS_SIZE];
    bool matters = false;
    ssize_t n;
    while ((n = read(w->fd, events, sizeof events)) > 0 || (n < 0 && errno == EINTR)) {
        for (char *p = events; n > 0 && p < events + n;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)p;
            matters = matters || does_matter(w, event);
            p += sizeof *event + event->len;
        }
    }
    return matters;
}
