/* fake_stream.h: one side of an exchange without a protocol: writes down what it is asked, and raises events by call.
 *
 * The account has a word for each operation, a space between them:
 *     head:200 head:200/5 (a length) head:GET/a   head:204. (the dot: nothing follows)   end end(2) (trailers)
 *     +hello             a piece of body            +hello~ (more follows)                 pause resume reset take */
#ifndef TESTS_SUPPORT_FAKE_STREAM_H
#define TESTS_SUPPORT_FAKE_STREAM_H

#include "loomgate/http/stream.h"

enum { FAKE_LOG_MAX = 2048, FAKE_FIELDS_MAX = 2048 };

struct fake_stream {
    struct stream stream;
    bool open; /* no on_close, reset or take_conn yet */
    bool paused;
    bool request_ended; /* of a client's side: on_end was raised */
    bool closes_itself; /* a client's side: on_close as soon as both directions are complete, as h1_session does */
    bool response_ended;
    bool keep_alive;   /* of the last head sent */
    struct conn *conn; /* for take_conn */
    size_t log_len;
    char log[FAKE_LOG_MAX];
    char fields[FAKE_FIELDS_MAX]; /* of the last head sent, "Name: value\n" each */
};

/* `role`: a client's stream closes itself. */
void fake_stream_init(struct fake_stream *f, bool is_client);
/* The account is just that; it begins anew. */
void fake_expect(struct fake_stream *f, const char *log);
/* The last head sent has this field line, "Name: value". */
void fake_expect_field(const struct fake_stream *f, const char *line);
void fake_expect_no_field(const struct fake_stream *f, const char *name);

void fake_head(struct fake_stream *f, struct message *m);
void fake_body(struct fake_stream *f, const char *text);
void fake_end(struct fake_stream *f);
void fake_writable(struct fake_stream *f);
void fake_fail(struct fake_stream *f, enum failure why);
void fake_close(struct fake_stream *f, enum failure why);

#endif
