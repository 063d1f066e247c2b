/* test_mailbox.c: mail between threads: delivered on the receiver's thread, in order, none lost. */
#include "loomgate/net/mailbox.h"

#include "../../support/loop_run.h"

#include <stdlib.h>

enum { SENDERS = 4, LETTERS = 2000 };

struct letter {
    struct mail mail;
    unsigned sender, number;
};

static struct office {
    struct loop loop;
    struct mailbox box;
    pthread_t thread;
    unsigned delivered, next[SENDERS];
} office;

static int set_up(void **state) {
    (void)state;
    office = (struct office){.thread = pthread_self()};
    loop_init(&office.loop);
    mailbox_init(&office.box, &office.loop, &office);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    mailbox_fini(&office.box);
    loop_finish(&office.loop);
    return 0;
}

static void deliver(struct mail *mail, void *receiver) {
    struct letter *l = LG_CONTAINER_OF(mail, struct letter, mail);
    struct office *o = receiver;
    assert_true(pthread_equal(pthread_self(), o->thread));
    assert_int_equal(l->number, o->next[l->sender]++);
    o->delivered++;
    free(l);
}

static void post(struct mailbox *box, unsigned sender, unsigned number) {
    struct letter *l = xmalloc(sizeof *l);
    *l = (struct letter){.mail = {.deliver = deliver}, .sender = sender, .number = number};
    mailbox_post(box, &l->mail);
}

static void mail_comes_with_a_turn_and_in_order(void **state) {
    (void)state;
    for (unsigned i = 0; i < 10; i++) post(&office.box, 0, i);
    assert_int_equal(office.delivered, 0);
    LOOP_UNTIL(&office.loop, office.delivered == 10);
}

static unsigned sender_number(const void *arg) {
    return (unsigned)(uintptr_t)arg;
}

static void *send_letters(void *arg) {
    for (unsigned i = 0; i < LETTERS; i++) post(&office.box, sender_number(arg), i);
    return NULL;
}

static void many_threads_may_post(void **state) {
    (void)state;
    pthread_t threads[SENDERS];
    for (uintptr_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, (void *)i), 0);
    LOOP_UNTIL(&office.loop, office.delivered == SENDERS * LETTERS);
    for (unsigned i = 0; i < SENDERS; i++) pthread_join(threads[i], NULL);
    loop_settle(&office.loop);
    assert_int_equal(office.delivered, SENDERS * LETTERS);
}

static struct mail again;
static unsigned deliveries;

/* A mail may be posted on by the one who gets it, also the very same. */
static void deliver_again(struct mail *mail, void *receiver) {
    struct office *o = receiver;
    if (++deliveries < 3) mailbox_post(&o->box, mail);
}

static void a_delivery_may_post(void **state) {
    (void)state;
    deliveries = 0;
    again.deliver = deliver_again;
    mailbox_post(&office.box, &again);
    LOOP_UNTIL(&office.loop, deliveries == 3);
}

static void *wait_for_mail(void *arg) {
    (void)arg;
    loop_run(&office.loop);
    return NULL;
}

static void deliver_stop(struct mail *mail, void *receiver) {
    struct office *o = receiver;
    (void)mail;
    loop_stop(&o->loop);
}

/* A loop that sleeps in its wait is woken. */
static void mail_wakes_a_waiting_loop(void **state) {
    (void)state;
    struct mail stop = {.deliver = deliver_stop};
    assert_int_equal(pthread_create(&office.thread, NULL, wait_for_mail, NULL), 0);
    for (unsigned i = 0; i < 10; i++) post(&office.box, 1, i);
    mailbox_post(&office.box, &stop);
    pthread_join(office.thread, NULL);
    assert_int_equal(office.delivered, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail_comes_with_a_turn_and_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_threads_may_post, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_delivery_may_post, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mail_wakes_a_waiting_loop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
