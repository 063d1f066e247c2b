/* heir.h: the new process's side of an upgrade: what it was given by the one before, and what they say to each other on
 * the channel, a message each (SOCK_SEQPACKET). The picture is in upgrade.h. */
#ifndef LOOMGATE_RUNTIME_HEIR_H
#define LOOMGATE_RUNTIME_HEIR_H

#include <stdbool.h>
#include <stdio.h>

#define HEIR_SAYS_STATE   "state"
#define HEIR_SAYS_SERVING "serving"
#define HEIR_SAYS_FAILED  "failed " /* followed by a sentence */
/* LIMIT: none of the two waits longer for the other. */
enum { HEIR_MESSAGE_MAX = 600, HEIR_LIMIT_US = 30000000 };

struct heir {
    int channel, state_fd; /* -1: it is no heir, or has done */
};

/* Reads the variable (spawn.h) and removes it; on the main thread before there are others. */
void heir_open(struct heir *h);
bool heir_is_one(const struct heir *h);
/* Waits until the old one has written its state down, which is read from there on; NULL: there is none. fclose() it. */
FILE *heir_ask_state(struct heir *h);
/* The last word: what it has had in common with the old one is its own now, or never. */
void heir_say_serving(struct heir *h);
void heir_say_failed(struct heir *h, const char *why);
/* For a process that cannot even begin, as its file is in error: tells the one that has started it, if any has. */
void heir_decline(const char *why);

#endif
