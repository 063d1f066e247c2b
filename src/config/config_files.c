/* config_files.c: finds and reads the files of a configuration, and tells whether they have changed. */
#include "loomgate/config/config_files.h"

#include "config_files_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* Reads all of a descriptor, one byte more than allowed at most; NULL with errno. From malloc. */
static char *read_all(int fd, size_t *len) {
    size_t room = 65536;
    char *text = xmalloc(room);
    for (*len = 0;;) {
        ssize_t n = read(fd, text + *len, room - *len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return free(text), NULL;
        *len += (size_t)n;
        if (n == 0 || *len > FILE_SIZE_MAX) return text;
        if (*len == room) text = xrealloc(text, room *= 2);
    }
}

static const char *why_unreadable(int fd, struct stat *st) {
    if (fd < 0) return strerror(errno);
    if (fstat(fd, st) != 0) return strerror(errno);
    if (S_ISDIR(st->st_mode)) return "it is a directory";
    if (S_ISBLK(st->st_mode)) return "it is a device";
    if (S_ISREG(st->st_mode) && st->st_size > FILE_SIZE_MAX) return "it has more than 4 MiB";
    return NULL;
}

struct file_text config_file_read(const char *path) {
    struct stat st = {0};
    struct file_text f = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    f.why = why_unreadable(fd, &st);
    f.is_regular = S_ISREG(st.st_mode);
    if (!f.why && !(f.text = read_all(fd, &f.len))) f.why = strerror(errno);
    if (!f.why && f.len > FILE_SIZE_MAX) f.why = "it has more than 4 MiB";
    if (fd >= 0) close(fd);
    if (f.why) free(f.text), f.text = NULL, f.len = 0;
    return f;
}

/* All else than a missing directory stops the search. */
static int on_glob_error(const char *path, int error_number) {
    (void)path;
    return error_number != ENOENT && error_number != ENOTDIR;
}

int config_files_glob(const char *pattern, glob_t *found) {
    *found = (glob_t){0};
    return glob(pattern, 0, on_glob_error, found);
}

/* --- hashes ----------------------------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits. */
static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < len; i++) hash = (hash ^ p[i]) * 0x100000001b3U;
    return hash;
}

static uint64_t hash_text(uint64_t hash, const char *text) {
    return hash_bytes(hash, text, strlen(text) + 1);
}

/* All that is hashed is added up, so that it does not matter in which order it was found: each thing has its number. */
static uint64_t hash_start(char kind, uint32_t number) {
    uint64_t hash = hash_bytes(0xcbf29ce484222325U, &kind, 1);
    return hash_bytes(hash, &number, sizeof number);
}

static uint64_t hash_file(uint32_t number, const char *path, const struct file_text *text) {
    uint64_t hash = hash_text(hash_start('f', number), path);
    if (!text->is_regular || !text->text) return hash_text(hash, "unreadable");
    return hash_bytes(hash_text(hash, "text"), text->text, text->len);
}

static uint64_t hash_pattern(uint32_t number, const char *pattern, const glob_t *found) {
    uint64_t hash = hash_text(hash_start('p', number), pattern);
    for (size_t i = 0; i < found->gl_pathc; i++) hash = hash_text(hash, found->gl_pathv[i]);
    return hash;
}

/* A pipe would be used up by reading it, or keep us waiting. */
static bool is_regular(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

uint64_t config_files_hash(const struct config_files *f) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < f->paths.count; i++) {
        struct file_text text = {0};
        if (is_regular(f->paths.v[i])) text = config_file_read(f->paths.v[i]);
        hash += hash_file(i, f->paths.v[i], &text);
        free(text.text);
    }
    for (uint32_t i = 0; i < f->patterns.count; i++) {
        glob_t found;
        config_files_glob(f->patterns.v[i], &found);
        hash += hash_pattern(i, f->patterns.v[i], &found);
        globfree(&found);
    }
    return hash;
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

static uint32_t add_path(struct arena *a, struct path_list *list, const char *path) {
    if (list->count == list->room) {
        const char **v = arena_alloc(a, (list->room * 2 + 8) * sizeof *v);
        if (list->count) memcpy(v, list->v, list->count * sizeof *v);
        list->v = v;
        list->room = list->room * 2 + 8;
    }
    list->v[list->count] = arena_strndup(a, path, strlen(path));
    return list->count++;
}

void config_files_init(struct config_files *f, struct arena *a) {
    *f = (struct config_files){.arena = a};
}

void config_files_copy(struct config_files *to, const struct config_files *from, struct arena *a) {
    config_files_init(to, a);
    for (uint32_t i = 0; i < from->paths.count; i++) add_path(a, &to->paths, from->paths.v[i]);
    for (uint32_t i = 0; i < from->patterns.count; i++) add_path(a, &to->patterns, from->patterns.v[i]);
    to->hash = from->hash;
}

void config_files_add(struct config_files *f, const char *path, const struct file_text *text) {
    f->hash += hash_file(add_path(f->arena, &f->paths, path), path, text);
}

void config_files_add_pattern(struct config_files *f, const char *pattern, const glob_t *found) {
    f->hash += hash_pattern(add_path(f->arena, &f->patterns, pattern), pattern, found);
}
