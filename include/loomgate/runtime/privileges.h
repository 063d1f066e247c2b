/* privileges.h: what only root may do is done, then given up. */
#ifndef LOOMGATE_RUNTIME_PRIVILEGES_H
#define LOOMGATE_RUNTIME_PRIVILEGES_H

#include "loomgate/base/error.h"
#include "loomgate/config/config.h"

/* chroot, group, user, as far as they are set, for good. After binding and opening logs. */
LG_MUST_CHECK bool privileges_drop(const struct global_settings *g, struct error *e);
/* Raises the limit of descriptors as far as it goes; returns it. */
uint64_t privileges_raise_descriptors(void);

#endif
