/* An HTTP/1 request as the origin reads it: the head kept as received, the body measured, summed or kept. */
#ifndef ORIGIN_REQUEST_H
#define ORIGIN_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

enum body_state { BODY_LENGTH, BODY_CHUNK_SIZE, BODY_CHUNK_DATA, BODY_CHUNK_END, BODY_TRAILERS, BODY_DONE, BODY_BAD };

struct request {
    struct text head;   /* from the request line to the empty line, as received */
    const char *target; /* inside head */
    size_t target_len;
    bool is_head, is_http10, keep_alive, expect_continue, is_chunked, has_length;
    enum body_state state;
    uint64_t left;     /* of the body, or of this chunk */
    uint64_t received; /* body bytes so far, without framing */
    uint32_t sum;      /* Adler-32 of them */
    bool want_sum, want_body;
    struct text body;     /* if want_body */
    struct text trailers; /* lines as received */
    struct text line;     /* an unfinished line inside a chunked body */
};

/* Reads a head from `bytes`. Returns its length, 0 when it is not complete, -1 when it is no request. */
long request_read_head(struct request *request, const char *bytes, size_t len);

/* Eats body bytes up to the body's end; returns how many. request->state tells BODY_DONE and BODY_BAD. */
size_t request_read_body(struct request *request, const char *bytes, size_t len);

/* A field's value, found by name without regard to case; NULL when it is not there. */
const char *request_field(const struct request *request, const char *name, size_t *len);

/* A query parameter's value, percent-decoded into `value` (cut to its size); false when it is not there. `skip` leaves
   out that many of the same name first. */
bool request_query(const struct request *request, const char *name, int skip, char *value, size_t size);
uint64_t request_query_number(const struct request *request, const char *name, uint64_t otherwise);

/* "12", "64k", "1m", "1g" (powers of 1024). */
uint64_t parse_size(const char *string, const char **end);

void request_clear(struct request *request);
void request_free(struct request *request);

#endif
