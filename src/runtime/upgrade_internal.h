/* upgrade_internal.h: the two ends of an upgrade, and what goes from one to the other. */
#ifndef LOOMGATE_RUNTIME_UPGRADE_INTERNAL_H
#define LOOMGATE_RUNTIME_UPGRADE_INTERNAL_H

#include "loomgate/net/loop.h"
#include "loomgate/runtime/upgrade.h"

#include <stdio.h>

/* What is said on the channel, a message each (SOCK_SEQPACKET). UPGRADE_SAYS_FAILED is followed by a sentence. */
#define UPGRADE_SAYS_STATE   "state"
#define UPGRADE_SAYS_SERVING "serving"
#define UPGRADE_SAYS_FAILED  "failed "
enum { UPGRADE_MESSAGE_MAX = 600, UPGRADE_LIMIT_US = 30000000 };

enum upgrade_phase { UPGRADE_NONE, UPGRADE_WAITS, UPGRADE_STARTS, UPGRADE_ENDS, UPGRADE_OVER };

/* The old one's; all zero: there is none. */
struct upgrade {
    enum upgrade_phase phase;
    pid_t pid;                     /* of the new one */
    int channel, state_fd, pidfd;  /* from STARTS on, and no more when it has failed */
    ev_io heard, ended;            /* of the channel, and the new one's end */
    struct loop_timer limit;       /* until it must serve */
    char why[UPGRADE_MESSAGE_MAX]; /* that it is not going to: its own sentence, or ours */
    bool is_own;                   /* its own */
    upgrade_done *done;
    void *arg;
    uint64_t began_us;
};

/* The new one's: what it was given. */
struct heir {
    int channel, state_fd; /* -1: it is no heir, or has done */
};
/* Reads the variable and removes it; on the main thread before there are others. */
void heir_open(struct heir *h);
bool heir_is_one(const struct heir *h);
/* Waits until the old one has written its state down, which is read from there on; NULL: there is none. fclose() it. */
FILE *heir_ask_state(struct heir *h);
/* The last word: what it had in common with the old one is its own now, or never. */
void heir_say_serving(struct heir *h);
void heir_say_failed(struct heir *h, const char *why);

/* upgrade_state.c: the state of everything, as lines of facts. */
void upgrade_print(struct runtime *r, FILE *out);
/* Applies what it understands, before the workers start. False: it was not whole, or nothing like that. */
bool upgrade_take(struct runtime *r, FILE *in);

#endif
