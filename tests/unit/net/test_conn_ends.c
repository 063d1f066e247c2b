/* test_conn_ends.c: how a connection ends: shut, closed, reset, broken, by time, and inside its own events. */
#include "conn_owner.h"

#include <errno.h>
#include <linux/tcp.h>
#include <unistd.h>

/* --- ends ------------------------------------------------------------------------------------------------------- */

static void a_shutdown_follows_the_bytes(void **state) {
    (void)state;
    write_block(owner.c, 500000);
    conn_shutdown(owner.c);
    conn_shutdown(owner.c);
    write_text(owner.c, "ignored", false);
    LOOP_UNTIL(&loop, peer_has(&peer, 500000));
    assert_block(&peer, 500000);
    peer_forget(&peer);
    peer_expect_eof(&peer, &loop);
    peer_say(&peer, "the other way is open");
    LOOP_UNTIL(&loop, owner.bytes == 21);
}

static void close_now_drops_and_is_silent(void **state) {
    (void)state;
    write_block(owner.c, 500000);
    drop(&owner);
    loop_settle(&loop);
    peer_read(&peer);
    assert_true(peer.eof || peer.error);
    assert_true(peer.total < 500000);
    assert_int_equal(owner.errors + owner.eofs + owner.draineds, 0);
    assert_int_equal(loop.conns.in_use, 0);
}

static void close_after_write_sends_everything_first(void **state) {
    (void)state;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_block(owner.c, 500000);
    drop(&owner);
    LOOP_UNTIL(&loop, peer_has(&peer, 500000));
    assert_block(&peer, 500000);
    peer_forget(&peer);
    peer_expect_eof(&peer, &loop);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
    assert_int_equal(owner.draineds, 0);
}

static void close_after_write_with_nothing_to_write_is_at_once(void **state) {
    (void)state;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_text(owner.c, "bye", true);
    drop(&owner);
    peer_read(&peer);
    assert_int_equal(peer.count, 3);
    loop_turns(&loop, 1);
    assert_int_equal(loop.conns.in_use, 0);
}

static unsigned segments_in(int fd) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_segs_in;
}

/* The last bytes and the FIN are one packet, whichever way it is closed. */
static void the_end_goes_with_the_last_bytes(void **state) {
    (void)state;
    static const enum conn_close_how ways[] = {CONN_CLOSE_AFTER_WRITE, CONN_CLOSE_LINGER};
    for (size_t i = 0; i < LG_COUNT(ways); i++) {
        struct peer client;
        owner.how = ways[i];
        struct conn *before = owner.c;
        owner.c = conn_adopt(&loop, peer_open_tcp(&client), &events, &owner);
        unsigned segments = segments_in(client.fd);
        write_text(owner.c, "goodbye", true);
        drop(&owner);
        peer_expect(&client, &loop, "goodbye");
        peer_expect_eof(&client, &loop);
        assert_int_equal(segments_in(client.fd), segments + 1);
        peer_close(&client);
        owner.c = before;
        LOOP_UNTIL(&loop, loop.conns.in_use == 1);
    }
}

/* FIN first; what comes is read away; the descriptor goes with the peer's FIN. */
static void lingering_waits_for_the_peer(void **state) {
    (void)state;
    owner.how = CONN_CLOSE_LINGER;
    write_text(owner.c, "answer", true);
    drop(&owner);
    peer_expect(&peer, &loop, "answer");
    peer_expect_eof(&peer, &loop);
    for (unsigned i = 0; i < 4; i++) {
        peer_say(&peer, "the rest of a long request");
        loop_settle(&loop);
    }
    assert_int_equal(loop.conns.in_use, 1);
    assert_int_equal(loop.chunks.bytes, 0);
    peer_shut(&peer);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
    assert_int_equal(owner.reads, 0);
}

static void lingering_ends_at_once_when_the_peer_has_ended(void **state) {
    (void)state;
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    owner.how = CONN_CLOSE_LINGER;
    write_text(owner.c, "answer", true);
    drop(&owner);
    loop_turns(&loop, 1);
    assert_int_equal(loop.conns.in_use, 0);
    peer_expect(&peer, &loop, "answer");
    peer_expect_eof(&peer, &loop);
}

/* However much the peer sends: it has CONN_DRAIN_US to take what is kept for it. */
static void a_closing_connection_is_not_kept_alive_by_what_it_receives(void **state) {
    (void)state;
    struct conn *c = owner.c;
    owner.how = CONN_CLOSE_LINGER;
    write_block(owner.c, 500000);
    drop(&owner);
    uint64_t at_us = c->deadline.at_us;
    assert_true(deadline_is_set(&c->deadline));
    uint64_t now = loop.now_us;
    LOOP_UNTIL(&loop, loop.now_us > now + 2000);
    peer_say(&peer, "and another thing");
    loop_settle(&loop);
    assert_int_equal(c->deadline.at_us, at_us);
    peer_close(&peer);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
}

