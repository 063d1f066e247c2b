/* test_conn.c: a connected socket: reading and keeping, writing and back-pressure, owners, connecting. (Ends, errors
 * and timeouts: test_conn_ends.c.) */
#include "conn_owner.h"

#include "../../support/addr_make.h"

#include "loomgate/net/socket.h"

#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void bytes_come_up(void **state) {
    (void)state;
    peer_say(&peer, "hello");
    LOOP_UNTIL(&loop, owner.bytes == 5);
    assert_got(&owner, "hello");
    assert_int_equal(owner.c->bytes_in, 5);
    assert_int_equal(loop.chunks.bytes, 0); /* lent, not kept */
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    loop_settle(&loop);
    assert_int_equal(owner.eofs, 1);
    assert_int_equal(owner.errors, 0);
}

/* What is not taken comes again in one piece with what follows. */
static void bytes_not_taken_are_kept(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "one ");
    LOOP_UNTIL(&loop, owner.reads == 1);
    peer_say(&peer, "two ");
    LOOP_UNTIL(&loop, owner.reads == 2);
    owner.take = 6;
    peer_say(&peer, "three");
    LOOP_UNTIL(&loop, owner.bytes == 13);
    assert_got(&owner, "one two three");
    loop_settle(&loop);
    assert_int_equal(loop.chunks.bytes, 0);
    assert_int_equal(owner.c->bytes_in, 13);
}

static void an_owner_that_takes_nothing_is_not_asked_in_vain(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "half a head");
    LOOP_UNTIL(&loop, owner.reads == 1);
    loop_settle(&loop);
    assert_int_equal(owner.reads, 1);
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_int_equal(owner.c->in.bytes, 11);
}

static void a_pause_keeps_bytes_in_the_kernel(void **state) {
    (void)state;
    conn_pause(owner.c);
    peer_say(&peer, "later");
    peer_shut(&peer);
    loop_settle(&loop);
    assert_int_equal(owner.reads, 0);
    assert_int_equal(owner.eofs, 0);
    assert_int_equal(owner.c->bytes_in, 0);
    conn_resume(owner.c);
    assert_int_equal(owner.reads, 0); /* nothing is called before resume returns */
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_got(&owner, "later");
}

static void resume_owner(struct task *task) {
    (void)task;
    conn_resume(owner.c);
}

/* Or an owner that takes little at a time, and goes on in the turn that has news, would have all that its peer sends
 * piled up. */
static void what_is_kept_comes_before_what_is_new(void **state) {
    (void)state;
    static char much[LOOP_READ_SIZE];
    struct task resume;
    task_init(&resume, resume_owner);
    owner.take = 10;
    owner.pause_on_read = true;
    for (unsigned i = 0; i < 40; i++) {
        peer_push(&peer, slice_from(much, sizeof much));
        loop_next_turn(&loop, &resume);
        loop_turns(&loop, 2);
    }
    assert_true(owner.reads >= 39);
    assert_true(owner.c->in.bytes <= LOOP_READ_SIZE);
}

static void a_pause_inside_on_read_keeps_the_rest(void **state) {
    (void)state;
    owner.take = 3;
    owner.pause_on_read = true;
    peer_say(&peer, "onetwo");
    LOOP_UNTIL(&loop, owner.reads == 1);
    peer_shut(&peer);
    loop_settle(&loop);
    assert_got(&owner, "one");
    assert_int_equal(owner.eofs, 0);
    owner.pause_on_read = false;
    conn_resume(owner.c);
    conn_resume(owner.c);
    assert_int_equal(owner.reads, 1);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_got(&owner, "two");
    assert_int_equal(owner.reads, 2);
}

/* A flush that has become needless takes nothing else of the turn's end with it. */
static void kept_bytes_outlive_a_flush(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "kept");
    LOOP_UNTIL(&loop, owner.reads == 1);
    conn_pause(owner.c);
    write_text(owner.c, "sent", true);
    owner.take = SIZE_MAX;
    conn_resume(owner.c);
    conn_flush(owner.c);
    assert_false(conn_has_output(owner.c));
    LOOP_UNTIL(&loop, owner.bytes == 4);
    peer_expect(&peer, &loop, "sent");
}

