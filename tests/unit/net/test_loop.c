/* test_loop.c: turns, deferred calls, flushes, the graveyard, deadlines. */
#include "loomgate/net/loop.h"

#include "../../support/loop_run.h"

#include <time.h>
#include <unistd.h>

static struct loop loop;

static int set_up(void **state) {
    (void)state;
    loop_init(&loop);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_finish(&loop);
    return 0;
}

/* --- tasks ------------------------------------------------------------------------------------------------------ */

struct step {
    struct task task;
    char letter;
    struct step *defers, *flushes, *buries, *cancels;
};

static char trail[64];
static size_t trail_len;

static void on_step(struct task *task) {
    struct step *s = LG_CONTAINER_OF(task, struct step, task);
    trail[trail_len++] = s->letter;
    if (s->defers) loop_defer(&loop, &s->defers->task);
    if (s->flushes) loop_flush_later(&loop, &s->flushes->task);
    if (s->buries) loop_bury(&loop, &s->buries->task);
    if (s->cancels) task_cancel(&s->cancels->task);
    s->defers = s->flushes = s->buries = NULL;
}

static void step_init(struct step *s, char letter) {
    *s = (struct step){.letter = letter};
    task_init(&s->task, on_step);
    assert_false(task_is_waiting(&s->task));
}

static void assert_trail(const char *expected) {
    trail[trail_len] = '\0';
    assert_string_equal(trail, expected);
    trail_len = 0;
}

static void one_turn_defers_then_flushes_then_buries(void **state) {
    (void)state;
    struct step d, f, g;
    step_init(&d, 'd');
    step_init(&f, 'f');
    step_init(&g, 'g');
    loop_bury(&loop, &g.task);
    loop_flush_later(&loop, &f.task);
    loop_defer(&loop, &d.task);
    assert_true(task_is_waiting(&d.task));
    assert_trail("");
    loop_turns(&loop, 1);
    assert_trail("dfg");
    assert_false(task_is_waiting(&d.task));
    loop_turns(&loop, 1);
    assert_trail("");
}

static void waiting_tasks_are_not_queued_twice(void **state) {
    (void)state;
    struct step a, b;
    step_init(&a, 'a');
    step_init(&b, 'b');
    loop_defer(&loop, &a.task);
    loop_defer(&loop, &b.task);
    loop_defer(&loop, &a.task);
    loop_flush_later(&loop, &a.task);
    loop_turns(&loop, 1);
    assert_trail("ab");
}

static void a_turn_ends_only_when_nothing_is_left(void **state) {
    (void)state;
    struct step a, b, c, d, e;
    step_init(&a, 'a');
    step_init(&b, 'b');
    step_init(&c, 'c');
    step_init(&d, 'd');
    step_init(&e, 'e');
    a.flushes = &c;
    a.defers = &b;
    c.buries = &e; /* nothing is buried before all else is done, also what comes up late */
    c.defers = &d;
    d.defers = &a;
    loop_defer(&loop, &a.task);
    loop_turns(&loop, 1);
    assert_trail("abcdae");
}

static void a_cancelled_task_does_not_run(void **state) {
    (void)state;
    struct step a, b, c;
    step_init(&a, 'a');
    step_init(&b, 'b');
    step_init(&c, 'c');
    a.cancels = &b;
    loop_defer(&loop, &a.task);
    loop_defer(&loop, &b.task);
    loop_bury(&loop, &c.task);
    task_cancel(&c.task);
    task_cancel(&c.task);
    loop_turns(&loop, 1);
    assert_trail("a");
    loop_defer(&loop, &b.task);
    loop_turns(&loop, 1);
    assert_trail("b");
}

static void what_is_left_at_the_end_still_runs(void **state) {
    (void)state;
    struct loop other;
    struct step g;
    loop_init(&other);
    step_init(&g, 'g');
    loop_bury(&other, &g.task);
    loop_fini(&other);
    assert_trail("g");
}

static void turns_are_counted(void **state) {
    (void)state;
    uint64_t turn = loop.turn;
    loop_turns(&loop, 3);
    assert_int_equal(loop.turn, turn + 3);
}

static void on_stop(struct deadline *d) {
    (void)d;
    loop_stop(&loop);
}

