/* message.h: one HTTP head, request or response, as slices of the bytes it came in. */
#ifndef LOOMGATE_HTTP_MESSAGE_H
#define LOOMGATE_HTTP_MESSAGE_H

#include "loomgate/http/fields.h"

enum method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_CONNECT,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_PATCH,
    METHOD_COUNT
};

/* How the end of the body is known on the wire it came from (RFC 9112 section 6.3). */
enum body_kind { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

enum message_scheme { SCHEME_HTTP, SCHEME_HTTPS };

struct message {
    struct slice raw; /* the head's bytes; every slice of a received message points into it */

    /* request */
    uint8_t method;           /* enum method; case matters, METHOD_OTHER is any other token */
    struct slice method_name; /* as received */
    struct slice target;      /* as received: origin, absolute or asterisk form */
    struct slice host; /* authority in force: of an absolute target, else of Host; empty when there is none (1.0) */
    struct slice uri;  /* origin form: path and query ("*" for OPTIONS *, "/" for an absolute target without a path) */
    struct slice path, query; /* of uri; query without "?" */
    bool has_query;           /* "/a?" has an empty one */

    /* response */
    uint16_t status;
    struct slice reason;

    /* both */
    uint8_t minor;           /* HTTP/1.minor */
    uint8_t body;            /* enum body_kind */
    uint64_t length;         /* of BODY_LENGTH; for a response to HEAD or a 304 see has_length */
    bool has_length;         /* a Content-Length field was there (also where no body follows) */
    bool keep_alive;         /* the sender would go on with the connection after this message */
    bool expect_continue;    /* request: Expect: 100-continue */
    bool upgrade;            /* Upgrade and Connection: upgrade, and not h2c alone */
    struct slice upgrade_to; /* value of Upgrade when `upgrade` */
    bool te_trailers;        /* request: TE: trailers */

    struct fields fields;
};

/* The well-known method of that name; METHOD_OTHER for another one. */
enum method method_find(struct slice name);
/* Safe and idempotent methods may be sent twice (RFC 9110 section 9.2.2). */
bool method_is_idempotent(enum method m);
/* The usual reason phrase; empty for a status without one. */
struct slice status_reason(unsigned status);
/* A copy whose slices point into the arena, with room for `spare` more fields. */
void message_copy(struct message *to, const struct message *from, struct arena *arena, unsigned spare);

#endif