/* The end that was read while nobody wanted to hear of it is told after the resume, after the kept bytes. */
static void the_end_waits_behind_kept_bytes(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "abc");
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.reads == 1);
    conn_pause(owner.c);
    loop_settle(&loop);
    assert_int_equal(owner.eofs, 0);
    owner.take = SIZE_MAX;
    conn_resume(owner.c);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_got(&owner, "abc");
}

static void large_reads_come_in_pieces(void **state) {
    (void)state;
    enum { SIZE = 3 * 1024 * 1024 };
    char *block = xcalloc(1, SIZE);
    size_t sent = 0;
    uint64_t end = loop_clock_us() + LOOP_PATIENCE_US;
    while (owner.bytes < SIZE) {
        sent += peer_push(&peer, slice_from(block, SIZE - sent));
        assert_true(loop_step(&loop, end));
    }
    free(block);
    assert_true(owner.reads >= SIZE / LOOP_READ_SIZE);
    assert_int_equal(owner.c->bytes_in, SIZE);
}

/* More is read at once while that goes on somewhere; who is paused for long begins anew. */
static void reads_grow_with_the_flow(void **state) {
    (void)state;
    static char block[CONN_READ_FIRST * 2];
    uint64_t end = loop_clock_us() + LOOP_PATIENCE_US;
    peer_push(&peer, slice_from(block, sizeof block));
    LOOP_UNTIL(&loop, owner.reads == 1);
    assert_int_equal(owner.bytes, CONN_READ_FIRST);
    while (owner.c->read_level < 2) {
        peer_push(&peer, slice_from(block, sizeof block));
        assert_true(loop_step(&loop, end));
    }
    conn_pause(owner.c);
    loop.now_us += (CONN_SLOW_MS - 1) * 1000U;
    conn_resume(owner.c);
    assert_true(owner.c->read_level >= 2);
    conn_pause(owner.c);
    loop.now_us += CONN_SLOW_MS * 1000U;
    conn_resume(owner.c);
    assert_int_equal(owner.c->read_level, 0);
}

/* Whoever has much to do takes it in turns with the others: one piece a turn, in order, the end behind it. */
static void a_yield_leaves_the_rest_to_the_next_turn(void **state) {
    (void)state;
    owner.take = 2;
    owner.yield_on_read = true;
    peer_say(&peer, "aabbcc");
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.reads == 1);
    for (unsigned i = 2; i <= 3; i++) {
        uint64_t turn = loop.turn;
        LOOP_UNTIL(&loop, owner.reads == i);
        assert_true(loop.turn > turn);
        assert_int_equal(owner.bytes, 2 * i);
        assert_int_equal(owner.eofs, 0);
    }
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_got(&owner, "aabbcc");
}