static void close_reset_is_seen_as_such(void **state) {
    (void)state;
    owner.how = CONN_CLOSE_RESET;
    write_text(owner.c, "cut", false);
    drop(&owner);
    LOOP_UNTIL(&loop, (peer_read(&peer), peer.eof || peer.error));
    assert_int_equal(peer.error, ECONNRESET);
}

static void a_released_socket_stays_open(void **state) {
    (void)state;
    write_block(owner.c, 500000); /* what does not fit is dropped */
    conn_set_timeout(owner.c, 1000, false);
    int fd = conn_release(owner.c);
    owner.c = NULL;
    loop_settle(&loop);
    assert_int_equal(loop.conns.in_use, 0);
    peer_read(&peer);
    assert_false(peer.eof || peer.error);
    peer_forget(&peer);
    assert_int_equal(write(fd, "still", 5), 5);
    peer_expect(&peer, &loop, "still");
    peer_say(&peer, "back");
    loop_run_for(&loop, 3000);
    assert_int_equal(owner.reads + owner.timeouts + owner.errors + owner.draineds, 0);
    close(fd);
}

static void closing_inside_on_read(void **state) {
    (void)state;
    owner.close_on_read = true;
    owner.take = 2;
    peer_say(&peer, "abcdef");
    LOOP_UNTIL(&loop, owner.reads == 1);
    loop_settle(&loop);
    assert_int_equal(owner.reads, 1);
    assert_int_equal(loop.conns.in_use, 0);
    assert_int_equal(loop.chunks.bytes, 0);
}

static void closing_inside_on_read_of_kept_bytes(void **state) {
    (void)state;
    owner.take = 0;
    peer_say(&peer, "abc");
    LOOP_UNTIL(&loop, owner.reads == 1);
    owner.close_on_read = true;
    owner.take = 2;
    owner.how = CONN_CLOSE_LINGER;
    peer_say(&peer, "def");
    LOOP_UNTIL(&loop, owner.reads == 2);
    loop_settle(&loop);
    assert_int_equal(owner.reads, 2);
    assert_int_equal(loop.conns.in_use, 1); /* waits for the peer's FIN */
    assert_int_equal(loop.chunks.bytes, 0);
    peer_shut(&peer);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
}

static void closing_inside_on_eof(void **state) {
    (void)state;
    owner.close_on_eof = true;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_text(owner.c, "last words", true);
    peer_shut(&peer);
    LOOP_UNTIL(&loop, owner.eofs == 1);
    peer_expect(&peer, &loop, "last words");
    peer_expect_eof(&peer, &loop);
}

static unsigned all_closed;

static void on_all_closed(struct loop *l) {
    assert_ptr_equal(l, &loop);
    assert_int_equal(l->closing, 0);
    all_closed++;
}

/* A loop knows how many still send their last bytes, and says when there are none. */
static void the_last_closing_one_is_told(void **state) {
    (void)state;
    all_closed = 0;
    loop.on_all_closed = on_all_closed;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_block(owner.c, 500000);
    drop(&owner);
    assert_int_equal(loop.closing, 1);
    LOOP_UNTIL(&loop, peer_has(&peer, 500000));
    LOOP_UNTIL(&loop, all_closed == 1);
    assert_int_equal(loop.closing, 0);
}

static void who_closes_at_once_was_never_closing(void **state) {
    (void)state;
    all_closed = 0;
    loop.on_all_closed = on_all_closed;
    drop(&owner);
    assert_int_equal(loop.closing, 0);
    loop_settle(&loop);
    assert_int_equal(all_closed, 0);
}

/* --- errors ----------------------------------------------------------------------------------------------------- */

static void a_reset_is_told_once(void **state) {
    (void)state;
    peer_reset(&peer);
    LOOP_UNTIL(&loop, owner.errors == 1);
    assert_int_equal(owner.error_number, ECONNRESET);
    write_text(owner.c, "ignored", false);
    memcpy(conn_reserve(owner.c, 4), "this", 4);
    conn_commit(owner.c, 4);
    conn_flush(owner.c);
    conn_shutdown(owner.c);
    conn_pause(owner.c);
    conn_resume(owner.c);
    loop_settle(&loop);
    assert_int_equal(owner.errors, 1);
    assert_int_equal(owner.eofs, 0);
}

