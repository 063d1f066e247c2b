/* privileges.h: what only root may do is done, then given up. */
#ifndef LOOMGATE_RUNTIME_PRIVILEGES_H
#define LOOMGATE_RUNTIME_PRIVILEGES_H

#include "loomgate/base/error.h"
#include "loomgate/config/config.h"

#include <sys/types.h>

/* A user or a group by its name, or by its number in decimal. Reads the system's files: before chroot. */
LG_MUST_CHECK bool privileges_find_user(const char *name, uid_t *uid, struct error *e);
LG_MUST_CHECK bool privileges_find_group(const char *name, gid_t *gid, struct error *e);
/* chroot, group, user, as far as they are set, for good. After binding and opening logs. */
LG_MUST_CHECK bool privileges_drop(const struct global_settings *g, struct error *e);
/* Raises the limit of descriptors as far as it goes; returns it. */
uint64_t privileges_raise_descriptors(void);
/* Has the kernel make room for so many descriptors, or as many as the limit allows. Before there are other threads:
 * growing a table that threads share makes the one that opens a descriptor wait for all CPUs, for milliseconds. */
void privileges_reserve_descriptors(uint64_t count);

#endif
