/* conn_pair.h: the other end of a connection under test: a plain socket, what came in on it, and patience. */
#ifndef TESTS_SUPPORT_CONN_PAIR_H
#define TESTS_SUPPORT_CONN_PAIR_H

#include "loop_run.h"

#include "loomgate/net/addr.h"

struct peer {
    int fd; /* -1: closed */
    char *got;
    size_t count, room; /* bytes received and not yet taken */
    uint64_t total;     /* bytes received */
    bool eof;
    int error; /* an errno, once reading has failed */
};

/* A connected pair; returns the other end, non-blocking, for conn_adopt. */
int peer_open(struct peer *p);     /* UNIX */
int peer_open_tcp(struct peer *p); /* 127.0.0.1 */
/* A socket that is connected already. */
void peer_take(struct peer *p, int fd);
void peer_close(struct peer *p);
void peer_reset(struct peer *p); /* RST, TCP only */
void peer_shut(struct peer *p);  /* FIN */

/* Sends all of it at once; it has to fit. */
void peer_say(struct peer *p, const char *text);
void peer_say_slice(struct peer *p, struct slice bytes);
/* As much as fits now. */
size_t peer_push(struct peer *p, struct slice bytes);
/* Reads all that is there now. */
void peer_read(struct peer *p);
/* Forgets what was received. */
void peer_forget(struct peer *p);
/* Runs the loop until just this text is what comes next, and takes it. */
void peer_expect(struct peer *p, struct loop *loop, const char *text);
/* Runs the loop until `text` has come somewhere; takes everything. */
void peer_expect_part(struct peer *p, struct loop *loop, const char *text);
/* Runs the loop until the other side has ended; nothing may come before. */
void peer_expect_eof(struct peer *p, struct loop *loop);
/* Nothing has come: neither bytes nor an end. */
void peer_expect_nothing(struct peer *p, struct loop *loop);
bool peer_has(struct peer *p, size_t count);

/* A listening socket on 127.0.0.1; its address in *at. */
int listener_open(struct addr *at);
/* Runs the loop until somebody has connected; the connection becomes the peer's. */
void listener_accept(int listener, struct loop *loop, struct peer *p);
/* The address of a port that refuses connections: bound, not listening; close the descriptor afterwards. */
int port_refusing(struct addr *at);

#endif
