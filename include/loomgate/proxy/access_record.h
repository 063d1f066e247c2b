/* access_record.h: what is told of one finished exchange, from a table of fields; rendered as JSON or text. */
#ifndef LOOMGATE_PROXY_ACCESS_RECORD_H
#define LOOMGATE_PROXY_ACCESS_RECORD_H

#include "loomgate/base/failure.h"
#include "loomgate/base/log.h"
#include "loomgate/base/slice.h"
#include "loomgate/net/addr.h"

enum { ACCESS_TRIES_MAX = 8 };
#define ACCESS_NONE UINT64_MAX /* a duration or number that there is not: null in JSON, "-" in text */

struct access_try {
    const char *server;
    uint64_t total_us, backoff_us;
    enum failure cause;
};

struct access_record {
    uint64_t unix_us; /* when the exchange began */
    struct slice id;
    const char *frontend, *route, *backend, *server; /* NULL: none */
    const struct addr *client;
    struct slice method, host, path; /* path with its query, as received; empty: none */
    const char *protocol;            /* "HTTP/1.1", "tcp" */
    unsigned status;                 /* 0: none was sent */
    enum failure cause;
    uint64_t bytes_in, bytes_out; /* from and to the client, heads included */
    uint64_t queue_us, connect_us, first_byte_us, total_us;
    struct access_try tries[ACCESS_TRIES_MAX];
    unsigned try_count;
    bool reused;
    struct slice tls, traceparent; /* empty: left out */
};

/* No record is longer in the log; what is never cut (names, numbers, tries) fits with room to spare. */
enum { ACCESS_RECORD_MAX = 8192 };

/* Renders at most `end - at` bytes, newline included, and returns the end. Long strings (method, host, path,
 * traceparent) are cut so that the record stays whole and valid; a string that was cut ends in U+2026. Where not even
 * the rest fits, nothing is written and `at` comes back.
 *
 * JSON: the fields in the order of doc/observability.md; durations in ms with three decimals; null where there is none;
 * `tls` and `traceparent` are left out when empty. text: one line, words in this order, never with a space in them, "-"
 * where there is none: TIME ID CLIENT FRONTEND/ROUTE BACKEND/SERVER "METHOD HOST PATH" STATUS CAUSE BLAME in=BYTES
 * out=BYTES queue=MS connect=MS first=MS total=MS tries=COUNT reused=yes|no protocol=P [tls=T] [traceparent=T]
 *   2026-01-31T12:00:00.000Z 0193 192.0.2.1:5123 web/api app/a2 "GET example.com /v1?x=1" 200 ok - in=120 out=4096
 *   queue=0.000 connect=0.210 first=1.200 total=1.500 tries=1 reused=no protocol=HTTP/1.1 */
char *access_record_print(const struct access_record *r, enum log_format format, char *at, const char *end);
/* The same, at most ACCESS_RECORD_MAX bytes, into the calling thread's log ring; lost and counted when it is full. */
void access_record_write(const struct access_record *r, struct log_sink *sink, enum log_format format);

#endif
