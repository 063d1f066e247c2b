/* h1_codec.h: HTTP/1 bytes to events, either role; pure: no socket, no clock, no allocation of its own.
 *
 *   START --head complete--> (H1_HEAD) --> BODY --> (H1_BODY)* --> (H1_END) --> START
 *     |                                      |
 *     +------- anything against the law -----+--> (H1_ERROR), and nothing after it
 *
 * A head is parsed only when all of it is there, in one piece: the caller keeps what H1_MORE left in `in` and
 * presents it again with more bytes behind it; bytes already looked at are not scanned each time. Controls, bare CR and
 * LF and over-long heads are refused as soon as they are seen. */
#ifndef LOOMGATE_HTTP_H1_CODEC_H
#define LOOMGATE_HTTP_H1_CODEC_H

#include "loomgate/base/failure.h"
#include "loomgate/base/slice.h"
#include "loomgate/http/message.h"

#include <llhttp.h>

enum h1_role { H1_READS_REQUESTS, H1_READS_RESPONSES };
enum h1_event { H1_MORE, H1_HEAD, H1_BODY, H1_END, H1_ERROR };

struct h1_limits {
    uint32_t head_bytes; /* start line and fields, with line ends */
    uint32_t field_count;
    uint32_t uri_bytes; /* requests: the target */
};
enum { H1_CHUNK_EXTENSION_MAX = 1024, H1_TRAILER_BYTES_MAX = 8192, H1_TRAILER_COUNT_MAX = 64, H1_FIELDS_MAX = 1024 };

/* One a worker, lent to every call: what an event points to lives here or in the bytes that were passed in, until the
 * next call with the same scratch. Zero before the first. */
struct h1_scratch {
    llhttp_t parser;        /* of one head, one trailer section or one size line: none of them is left half parsed */
    llhttp_t before_chunks; /* as it stands behind a head that says chunked, once it was made */
    bool has_before_chunks;
    struct message message;
    struct fields trailers;
    struct field field_room[H1_FIELDS_MAX + 32]; /* 32: for fields that LoomGate adds */
    struct field trailer_room[H1_TRAILER_COUNT_MAX];
};

struct h1_codec {
    uint64_t remaining;     /* bytes of the body to come, where the length is known */
    uint32_t scanned;       /* bytes of the incomplete head (or trailer section) already checked */
    uint32_t framing_bytes; /* chunk framing since the last byte of data */
    uint8_t role, state, body;
    uint8_t request_method; /* responses: of the request that they answer */
    bool upgrade_asked;     /* responses: a 101 is welcome */
    bool keep_alive;        /* of the message in progress */
};

struct h1_result {
    struct message *head;          /* H1_HEAD */
    struct slice body;             /* H1_BODY, never empty */
    const struct fields *trailers; /* H1_END; count may be 0 */
    enum failure failure;          /* H1_ERROR; for responses bad_response, response_too_large or response_cut */
    const char *place;             /* H1_ERROR of h1_codec_next: where in the bytes (or at their end) it was noticed */
};

void h1_codec_init(struct h1_codec *c, enum h1_role role);
/* Responses only, before the first byte of the answer: which request it answers. 1xx heads (but 101) come as H1_HEAD
 * followed by H1_END at once and do not use the expectation up. */
void h1_codec_expect(struct h1_codec *c, enum method method, bool upgrade_asked);
/* The next event in `*in`, which is moved past the bytes that it took. After H1_HEAD with BODY_NONE or a length of 0
 * the next call gives H1_END, also with an empty `*in`. After H1_END of a request the next call begins the next
 * message; empty lines before a request line are skipped (RFC 9112 section 2.2). H1_MORE with bytes left in `*in`: an
 * incomplete head. A 101 that was asked for: H1_HEAD, and the codec is not to be used any more: bytes left are the new
 * protocol's. */
enum h1_event h1_codec_next(struct h1_codec *c, struct slice *in, const struct h1_limits *limits,
                            struct h1_scratch *scratch, struct h1_result *out);
/* The peer has closed its sending side: H1_END for a body that ends so, H1_MORE when no message was begun, else
 * H1_ERROR. `pending` is what H1_MORE left. */
enum h1_event h1_codec_eof(struct h1_codec *c, struct slice pending, struct h1_result *out);
/* Whether a message is under way: its head is complete and its end not yet. */
bool h1_codec_in_message(const struct h1_codec *c);

#endif