static void closing_after_a_yield(void **state) {
    (void)state;
    owner.take = 2;
    owner.yield_on_read = true;
    owner.close_on_read = true;
    peer_say(&peer, "aabbcc");
    LOOP_UNTIL(&loop, owner.reads == 1);
    loop_settle(&loop);
    assert_int_equal(owner.reads, 1);
    assert_int_equal(loop.conns.in_use, 0);
    assert_false(ev_is_active(&loop.awake)); /* nobody is left to stay awake for */
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void a_write_goes_out_at_once(void **state) {
    (void)state;
    write_text(owner.c, "now", false);
    peer_read(&peer);
    assert_int_equal(peer.count, 3);
    assert_int_equal(owner.c->bytes_out, 3);
    assert_false(conn_has_output(owner.c));
    assert_int_equal(loop.chunks.bytes, 0);
}

static void small_pieces_wait_for_what_follows(void **state) {
    (void)state;
    write_text(owner.c, "head ", true);
    memcpy(conn_reserve(owner.c, 100), "made in place ", 14);
    conn_commit(owner.c, 14);
    peer_read(&peer);
    assert_int_equal(peer.count, 0);
    assert_true(conn_has_output(owner.c));
    write_text(owner.c, "body", false);
    peer_read(&peer);
    assert_int_equal(peer.count, 23);
    assert_memory_equal(peer.got, "head made in place body", 23);
}

static void the_turns_end_sends_what_waits(void **state) {
    (void)state;
    write_text(owner.c, "a", true);
    peer_expect(&peer, &loop, "a");
    memcpy(conn_reserve(owner.c, 8), "b", 1);
    conn_commit(owner.c, 1);
    peer_expect(&peer, &loop, "b");
    write_text(owner.c, "c", true);
    conn_flush(owner.c);
    peer_read(&peer);
    assert_int_equal(peer.count, 1);
}

/* What does not fit is kept in order; the owner hears when it is gone. */
static void more_than_fits_is_kept_and_congests(void **state) {
    (void)state;
    enum { SIZE = 1000003 };
    write_block(owner.c, SIZE);
    assert_true(conn_is_congested(owner.c));
    assert_true(owner.c->out.bytes > CONN_HIGH_MARK);
    loop_settle(&loop);
    assert_int_equal(owner.draineds, 0);
    LOOP_UNTIL(&loop, peer_has(&peer, SIZE));
    LOOP_UNTIL(&loop, owner.draineds == 1);
    assert_block(&peer, SIZE);
    assert_int_equal(owner.c->bytes_out, SIZE);
    assert_int_equal(loop.chunks.bytes, 0);
    loop_settle(&loop);
    assert_int_equal(owner.draineds, 1);
}

static void writes_behind_kept_bytes_stay_in_order(void **state) {
    (void)state;
    write_block(owner.c, 500000);
    write_text(owner.c, "x", false);
    write_text(owner.c, "y", true);
    memcpy(conn_reserve(owner.c, 1), "z", 1);
    conn_commit(owner.c, 1);
    LOOP_UNTIL(&loop, peer_has(&peer, 500003));
    assert_memory_equal(peer.got + 500000, "xyz", 3);
    peer.count -= 3;
    assert_block(&peer, 500000);
}

/* Many small chunks kept: more pieces than one system call takes. */
static void many_pieces_are_written(void **state) {
    (void)state;
    enum { PIECES = 200, PIECE = 1500 };
    size_t total = 0;
    write_block(owner.c, 400000);
    peer_read(&peer);
    for (unsigned i = 0; i < PIECES; i++) {
        char *to = conn_reserve(owner.c, PIECE);
        memset(to, 'a' + (int)(i % 26), PIECE);
        conn_commit(owner.c, PIECE);
        total += PIECE;
    }
    write_text(owner.c, "end", false);
    LOOP_UNTIL(&loop, peer_has(&peer, 400000 + total + 3));
    for (unsigned i = 0; i < PIECES; i++)
        assert_int_equal(peer.got[400000 + (size_t)i * PIECE + 7], 'a' + (int)(i % 26));
    assert_memory_equal(peer.got + 400000 + total, "end", 3);
}

static void closing_inside_on_drained(void **state) {
    (void)state;
    owner.close_on_drained = true;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_block(owner.c, 500000);
    LOOP_UNTIL(&loop, peer_has(&peer, 500000));
    peer_forget(&peer);
    peer_expect_eof(&peer, &loop);
    assert_int_equal(owner.draineds, 1);
}

/* --- owners ----------------------------------------------------------------------------------------------------- */

static void a_new_owner_gets_the_kept_bytes(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "for the next one");
    LOOP_UNTIL(&loop, owner.reads == 1);
    conn_set_timeout(owner.c, 1000, false);
    conn_set_owner(owner.c, &events, &heir);
    heir.c = owner.c;
    owner.c = NULL;
    assert_int_equal(heir.reads, 0);
    LOOP_UNTIL(&loop, heir.bytes == 16);
    assert_got(&heir, "for the next one");
    loop_run_for(&loop, 4000);
    assert_int_equal(owner.timeouts + heir.timeouts, 0);
}

/* A PROXY header is taken by one owner, what follows in the same read belongs to the next. */
static void the_owner_may_change_inside_on_read(void **state) {
    (void)state;
    owner.take = 7;
    owner.hand_over = &events;
    owner.heir = &heir;
    peer_say(&peer, "HEADER GET /");
    peer_shut(&peer);
    LOOP_UNTIL(&loop, heir.eofs == 1);
    assert_got(&owner, "HEADER ");
    assert_got(&heir, "GET /");
    assert_int_equal(owner.eofs, 0);
}