static void run_returns_after_stop(void **state) {
    (void)state;
    struct deadline d;
    deadline_init(&d, on_stop);
    deadline_set(&loop, &d, 1000);
    loop_run(&loop);
    assert_false(deadline_is_set(&d));
}

/* --- the next turn ---------------------------------------------------------------------------------------------- */

static void the_next_turn_is_not_this_one(void **state) {
    (void)state;
    struct step n, d;
    step_init(&n, 'n');
    step_init(&d, 'd');
    loop_next_turn(&loop, &n.task);
    loop_next_turn(&loop, &n.task);
    loop_defer(&loop, &d.task);
    assert_true(task_is_waiting(&n.task));
    loop_turns(&loop, 1);
    assert_trail("dn"); /* the turn before ended first */
    loop_turns(&loop, 2);
    assert_trail("");
}

/* The wait does not sleep while somebody wants the next turn, and sleeps again afterwards. */
static void somebody_who_wants_the_next_turn_keeps_the_loop_awake(void **state) {
    (void)state;
    struct step n;
    step_init(&n, 'n');
    loop_next_turn(&loop, &n.task);
    ev_run(loop.ev, EVRUN_ONCE); /* would wait for ever */
    assert_trail("n");
    loop_turns(&loop, 1);
    assert_false(ev_is_active(&loop.awake));
}

static void a_cancelled_next_turn_lets_the_loop_sleep(void **state) {
    (void)state;
    struct step n;
    step_init(&n, 'n');
    loop_next_turn(&loop, &n.task);
    task_cancel(&n.task);
    loop_turns(&loop, 2);
    assert_trail("");
    assert_false(ev_is_active(&loop.awake)); /* or it would spin */
}

/* --- the order of a turn's events ------------------------------------------------------------------------------- */

enum { TELLERS = 40 }; /* libev takes 64 at a time */
static struct teller {
    ev_io io;
    int ends[2];
    int number;
    struct teller *silences; /* in the same turn */
    bool silent;
} tellers[TELLERS];
static int told[TELLERS], told_count;

static void on_told(void *owner, int revents) {
    struct teller *t = owner;
    char byte;
    assert_int_equal(revents, EV_READ);
    if (t->silent) return;
    assert_int_equal(read(t->ends[0], &byte, 1), 1);
    told[told_count++] = t->number;
    if (t->silences) t->silences->silent = true;
}

static void on_teller(struct ev_loop *ev, ev_io *w, int revents) {
    (void)ev;
    loop_in_order(&loop, on_told, w->data, revents);
}

/* All of them have something to read in one turn, the one with the highest number first. */
static void events_come_in_the_order_of_the_kernel(void **state) {
    (void)state;
    told_count = 0;
    for (int i = 0; i < TELLERS; i++) {
        struct teller *t = &tellers[i];
        *t = (struct teller){.number = i};
        assert_int_equal(pipe(t->ends), 0);
        ev_io_init(&t->io, on_teller, t->ends[0], EV_READ);
        t->io.data = t;
        ev_io_start(loop.ev, &t->io);
    }
    loop_settle(&loop);
    tellers[TELLERS - 1].silences = &tellers[0];
    for (int i = TELLERS; i-- > 0;) assert_int_equal(write(tellers[i].ends[1], "x", 1), 1);
    LOOP_UNTIL(&loop, told_count >= TELLERS - 1);
    assert_int_equal(told_count, TELLERS - 1); /* but for the one that was silenced meanwhile */
    for (int i = 0; i < told_count; i++) assert_int_equal(told[i], TELLERS - 1 - i);
    for (int i = 0; i < TELLERS; i++) {
        ev_io_stop(loop.ev, &tellers[i].io);
        close(tellers[i].ends[0]);
        close(tellers[i].ends[1]);
    }
}

/* --- looks ------------------------------------------------------------------------------------------------------ */

