/* h1_bed.h: an HTTP/1 session over a socket pair, with an exchange that writes down what it hears.
 *
 * The account, bed.log, has a word for each event of the stream and the session, a space between them:
 *     GET/a POST/b 200   a head            end end(2)       the message's end (trailers)
 *     +hello             a piece of body   writable  fail:bad_host  close:ok   the stream's other events
 *                                          idle  gone       the session's */
#ifndef TESTS_SUPPORT_H1_BED_H
#define TESTS_SUPPORT_H1_BED_H

#include "conn_pair.h"

#include "loomgate/http/h1_session.h"
#include "loomgate/http/rewrite.h"

enum { BED_LOG_MAX = 4096, BED_TIME_US = 60000000 };

struct h1_bed {
    struct loop loop;
    struct peer peer;
    struct conn *conn; /* valid while the session has it */
    struct h1_session s;
    struct h1_scratch scratch;
    struct h1_limits limits;
    struct session_timeouts timeouts;
    struct stream *stream; /* the one that is open, or NULL */

    /* what to do */
    void (*at_head)(struct h1_bed *bed, struct message *m);
    void (*at_body)(struct h1_bed *bed, struct slice body, bool more);
    void (*at_end)(struct h1_bed *bed);
    void (*at_fail)(struct h1_bed *bed);
    void (*at_close)(struct h1_bed *bed, enum failure f);
    void (*at_idle)(struct h1_bed *bed);

    /* what was heard */
    size_t log_len;
    char log[BED_LOG_MAX];
    unsigned streams, closes, gone;
    enum failure cause; /* of the last close */
    uint64_t body_bytes;
    bool untouched;               /* of the last stream, when it closed */
    uint64_t bytes_in, bytes_out; /* the same */
    unsigned malformed;           /* told of that */
    enum failure malformed_why;   /* of the last one */
    size_t malformed_at;
};

extern struct h1_bed bed;

/* A client's session (requests come in), a server's; over TCP, for resets. Timeouts are BED_TIME_US unless set before
 * with bed_times(). */
void bed_open_client(void);
void bed_open_server(void);
void bed_open_client_tcp(void);
void bed_open_server_tcp(void);
/* Of the session that is opened next. */
void bed_times(uint64_t idle_us, uint64_t head_us, uint64_t stall_us);
/* cmocka: before and after each test. The tear-down closes what is left. */
int bed_set_up(void **state);
int bed_tear_down(void **state);

/* The account so far is just that; it begins anew. */
void bed_expect(const char *log);
/* Runs the loop until the account is that. */
void bed_await(const char *log);

/* Heads to send, without fields. */
struct message bed_request(const char *method, const char *uri, enum body_kind body, uint64_t length);
struct message bed_response(unsigned status, enum body_kind body, uint64_t length);
/* On the stream that is open. */
void bed_send_head(const struct message *m, bool end);
void bed_send_body(const char *text, bool more);
void bed_send_block(size_t size);
void bed_send_end(void);
/* 200 with that body, complete. */
void bed_answer(const char *body);
/* For at_end: bed_answer("ok"). */
void bed_answer_ok(struct h1_bed *b);
/* Server: opens a stream and sends a GET without a body. */
void bed_get(const char *uri);
/* Server: opens a stream. */
void bed_open_stream(void);

/* Runs `what` within the next turn, before the sockets' events of that turn. */
void bed_within_turn(void (*what)(void));

#endif
