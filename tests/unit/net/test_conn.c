/* test_conn.c: a connected socket: reading and keeping, writing and back-pressure, ends, errors, timeouts. */
#include "loomgate/net/conn.h"

#include "../../support/addr_make.h"
#include "../../support/conn_pair.h"

#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

static struct loop loop;
static struct peer peer;

/* The owner of a conn, and what it was told. */
static struct owner {
    struct conn *c;
    char got[256];
    size_t got_len;
    unsigned opens, reads, eofs, draineds, errors, timeouts;
    int error_number;
    uint64_t bytes;
    size_t take;             /* of each on_read: so many bytes */
    enum conn_close_how how; /* for the close below */
    bool close_on_read, close_on_eof, close_on_drained, pause_on_read;
    const struct conn_events *hand_over; /* in on_read */
    struct owner *heir;
} owner, heir;

static const struct conn_events events;

static void drop(struct owner *o) {
    conn_close(o->c, o->how);
    o->c = NULL;
}

static void on_open(struct conn *c) {
    struct owner *o = c->owner;
    o->opens++;
}

static size_t on_read(struct conn *c, struct slice bytes) {
    struct owner *o = c->owner;
    o->reads++;
    size_t n = bytes.n < o->take ? bytes.n : o->take;
    if (o->got_len + n < sizeof o->got) memcpy(o->got + o->got_len, bytes.p, n), o->got_len += n;
    o->bytes += n;
    if (o->pause_on_read) conn_pause(c);
    if (o->hand_over) conn_set_owner(c, o->hand_over, o->heir), o->heir->c = c, o->c = NULL;
    if (o->close_on_read) drop(o);
    return n;
}

static void on_eof(struct conn *c) {
    struct owner *o = c->owner;
    o->eofs++;
    if (o->close_on_eof) drop(o);
}

static void on_drained(struct conn *c) {
    struct owner *o = c->owner;
    o->draineds++;
    assert_false(conn_is_congested(c));
    assert_false(conn_has_output(c));
    if (o->close_on_drained) drop(o);
}

static void on_error(struct conn *c, int error_number) {
    struct owner *o = c->owner;
    o->errors++;
    o->error_number = error_number;
}

static void on_timeout(struct conn *c) {
    struct owner *o = c->owner;
    o->timeouts++;
}

static const struct conn_events events = {on_open, on_read, on_eof, on_drained, on_error, on_timeout};

static void owner_init(struct owner *o) {
    *o = (struct owner){.take = SIZE_MAX};
}

static void begin(int fd) {
    owner_init(&owner);
    owner_init(&heir);
    loop_init(&loop);
    owner.c = conn_adopt(&loop, fd, &events, &owner);
}

static int set_up(void **state) {
    (void)state;
    begin(peer_open(&peer));
    return 0;
}

static int set_up_tcp(void **state) {
    (void)state;
    begin(peer_open_tcp(&peer));
    return 0;
}

static int set_up_alone(void **state) {
    (void)state;
    peer = (struct peer){.fd = -1};
    owner_init(&owner);
    loop_init(&loop);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (owner.c) conn_close(owner.c, CONN_CLOSE_NOW);
    if (heir.c) conn_close(heir.c, CONN_CLOSE_NOW);
    owner.c = heir.c = NULL;
    peer_close(&peer);
    loop_finish(&loop);
    return 0;
}

static void assert_got(struct owner *o, const char *text) {
    o->got[o->got_len] = '\0';
    assert_string_equal(o->got, text);
    o->got_len = 0;
}

static void write_text(struct conn *c, const char *text, bool more) {
    const struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    conn_write(c, &iov, 1, more);
}

/* So many bytes of a pattern. */
static void write_block(struct conn *c, size_t size) {
    char *block = xmalloc(size);
    for (size_t i = 0; i < size; i++) block[i] = (char)(i % 251);
    const struct iovec iov = {block, size};
    conn_write(c, &iov, 1, false);
    free(block);
}

static void assert_block(const struct peer *p, size_t size) {
    assert_int_equal(p->count, size);
    for (size_t i = 0; i < size; i++)
        if (p->got[i] != (char)(i % 251)) fail_msg("byte %zu is wrong", i);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

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

/* --- writing ------------------------------------------------------------------------------------------------------ */

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

/* --- ends --------------------------------------------------------------------------------------------------------- */

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

/* --- errors ------------------------------------------------------------------------------------------------------- */

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

/* --- timeouts ----------------------------------------------------------------------------------------------------- */

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

/* --- owners ------------------------------------------------------------------------------------------------------- */

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

/* --- connecting --------------------------------------------------------------------------------------------------- */

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

#define PAIR(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TCP(name)   cmocka_unit_test_setup_teardown(name, set_up_tcp, tear_down)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, set_up_alone, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        PAIR(bytes_come_up),
        PAIR(bytes_not_taken_are_kept),
        PAIR(an_owner_that_takes_nothing_is_not_asked_in_vain),
        PAIR(a_pause_keeps_bytes_in_the_kernel),
        PAIR(a_pause_inside_on_read_keeps_the_rest),
        PAIR(the_end_waits_behind_kept_bytes),
        PAIR(large_reads_come_in_pieces),
        PAIR(a_write_goes_out_at_once),
        PAIR(small_pieces_wait_for_what_follows),
        PAIR(the_turns_end_sends_what_waits),
        PAIR(more_than_fits_is_kept_and_congests),
        PAIR(writes_behind_kept_bytes_stay_in_order),
        PAIR(many_pieces_are_written),
        PAIR(closing_inside_on_drained),
        PAIR(a_shutdown_follows_the_bytes),
        PAIR(close_now_drops_and_is_silent),
        PAIR(close_after_write_sends_everything_first),
        PAIR(close_after_write_with_nothing_to_write_is_at_once),
        PAIR(lingering_waits_for_the_peer),
        PAIR(lingering_ends_at_once_when_the_peer_has_ended),
        PAIR(a_closing_connection_is_not_kept_alive_by_what_it_receives),
        TCP(close_reset_is_seen_as_such),
        PAIR(closing_inside_on_read),
        PAIR(closing_inside_on_read_of_kept_bytes),
        PAIR(closing_inside_on_eof),
        TCP(a_reset_is_told_once),
        PAIR(a_failed_write_is_told_at_the_turns_end),
        PAIR(a_failed_write_does_not_hide_what_was_received),
        PAIR(closing_a_broken_one),
        PAIR(a_closing_one_that_breaks_goes_away),
        PAIR(a_timeout_passes_once),
        PAIR(movement_renews_a_timeout_that_says_so),
        PAIR(movement_does_not_renew_another),
        PAIR(a_new_owner_gets_the_kept_bytes),
        PAIR(the_owner_may_change_inside_on_read),
        PAIR(between_owners_everything_waits),
        TCP(an_error_between_owners_is_told_to_the_next),
        ALONE(connecting_over_tcp),
        ALONE(what_is_written_before_it_stands_is_sent_then),
        ALONE(congestion_before_it_stands_ends_with_on_drained),
        ALONE(a_refused_connection_is_an_error),
        ALONE(closing_while_connecting_is_silent),
        ALONE(unix_sockets_connect_at_once_and_tell_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
