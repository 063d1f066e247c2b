/* mailbox.c: messages to another thread's loop. A mutex and not a lock-free queue: mail is rare (set-up, commands),
 * never on the path of a request. */
#include "loomgate/net/mailbox.h"

void mailbox_deliver(struct mailbox *box) {
    pthread_mutex_lock(&box->lock);
    struct mail *mail = box->first;
    box->first = NULL;
    box->last = &box->first;
    pthread_mutex_unlock(&box->lock);
    while (mail) {
        struct mail *next = mail->next;
        mail->deliver(mail, box->receiver);
        mail = next;
    }
}

static void on_wake(struct ev_loop *ev, ev_async *w, int events) {
    (void)ev, (void)events;
    mailbox_deliver(w->data);
}

void mailbox_init(struct mailbox *box, struct loop *loop, void *receiver) {
    *box = (struct mailbox){.loop = loop, .receiver = receiver};
    box->last = &box->first;
    pthread_mutex_init(&box->lock, NULL);
    ev_async_init(&box->wake, on_wake);
    box->wake.data = box;
    ev_async_start(loop->ev, &box->wake);
}

void mailbox_fini(struct mailbox *box) {
    ev_async_stop(box->loop->ev, &box->wake);
    pthread_mutex_destroy(&box->lock);
}

void mailbox_post(struct mailbox *box, struct mail *mail) {
    mail->next = NULL;
    pthread_mutex_lock(&box->lock);
    *box->last = mail;
    box->last = &mail->next;
    pthread_mutex_unlock(&box->lock);
    ev_async_send(box->loop->ev, &box->wake);
}
