/* rewrite.h: what a gateway changes in a head on its way, and heads written as HTTP/1 bytes; pure.
 *
 *   received message --request_rewrite / response_rewrite--> the message to send --h1_print_head--> bytes */
#ifndef LOOMGATE_HTTP_REWRITE_H
#define LOOMGATE_HTTP_REWRITE_H

#include "loomgate/http/message.h"

/* Enough for the fields that request_rewrite and response_rewrite add. */
enum { REWRITE_SPARE_FIELDS = 12 };

/* What is said of the client to the server. Slices live as long as the message. */
struct request_rewrite {
    struct slice id_name,
        id; /* the exchange's id and the field that carries it; the client's own is dropped unless it is `id` itself */
    bool forwarded; /* write X-Forwarded-*; false: leave what came as it is */
    bool trusted;   /* the client is a trusted proxy: append to / keep what came; else replace it */
    struct slice client_ip, proto, port; /* of this connection; Host of the request becomes X-Forwarded-Host */
};

/* Edits a received request in place (RFC 9110 section 7.6): drops hop-by-hop fields and those that Connection names
 * (but never Host, Content-Length, X-Forwarded-* or the id), framing fields (h1_print_head writes its own), the id's
 * and X-Forwarded-* fields where ours replace them, also spelling variants with '_' for '-'; adds ours. `Expect` stays.
 * Needs REWRITE_SPARE_FIELDS of room. `arena` holds text made here (the longer X-Forwarded-For). */
void request_rewrite(struct message *m, const struct request_rewrite *r, struct arena *arena);

struct response_rewrite {
    struct slice id_name, id; /* set on every final response */
    struct slice date;        /* IMF-fixdate, used when the server sent no Date */
};
/* The same for a response. Keeps Upgrade for a 101. */
void response_rewrite(struct message *m, const struct response_rewrite *r);

/* How a head is framed on the connection it goes out on. */
struct h1_framing {
    uint8_t body;    /* enum body_kind, as it will be sent */
    uint64_t length; /* of BODY_LENGTH, or where has_length says that the field is sent without a body (HEAD, 304) */
    bool has_length;
    bool close;           /* Connection: close */
    bool keep_alive_10;   /* Connection: keep-alive, for an HTTP/1.0 peer that asked */
    bool upgrade;         /* Connection: upgrade and Upgrade: m->upgrade_to */
    bool te_trailers;     /* requests: Connection: TE and TE: trailers */
    struct slice trailer; /* value for the Trailer field; empty: none */
};
/* The most bytes that h1_print_head may write for this message. */
size_t h1_head_bound(const struct message *m);
/* Writes start line ("HTTP/1.1" always), Host first (requests; from m->host), fields, framing and the empty line;
 * returns the end. */
char *h1_print_request(char *at, const struct message *m, const struct h1_framing *f);
char *h1_print_response(char *at, const struct message *m, const struct h1_framing *f);
/* "Name: value\r\n". */
char *h1_print_field(char *at, struct slice name, struct slice value);
/* "SIZE\r\n" of a chunk, at most 18 bytes; returns the end. */
char *h1_print_chunk_size(char *at, uint64_t size);

#endif
