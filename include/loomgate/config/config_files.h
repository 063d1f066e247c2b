/* config_files.h: the files that a configuration is read from, for whoever watches them: their paths, the patterns that
 * named them, and what was in them as one number. */
#ifndef LOOMGATE_CONFIG_CONFIG_FILES_H
#define LOOMGATE_CONFIG_CONFIG_FILES_H

#include "loomgate/base/mem.h"

#include <stdint.h>

struct path_list {
    const char **v;
    uint32_t count, room;
};

struct config_files {
    struct arena *arena;       /* of all below */
    struct path_list paths;    /* in the order in which they were read, those that could not be read too */
    struct path_list patterns; /* of `include`, with the directory that they are relative to */
    uint64_t hash;             /* of all contents, and of what each pattern means */
};

void config_files_init(struct config_files *f, struct arena *a);
void config_files_copy(struct config_files *to, const struct config_files *from, struct arena *a);
/* The hash as it would be if all were read now. Blocks for the time that reading takes. */
uint64_t config_files_hash(const struct config_files *f);

#endif
