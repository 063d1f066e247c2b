/* conn_owner.h: an owner of a connection that writes down what it is told; the tests of conn.c stand on it. */
#ifndef TESTS_UNIT_NET_CONN_OWNER_H
#define TESTS_UNIT_NET_CONN_OWNER_H

#include "loomgate/net/conn.h"

#include "../../support/conn_pair.h"

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
    bool close_on_read, close_on_eof, close_on_drained, pause_on_read, yield_on_read;
    const struct conn_events *hand_over; /* in on_read */
    struct owner *heir;
} owner, heir;

static const struct conn_events events;

static inline void drop(struct owner *o) {
    conn_close(o->c, o->how);
    o->c = NULL;
}

static inline void on_open(struct conn *c) {
    struct owner *o = c->owner;
    o->opens++;
}

static inline size_t on_read(struct conn *c, struct slice bytes) {
    struct owner *o = c->owner;
    o->reads++;
    size_t n = bytes.n < o->take ? bytes.n : o->take;
    if (o->got_len + n < sizeof o->got) memcpy(o->got + o->got_len, bytes.p, n), o->got_len += n;
    o->bytes += n;
    if (o->pause_on_read) conn_pause(c);
    if (o->yield_on_read) conn_yield(c);
    if (o->hand_over) conn_set_owner(c, o->hand_over, o->heir), o->heir->c = c, o->c = NULL;
    if (o->close_on_read) drop(o);
    return n;
}

static inline void on_eof(struct conn *c) {
    struct owner *o = c->owner;
    o->eofs++;
    if (o->close_on_eof) drop(o);
}

static inline void on_drained(struct conn *c) {
    struct owner *o = c->owner;
    o->draineds++;
    assert_false(conn_is_congested(c));
    assert_false(conn_has_output(c));
    if (o->close_on_drained) drop(o);
}

static inline void on_error(struct conn *c, int error_number) {
    struct owner *o = c->owner;
    o->errors++;
    o->error_number = error_number;
}

static inline void on_timeout(struct conn *c) {
    struct owner *o = c->owner;
    o->timeouts++;
}

static const struct conn_events events = {on_open, on_read, on_eof, on_drained, on_error, on_timeout};

static inline void owner_init(struct owner *o) {
    *o = (struct owner){.take = SIZE_MAX};
}

static inline void begin(int fd) {
    owner_init(&owner);
    owner_init(&heir);
    loop_init(&loop);
    owner.c = conn_adopt(&loop, fd, &events, &owner);
}

static inline int set_up(void **state) {
    (void)state;
    begin(peer_open(&peer));
    return 0;
}

static inline int set_up_tcp(void **state) {
    (void)state;
    begin(peer_open_tcp(&peer));
    return 0;
}

static inline int set_up_alone(void **state) {
    (void)state;
    peer = (struct peer){.fd = -1};
    owner_init(&owner);
    loop_init(&loop);
    return 0;
}

static inline int tear_down(void **state) {
    (void)state;
    if (owner.c) conn_close(owner.c, CONN_CLOSE_NOW);
    if (heir.c) conn_close(heir.c, CONN_CLOSE_NOW);
    owner.c = heir.c = NULL;
    peer_close(&peer);
    loop_finish(&loop);
    return 0;
}

static inline void assert_got(struct owner *o, const char *text) {
    o->got[o->got_len] = '\0';
    assert_string_equal(o->got, text);
    o->got_len = 0;
}

static inline void write_text(struct conn *c, const char *text, bool more) {
    const struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    conn_write(c, &iov, 1, more);
}

/* So many bytes of a pattern. */
static inline void write_block(struct conn *c, size_t size) {
    char *block = xmalloc(size);
    for (size_t i = 0; i < size; i++) block[i] = (char)(i % 251);
    const struct iovec iov = {block, size};
    conn_write(c, &iov, 1, false);
    free(block);
}

static inline void assert_block(const struct peer *p, size_t size) {
    assert_int_equal(p->count, size);
    for (size_t i = 0; i < size; i++)
        if (p->got[i] != (char)(i % 251)) fail_msg("byte %zu is wrong", i);
}

#define PAIR(name)  cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TCP(name)   cmocka_unit_test_setup_teardown(name, set_up_tcp, tear_down)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, set_up_alone, tear_down)

#endif
