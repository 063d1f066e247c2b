/* mailbox.h: messages to another thread's loop: any thread posts, the loop's thread runs them in order. */
#ifndef LOOMGATE_NET_MAILBOX_H
#define LOOMGATE_NET_MAILBOX_H

#include "loomgate/net/loop.h"

#include <pthread.h>

/* Owned by the sender until posted, by the receiver's `deliver` afterwards (which may free or post it on). */
struct mail {
    struct mail *next;
    void (*deliver)(struct mail *mail, void *receiver);
};

struct mailbox {
    struct loop *loop;
    void *receiver;
    ev_async wake;
    pthread_mutex_t lock;
    struct mail *first, **last; /* under lock */
};

/* On the receiving thread, or before it runs. */
void mailbox_init(struct mailbox *box, struct loop *loop, void *receiver);
/* Mail that was not delivered is dropped, not freed: post nothing any more. */
void mailbox_fini(struct mailbox *box);
/* Delivers what is there: the loop does it by itself, but not after its end. */
void mailbox_deliver(struct mailbox *box);
/* Any thread. */
void mailbox_post(struct mailbox *box, struct mail *mail);

#endif
