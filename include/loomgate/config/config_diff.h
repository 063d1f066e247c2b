/* config_diff.h: the difference between two configurations, key by key, as it would be told to an operator.
 *
 * Things with a name (frontends, backends, servers, routes; listeners by their address, control sockets by their path)
 * are compared by that name: a renamed one is removed and added, each told as one entry. What two files say in
 * different words but means the same (a default written out, 60s and 1m) is no difference. */
#ifndef LOOMGATE_CONFIG_CONFIG_DIFF_H
#define LOOMGATE_CONFIG_CONFIG_DIFF_H

#include "loomgate/config/schema.h"

enum change_kind {
    CHANGE_ADDED,   /* only `after` */
    CHANGE_REMOVED, /* only `before` */
    CHANGE_VALUE,   /* both */
    CHANGE_MOVED,   /* of routes and servers, whose order means something: both are positions, from 1 */
};

struct config_change {
    enum change_kind kind;
    enum reload_class reload;
    const char *path;           /* backends.app.servers.a2.weight */
    const char *before, *after; /* as one would write it in YAML on one line, without what is a default; may be NULL */
};

struct config_diff {
    struct arena arena; /* of all texts */
    struct config_change *v;
    uint32_t count, room;
    uint32_t restart_count; /* changes that only a restart makes */
};

/* The changes from one configuration to the other: global, frontends, backends, each in the order of the new file,
 * with what was removed where it stood. The configurations are not needed any more afterwards. */
void config_diff_init(struct config_diff *d, const struct config *before, const struct config *after);
void config_diff_fini(struct config_diff *d);

/* Those settings of `global` that only a restart changes become those of the running configuration, whose arena must
 * live as long as `c`: the one exception to its being constant, before anybody else sees it. */
void config_keep_fixed(struct config *c, const struct config *running);

/* "added", "removed", "changed", "moved" */
const char *change_kind_name(enum change_kind kind);
/* A line a change, for eyes: long values are cut. Nothing when nothing changes. */
void config_diff_print(const struct config_diff *d, FILE *out);

#endif