/* After an event: the turns that do not wait although nothing is to be done. */
static unsigned looks_after_an_event(void) {
    struct teller t = {0};
    assert_int_equal(pipe(t.ends), 0);
    ev_io_init(&t.io, on_teller, t.ends[0], EV_READ);
    t.io.data = &t;
    ev_io_start(loop.ev, &t.io);
    told_count = 0;
    assert_int_equal(write(t.ends[1], "x", 1), 1);
    LOOP_UNTIL(&loop, told_count == 1);
    unsigned looks = 0;
    for (ev_run(loop.ev, EVRUN_NOWAIT); ev_is_active(&loop.awake); ev_run(loop.ev, EVRUN_NOWAIT)) looks++;
    assert_int_equal(told_count, 1);
    ev_io_stop(loop.ev, &t.io);
    close(t.ends[0]);
    close(t.ends[1]);
    return looks;
}

static void it_looks_for_more_before_it_sleeps(void **state) {
    (void)state;
    assert_int_equal(looks_after_an_event(), 0);
    loop.spin = (struct spin){.most = 3, .trust = 2};
    assert_int_equal(looks_after_an_event(), 3);
    assert_int_equal(looks_after_an_event(), 3);
    assert_int_equal(looks_after_an_event(), 0);
}

static void nothing(struct task *task) {
    (void)task;
}

/* A turn that is asked for comes at once, also in the middle of that. */
static void what_is_put_off_keeps_it_awake(void **state) {
    (void)state;
    struct task task;
    task_init(&task, nothing);
    loop_next_turn(&loop, &task);
    ev_run(loop.ev, EVRUN_NOWAIT);
    assert_true(ev_is_active(&loop.awake));
    assert_false(task_is_waiting(&task));
    ev_run(loop.ev, EVRUN_NOWAIT);
    assert_false(ev_is_active(&loop.awake));
}

/* --- the clock -------------------------------------------------------------------------------------------------- */

static void the_clock_is_read_each_turn(void **state) {
    (void)state;
    uint64_t before = loop_clock_us();
    loop_turns(&loop, 1);
    uint64_t after = loop_clock_us(), now = loop.now_us;
    assert_in_range(now, before, after);
    while (loop_clock_us() == now) continue;
    assert_int_equal(loop.now_us, now); /* cached until then */
    loop_update_clock(&loop);
    assert_true(loop.now_us > now);
}

static void the_wall_clock_goes_with_it(void **state) {
    (void)state;
    struct timespec t;
    loop_update_clock(&loop);
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t real = (uint64_t)t.tv_sec * 1000000U + (uint64_t)t.tv_nsec / 1000U;
    assert_in_range(loop.unix_us, real - 2000000, real + 2000000);
}

/* --- deadlines -------------------------------------------------------------------------------------------------- */

struct alarm {
    struct deadline d;
    unsigned rang;
    uint64_t again_us;
    struct alarm *cancels, *sets;
};

static unsigned rings;
static struct alarm *rung[64];

static void on_alarm(struct deadline *d) {
    struct alarm *a = LG_CONTAINER_OF(d, struct alarm, d);
    assert_false(deadline_is_set(d));
    assert_true(loop.now_us >= d->at_us);
    a->rang++;
    if (rings < LG_COUNT(rung)) rung[rings] = a;
    rings++;
    if (a->again_us) deadline_set(&loop, d, a->again_us);
    if (a->cancels) deadline_cancel(&a->cancels->d);
    if (a->sets) deadline_set(&loop, &a->sets->d, 1000);
}

static void alarm_init(struct alarm *a) {
    *a = (struct alarm){.rang = 0};
    deadline_init(&a->d, on_alarm);
    rings = 0;
}

static void deadlines_pass_in_order(void **state) {
    (void)state;
    struct alarm a, b, c;
    alarm_init(&a);
    alarm_init(&b);
    alarm_init(&c);
    deadline_set(&loop, &c.d, 12000);
    deadline_set(&loop, &a.d, 2000);
    deadline_set(&loop, &b.d, 6000);
    assert_true(deadline_is_set(&a.d));
    LOOP_UNTIL(&loop, rings == 3);
    assert_ptr_equal(rung[0], &a);
    assert_ptr_equal(rung[1], &b);
    assert_ptr_equal(rung[2], &c);
}

