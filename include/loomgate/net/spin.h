/* spin.h: whether a loop looks for events once more before it sleeps.
 *
 *    events --> look --nothing--> look --nothing--> ... `most` times --> sleep until there are events
 *      ^          |                 |
 *      +----------+---- events -----+
 *
 * To wake a thread costs the one that wakes it and the machine more than a few looks, and the event waits meanwhile.
 * But looks that find nothing are lost time, so a loop does it only as long as it finds something often enough: each
 * event that a look found, when sleeping would have been next, is worth SPIN_WORTH rounds in vain. (Spinning before
 * blocking, by what it brought before: Karlin, Li, Manasse and Owicki, "Empirical studies of competitive spinning for a
 * shared-memory multiprocessor", SOSP 1991.) */
#ifndef LOOMGATE_NET_SPIN_H
#define LOOMGATE_NET_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* Without trust each SPIN_TRIAL-th time is a try, so that it can be won. */
enum { SPIN_WORTH = 12, SPIN_TRUST_MAX = 240, SPIN_TRIAL = 64 };

struct spin {
    uint16_t most;  /* looks before a sleep; 0: it always sleeps at once */
    uint16_t left;  /* of this round; 0: none is under way */
    uint8_t trust;  /* rounds in vain that are still allowed */
    uint8_t passed; /* chances not taken, counted around */
};

/* At the end of a turn that had events (`served`), or of a look that found none: true when the loop is not to sleep. */
bool spin_again(struct spin *s, bool served);

#endif
