/* config_files_internal.h: how the files of a configuration are found and read, and noted meanwhile. */
#ifndef LOOMGATE_CONFIG_CONFIG_FILES_INTERNAL_H
#define LOOMGATE_CONFIG_CONFIG_FILES_INTERNAL_H

#include "loomgate/config/config_files.h"

#include <glob.h>

enum { FILE_SIZE_MAX = 4 * 1024 * 1024 }; /* of one file */

/* What was read, from malloc; NULL: nothing, and why. */
struct file_text {
    char *text;
    size_t len;
    bool is_regular; /* what is read from anything else would not be the same again */
    const char *why; /* a sentence; valid until the next one is read */
};
/* Reads a file of at most FILE_SIZE_MAX bytes. */
struct file_text config_file_read(const char *path);
/* glob(3) as `include` means it: a directory that is not there holds no files. */
int config_files_glob(const char *pattern, glob_t *found);

/* Notes that a file was read. */
void config_files_add(struct config_files *f, const char *path, const struct file_text *text);
/* Notes a pattern and what it means. */
void config_files_add_pattern(struct config_files *f, const char *pattern, const glob_t *found);

#endif