static void one_duration_is_first_come_first_served(void **state) {
    (void)state;
    struct alarm a, b, c;
    alarm_init(&a);
    alarm_init(&b);
    alarm_init(&c);
    deadline_set(&loop, &a.d, 3000);
    deadline_set(&loop, &b.d, 3000);
    deadline_set(&loop, &c.d, 3000);
    deadline_set(&loop, &a.d, 3000); /* moved to the end */
    LOOP_UNTIL(&loop, rings == 3);
    assert_ptr_equal(rung[0], &b);
    assert_ptr_equal(rung[1], &c);
    assert_ptr_equal(rung[2], &a);
}

/* The timer of the first setting fires in between and finds nothing due: on_alarm looks at the clock. */
static void renewed_ones_pass_later(void **state) {
    (void)state;
    struct alarm a;
    alarm_init(&a);
    deadline_set(&loop, &a.d, 4000);
    uint64_t end = loop_clock_us() + 10000;
    while (!a.rang && loop_clock_us() < end) {
        loop_turns(&loop, 1);
        if (!a.rang) deadline_set(&loop, &a.d, 4000);
    }
    LOOP_UNTIL(&loop, a.rang == 1);
}

static void cancelled_and_endless_ones_never_pass(void **state) {
    (void)state;
    struct alarm a, b, c;
    alarm_init(&a);
    alarm_init(&b);
    alarm_init(&c);
    deadline_set(&loop, &a.d, 2000);
    deadline_set(&loop, &b.d, 2000);
    deadline_set(&loop, &c.d, 4000);
    deadline_cancel(&a.d);
    deadline_cancel(&a.d);
    deadline_set(&loop, &b.d, 0); /* never; and what was set is forgotten */
    assert_false(deadline_is_set(&a.d));
    assert_false(deadline_is_set(&b.d));
    LOOP_UNTIL(&loop, c.rang);
    assert_int_equal(rings, 1);
}

static void a_callback_may_set_and_cancel(void **state) {
    (void)state;
    struct alarm a, b, c;
    alarm_init(&a);
    alarm_init(&b);
    alarm_init(&c);
    a.cancels = &b; /* due at the same time */
    a.sets = &c;
    deadline_set(&loop, &a.d, 2000);
    deadline_set(&loop, &b.d, 2000);
    LOOP_UNTIL(&loop, c.rang);
    assert_int_equal(a.rang, 1);
    assert_int_equal(b.rang, 0);
}

static void a_callback_may_set_itself_again(void **state) {
    (void)state;
    struct alarm a;
    alarm_init(&a);
    a.again_us = 1000;
    deadline_set(&loop, &a.d, 1000);
    LOOP_UNTIL(&loop, a.rang == 3);
    deadline_cancel(&a.d);
}

/* The table of lists grows; each keeps its own timer. */
static void many_durations(void **state) {
    (void)state;
    enum { COUNT = 100 };
    static struct alarm a[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        alarm_init(&a[i]);
        deadline_set(&loop, &a[i].d, 10000 + i * 100);
    }
    assert_int_equal(loop.list_count, COUNT);
    for (unsigned i = 0; i < COUNT; i += 2) deadline_set(&loop, &a[i].d, 10000 + i * 100);
    assert_int_equal(loop.list_count, COUNT);
    for (unsigned i = 0; i < COUNT; i += 4) deadline_cancel(&a[i].d);
    LOOP_UNTIL(&loop, rings == COUNT * 3 / 4);
    for (unsigned i = 0; i < COUNT; i++) assert_int_equal(a[i].rang, i % 4 != 0);
}

/* --- timers ----------------------------------------------------------------------------------------------------- */

struct egg {
    struct loop_timer t;
    uint64_t rang_us;
    uint64_t again_us; /* UINT64_MAX: not again */
    unsigned rings;
};

static void on_egg(struct loop_timer *t) {
    struct egg *a = LG_CONTAINER_OF(t, struct egg, t);
    assert_false(timer_is_set(t));
    a->rings++;
    a->rang_us = loop_clock_us();
    if (a->again_us != UINT64_MAX && a->rings < 3) timer_set(&loop, t, a->again_us);
}

static void egg_init(struct egg *a) {
    *a = (struct egg){.again_us = UINT64_MAX};
    timer_init(&a->t, on_egg);
    assert_false(timer_is_set(&a->t));
}

