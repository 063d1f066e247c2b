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

/* Renders at most `end - at` bytes, newline included; long strings (host, path, traceparent) are cut so that the record
 * always stays whole and valid. Returns the end. */
char *access_record_print(const struct access_record *r, enum log_format format, char *at, const char *end);
/* The same into the calling thread's log ring; lost and counted when it is full. */
void access_record_write(const struct access_record *r, struct log_sink *sink, enum log_format format);

#endif