/* An error of a write comes up later, not from inside the write. */
static void a_failed_write_is_told_at_the_turns_end(void **state) {
    (void)state;
    conn_pause(owner.c);
    peer_close(&peer);
    write_text(owner.c, "x", false);
    assert_int_equal(owner.errors, 0);
    LOOP_UNTIL(&loop, owner.errors == 1);
    assert_int_equal(owner.error_number, EPIPE);
}

/* What the peer had said before it went away is heard although nothing can be sent to it any more. */
static void a_failed_write_does_not_hide_what_was_received(void **state) {
    (void)state;
    conn_read_on(owner.c);
    peer_say(&peer, "413 too much");
    peer_close(&peer);
    write_text(owner.c, "more of a body", false);
    LOOP_UNTIL(&loop, owner.errors + owner.eofs > 0);
    assert_got(&owner, "413 too much");
}

static void closing_a_broken_one(void **state) {
    (void)state;
    conn_pause(owner.c);
    peer_close(&peer);
    write_text(owner.c, "x", false);
    owner.how = CONN_CLOSE_LINGER;
    drop(&owner);
    loop_turns(&loop, 1);
    assert_int_equal(loop.conns.in_use, 0);
    assert_int_equal(owner.errors, 0);
}

static void a_closing_one_that_breaks_goes_away(void **state) {
    (void)state;
    owner.how = CONN_CLOSE_AFTER_WRITE;
    write_block(owner.c, 500000);
    drop(&owner);
    peer_close(&peer);
    LOOP_UNTIL(&loop, loop.conns.in_use == 0);
}

/* --- timeouts --------------------------------------------------------------------------------------------------- */

static void a_timeout_passes_once(void **state) {
    (void)state;
    conn_set_timeout(owner.c, 2000, false);
    LOOP_UNTIL(&loop, owner.timeouts == 1);
    loop_run_for(&loop, 5000);
    assert_int_equal(owner.timeouts, 1);
}

static void movement_renews_a_timeout_that_says_so(void **state) {
    (void)state;
    conn_set_timeout(owner.c, 60000, true);
    uint64_t first = owner.c->deadline.at_us;
    uint64_t now = loop.now_us;
    LOOP_UNTIL(&loop, loop.now_us > now + 1000);
    peer_say(&peer, "in");
    LOOP_UNTIL(&loop, owner.bytes == 2);
    uint64_t second = owner.c->deadline.at_us;
    assert_true(second > first);
    now = loop.now_us;
    LOOP_UNTIL(&loop, loop.now_us > now + 1000);
    write_text(owner.c, "out", false);
    assert_true(owner.c->deadline.at_us > second);
}

static void movement_does_not_renew_another(void **state) {
    (void)state;
    conn_set_timeout(owner.c, 60000, false);
    uint64_t at = owner.c->deadline.at_us, now = loop.now_us;
    LOOP_UNTIL(&loop, loop.now_us > now + 1000);
    peer_say(&peer, "in");
    LOOP_UNTIL(&loop, owner.bytes == 2);
    write_text(owner.c, "out", false);
    assert_int_equal(owner.c->deadline.at_us, at);
    conn_set_timeout(owner.c, 0, false);
    assert_false(deadline_is_set(&owner.c->deadline));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PAIR(a_shutdown_follows_the_bytes),
        PAIR(close_now_drops_and_is_silent),
        PAIR(close_after_write_sends_everything_first),
        PAIR(close_after_write_with_nothing_to_write_is_at_once),
        PAIR(the_end_goes_with_the_last_bytes),
        PAIR(lingering_waits_for_the_peer),
        PAIR(lingering_ends_at_once_when_the_peer_has_ended),
        PAIR(a_closing_connection_is_not_kept_alive_by_what_it_receives),
        TCP(close_reset_is_seen_as_such),
        PAIR(a_released_socket_stays_open),
        PAIR(closing_inside_on_read),
        PAIR(closing_inside_on_read_of_kept_bytes),
        PAIR(closing_inside_on_eof),
        PAIR(the_last_closing_one_is_told),
        PAIR(who_closes_at_once_was_never_closing),
        TCP(a_reset_is_told_once),
        PAIR(a_failed_write_is_told_at_the_turns_end),
        PAIR(a_failed_write_does_not_hide_what_was_received),
        PAIR(closing_a_broken_one),
        PAIR(a_closing_one_that_breaks_goes_away),
        PAIR(a_timeout_passes_once),
        PAIR(movement_renews_a_timeout_that_says_so),
        PAIR(movement_does_not_renew_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
