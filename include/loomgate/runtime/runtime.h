/* runtime.h: the control thread: workers, signals, shutdown.
 *
 *   runtime_run: bind -> drop privileges -> start workers -> READY --SIGTERM--> DRAINING --all drained, or grace over,
 *   or a second SIGTERM--> STOPPED */
#ifndef LOOMGATE_RUNTIME_RUNTIME_H
#define LOOMGATE_RUNTIME_RUNTIME_H

#include "loomgate/config/config.h"

/* Serves the configuration, which it takes over, until told to stop. Returns the exit status: 0 after a stop, 1 when it
 * could not start (said on the log). */
int runtime_run(struct config *config, const char *pid_path);

#endif