static void timers_take_any_time(void **state) {
    (void)state;
    struct egg late, soon, now, never;
    egg_init(&late);
    egg_init(&soon);
    egg_init(&now);
    egg_init(&never);
    unsigned lists = loop.list_count;
    uint64_t start_us = loop_clock_us();
    timer_set(&loop, &late.t, 20011);
    timer_set(&loop, &soon.t, 4999);
    timer_set(&loop, &now.t, 0);
    timer_set(&loop, &never.t, 10000);
    assert_int_equal(now.rings, 0); /* never before it has returned */
    timer_cancel(&never.t);
    timer_cancel(&never.t);
    LOOP_UNTIL(&loop, late.rings);
    assert_true(now.rings == 1 && soon.rings == 1 && never.rings == 0);
    assert_true(now.rang_us <= soon.rang_us && soon.rang_us <= late.rang_us);
    assert_true(late.rang_us - start_us >= 19000);
    assert_int_equal(loop.list_count, lists); /* no list of deadlines came of it */
}

static void a_timer_may_set_itself_again_and_be_replaced(void **state) {
    (void)state;
    struct egg a;
    egg_init(&a);
    a.again_us = 0;
    timer_set(&loop, &a.t, 3600000000U);
    timer_set(&loop, &a.t, 1);
    LOOP_UNTIL(&loop, a.rings == 3);
    assert_false(timer_is_set(&a.t));
}

enum { BUSY_US = 2000, BUSY_TURNS = 200 };
static unsigned busy_turns;

/* Keeps the loop's turn for a while, and asks for the next one. */
static void be_busy(struct task *task) {
    uint64_t end_us = loop_clock_us() + BUSY_US;
    while (loop_clock_us() < end_us) continue;
    if (++busy_turns < BUSY_TURNS) loop_next_turn(&loop, task);
}

static void it_knows_how_long_its_turns_take(void **state) {
    struct histogram_summary s;
    struct task task;
    (void)state;
    loop_latency_read(&loop, &s);
    assert_int_equal(s.count, 0);
    task_init(&task, be_busy);
    busy_turns = 0;
    loop_next_turn(&loop, &task);
    LOOP_UNTIL(&loop, busy_turns == BUSY_TURNS);
    loop_latency_read(&loop, &s);
    assert_true(s.count >= BUSY_TURNS / 16 - 1); /* one in 16 is looked at */
    assert_true(s.p50_us > BUSY_US * 0.99);
    assert_true(s.max_us >= s.p99_us && s.p99_us >= s.p50_us);
}

/* Is busy in one turn of many. */
static void be_busy_once(struct task *task) {
    if (++busy_turns == 5) {
        uint64_t end_us = loop_clock_us() + 20 * BUSY_US;
        while (loop_clock_us() < end_us) continue;
    }
    if (busy_turns < BUSY_TURNS) loop_next_turn(&loop, task);
}

/* Whichever turn it is, one of each sixteenth or not. */
static void the_longest_turn_is_never_missed(void **state) {
    (void)state;
    for (unsigned from = 0; from < 16; from++) {
        struct histogram_summary s;
        struct task task;
        if (from) tear_down(NULL), set_up(NULL);
        task_init(&task, be_busy_once);
        loop.turn = from;
        busy_turns = 0;
        loop_next_turn(&loop, &task);
        LOOP_UNTIL(&loop, busy_turns == BUSY_TURNS);
        loop_latency_read(&loop, &s);
        assert_true(s.max_us >= 20 * BUSY_US);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_turn_defers_then_flushes_then_buries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(waiting_tasks_are_not_queued_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_turn_ends_only_when_nothing_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_task_does_not_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_left_at_the_end_still_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(turns_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(run_returns_after_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_next_turn_is_not_this_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(somebody_who_wants_the_next_turn_keeps_the_loop_awake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_next_turn_lets_the_loop_sleep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_come_in_the_order_of_the_kernel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_looks_for_more_before_it_sleeps, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_put_off_keeps_it_awake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_clock_is_read_each_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_wall_clock_goes_with_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deadlines_pass_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_duration_is_first_come_first_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(renewed_ones_pass_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cancelled_and_endless_ones_never_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_callback_may_set_and_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_callback_may_set_itself_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_durations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(timers_take_any_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_may_set_itself_again_and_be_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_knows_how_long_its_turns_take, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_longest_turn_is_never_missed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