/* Between two owners nothing is lost: neither bytes, nor the end, nor an error. */
static void between_owners_everything_waits(void **state) {
    (void)state;
    conn_set_owner(owner.c, NULL, NULL);
    conn_pause(owner.c);
    peer_say(&peer, "early");
    peer_shut(&peer);
    loop_settle(&loop);
    conn_set_owner(owner.c, &events, &owner);
    conn_resume(owner.c);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    assert_got(&owner, "early");
}

static void an_error_between_owners_is_told_to_the_next(void **state) {
    (void)state;
    conn_set_owner(owner.c, NULL, NULL);
    peer_reset(&peer);
    loop_settle(&loop);
    conn_set_owner(owner.c, &events, &owner);
    LOOP_UNTIL(&loop, owner.errors == 1);
}

/* --- connecting ------------------------------------------------------------------------------------------------- */

static void connecting_over_tcp(void **state) {
    (void)state;
    struct addr at;
    int listener = listener_open(&at);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    assert_non_null(owner.c);
    assert_int_equal(owner.opens, 0);
    LOOP_UNTIL(&loop, owner.opens == 1);
    listener_accept(listener, &loop, &peer);
    write_text(owner.c, "hello", false);
    peer_expect(&peer, &loop, "hello");
    peer_say(&peer, "you");
    LOOP_UNTIL(&loop, owner.bytes == 3);
    assert_int_equal(owner.opens, 1);
    close(listener);
}

static void what_is_written_before_it_stands_is_sent_then(void **state) {
    (void)state;
    struct addr at;
    int listener = listener_open(&at);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    write_text(owner.c, "early ", false);
    write_text(owner.c, "words", true);
    assert_int_equal(owner.c->bytes_out, 0);
    listener_accept(listener, &loop, &peer);
    peer_expect(&peer, &loop, "early words");
    close(listener);
}

/* The kernel takes all of it as soon as the connection stands: whoever waits to go on must hear of it. */
static void congestion_before_it_stands_ends_with_on_drained(void **state) {
    (void)state;
    struct addr at;
    int listener = listener_open(&at);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    write_block(owner.c, CONN_HIGH_MARK * 2);
    bool congested = conn_is_congested(owner.c);
    listener_accept(listener, &loop, &peer);
    LOOP_UNTIL(&loop, peer_has(&peer, CONN_HIGH_MARK * 2));
    loop_settle(&loop);
    assert_false(conn_is_congested(owner.c));
    assert_int_equal(owner.draineds, congested);
    close(listener);
}

static void a_refused_connection_is_an_error(void **state) {
    (void)state;
    struct addr at;
    int port = port_refusing(&at);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    assert_non_null(owner.c);
    LOOP_UNTIL(&loop, owner.errors == 1);
    assert_int_equal(owner.error_number, ECONNREFUSED);
    assert_int_equal(owner.opens, 0);
    close(port);
}

static bool is_other_end(int fd, int of) {
    struct addr theirs = {.len = sizeof theirs.u}, own;
    assert_return_code(getpeername(fd, &theirs.u.sa, &theirs.len), errno);
    assert_true(socket_local_addr(of, &own));
    return addr_eq(&theirs, &own);
}

/* A queue of no more room leaves the connection half made; with room again it stands when the kernel tries once more,
 * after a second. */
static void one_that_connects_still_may_be_adopted_by_who_writes(void **state) {
    (void)state;
    struct addr at = addr_make_ip("127.0.0.1", 0);
    bool done;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), fill[4];
    assert_return_code(bind(listener, &at.u.sa, at.len), errno);
    assert_return_code(listen(listener, 0), errno);
    assert_true(socket_local_addr(listener, &at));
    for (unsigned i = 0; i < LG_COUNT(fill); i++) fill[i] = socket_connect(&at, &done);
    owner.c = conn_adopt(&loop, socket_connect(&at, &done), &events, &owner);
    write_text(owner.c, "hello", false);
    assert_true(conn_has_output(owner.c));
    loop_settle(&loop);
    for (unsigned i = 0; i < LG_COUNT(fill); i++) close(fill[i]);
    do {
        peer_close(&peer);
        listener_accept(listener, &loop, &peer);
    } while (!is_other_end(peer.fd, owner.c->io.fd));
    peer_expect(&peer, &loop, "hello");
    peer_say(&peer, "answer");
    LOOP_UNTIL(&loop, owner.bytes == 6);
    assert_int_equal(owner.errors + owner.opens, 0);
    close(listener);
}

