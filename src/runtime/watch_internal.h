/* watch_internal.h: the inotify part of watching files. */
#ifndef LOOMGATE_RUNTIME_WATCH_INTERNAL_H
#define LOOMGATE_RUNTIME_WATCH_INTERNAL_H

#include "loomgate/runtime/watch.h"

/* Watches what leads to the files and patterns, as it is now. What could not be is in w->error. */
void ways_open(struct watch_ways *w, const struct config_files *files);
void ways_close(struct watch_ways *w);
/* Takes all events that wait; true when one of them matters. */
bool ways_read(struct watch_ways *w);

#endif