static void a_refused_one_that_was_adopted_is_an_error(void **state) {
    (void)state;
    struct addr at;
    bool done;
    int port = port_refusing(&at);
    owner.c = conn_adopt(&loop, socket_connect(&at, &done), &events, &owner);
    write_text(owner.c, "hello", false);
    assert_int_equal(owner.errors, 0);
    LOOP_UNTIL(&loop, owner.errors == 1);
    assert_int_equal(owner.error_number, ECONNREFUSED);
    close(port);
}

static void closing_while_connecting_is_silent(void **state) {
    (void)state;
    struct addr at;
    int listener = listener_open(&at);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    write_text(owner.c, "never sent", false);
    owner.how = CONN_CLOSE_AFTER_WRITE; /* nothing can be written: at once */
    drop(&owner);
    loop_settle(&loop);
    assert_int_equal(owner.opens + owner.errors, 0);
    assert_int_equal(loop.conns.in_use, 0);
    close(listener);
}

static void unix_sockets_connect_at_once_and_tell_later(void **state) {
    (void)state;
    char dir[] = "/tmp/lg-conn-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    struct addr at = addr_make_unix(path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_return_code(bind(listener, &at.u.sa, at.len), errno);
    assert_return_code(listen(listener, 8), errno);
    owner.c = conn_connect(&loop, &at, &events, &owner);
    assert_non_null(owner.c);
    assert_int_equal(owner.opens, 0);
    LOOP_UNTIL(&loop, owner.opens == 1);
    listener_accept(listener, &loop, &peer);
    write_text(owner.c, "hello", false);
    peer_expect(&peer, &loop, "hello");
    loop_settle(&loop);
    assert_int_equal(owner.opens, 1);
    close(listener);
    unlink(path);
    struct conn *none = conn_connect(&loop, &at, &events, &owner);
    assert_null(none);
    assert_int_equal(errno, ENOENT);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PAIR(kept_bytes_outlive_a_flush),
        PAIR(bytes_come_up),
        PAIR(bytes_not_taken_are_kept),
        PAIR(an_owner_that_takes_nothing_is_not_asked_in_vain),
        PAIR(a_pause_keeps_bytes_in_the_kernel),
        PAIR(what_is_kept_comes_before_what_is_new),
        PAIR(a_pause_inside_on_read_keeps_the_rest),
        PAIR(the_end_waits_behind_kept_bytes),
        PAIR(large_reads_come_in_pieces),
        PAIR(reads_grow_with_the_flow),
        PAIR(a_yield_leaves_the_rest_to_the_next_turn),
        PAIR(closing_after_a_yield),
        PAIR(a_write_goes_out_at_once),
        PAIR(small_pieces_wait_for_what_follows),
        PAIR(the_turns_end_sends_what_waits),
        PAIR(more_than_fits_is_kept_and_congests),
        PAIR(writes_behind_kept_bytes_stay_in_order),
        PAIR(many_pieces_are_written),
        PAIR(closing_inside_on_drained),
        PAIR(a_new_owner_gets_the_kept_bytes),
        PAIR(the_owner_may_change_inside_on_read),
        PAIR(between_owners_everything_waits),
        TCP(an_error_between_owners_is_told_to_the_next),
        ALONE(connecting_over_tcp),
        ALONE(what_is_written_before_it_stands_is_sent_then),
        ALONE(congestion_before_it_stands_ends_with_on_drained),
        ALONE(a_refused_connection_is_an_error),
        ALONE(one_that_connects_still_may_be_adopted_by_who_writes),
        ALONE(a_refused_one_that_was_adopted_is_an_error),
        ALONE(closing_while_connecting_is_silent),
        ALONE(unix_sockets_connect_at_once_and_tell_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
