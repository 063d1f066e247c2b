/* fields.h: header and trailer fields: the known names as a table, lookup, lists, editing. */
#ifndef LOOMGATE_HTTP_FIELDS_H
#define LOOMGATE_HTTP_FIELDS_H

#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* The names that LoomGate itself acts on; all others are FIELD_OTHER. Hop-by-hop names (RFC 9110 section 7.6.1) are
 * never forwarded; framing names are always written anew. */
#define FIELD_TABLE(X)                                 \
    /* id, name, class */                              \
    X(HOST, "Host", ROUTING)                           \
    X(CONNECTION, "Connection", HOP)                   \
    X(PROXY_CONNECTION, "Proxy-Connection", HOP)       \
    X(KEEP_ALIVE, "Keep-Alive", HOP)                   \
    X(TE, "TE", HOP)                                   \
    X(UPGRADE, "Upgrade", HOP)                         \
    X(HTTP2_SETTINGS, "HTTP2-Settings", HOP)           \
    X(TRANSFER_ENCODING, "Transfer-Encoding", FRAMING) \
    X(CONTENT_LENGTH, "Content-Length", FRAMING)       \
    X(TRAILER, "Trailer", END)                         \
    X(EXPECT, "Expect", END)                           \
    X(COOKIE, "Cookie", END)                           \
    X(DATE, "Date", END)                               \
    X(SERVER, "Server", END)                           \
    X(ACCEPT, "Accept", END)                           \
    X(RETRY_AFTER, "Retry-After", END)                 \
    X(TRACEPARENT, "traceparent", END)                 \
    X(X_FORWARDED_FOR, "X-Forwarded-For", ROUTING)     \
    X(X_FORWARDED_PROTO, "X-Forwarded-Proto", ROUTING) \
    X(X_FORWARDED_HOST, "X-Forwarded-Host", ROUTING)   \
    X(X_FORWARDED_PORT, "X-Forwarded-Port", ROUTING)

enum field_id {
    FIELD_OTHER,
#define X(id, name, cls) FIELD_##id,
    FIELD_TABLE(X)
#undef X
        FIELD_COUNT
};

struct field {
    struct slice name;  /* as received */
    struct slice value; /* no spaces or tabs at its ends */
    uint16_t id;        /* enum field_id */
    bool drop;          /* not forwarded */
};

struct fields {
    struct field *v;
    uint32_t count, room;
    uint32_t ids; /* the bit of every known id that was ever added, so that what is not there need not be looked for */
};
_Static_assert(FIELD_COUNT <= 32, "struct fields has a bit for each id");

/* The id of a name, in any case of letters; FIELD_OTHER when it is not in the table. Cost: one look at length and a few
 * bytes. */
enum field_id field_id_find(struct slice name);
struct slice field_id_name(enum field_id id);
/* The first one not dropped that is known by `id` / by `name` (any case); NULL when there is none. */
struct field *fields_find(const struct fields *f, enum field_id id);
struct field *fields_find_name(const struct fields *f, struct slice name);
/* Appends; false when `room` is used up. The slices are borrowed. */
bool fields_add(struct fields *f, struct slice name, struct slice value);
bool fields_add_known(struct fields *f, enum field_id id, struct slice value);
/* Whether a field of that id was added, dropped since or not. */
static inline bool fields_had(const struct fields *f, enum field_id id) {
    return f->ids >> id & 1;
}
/* Marks every field of that id / name as dropped; returns how many. */
unsigned fields_drop(struct fields *f, enum field_id id);
unsigned fields_drop_name(struct fields *f, struct slice name);
/* Whether a comma-separated list of tokens holds `token` (any case), over all fields of that id. */
bool fields_list_has(const struct fields *f, enum field_id id, struct slice token);
/* Whether a field of this name may stand in a trailer section (RFC 9110 section 6.5.1): no framing, routing,
 * hop-by-hop, authentication, content-* names. */
bool field_may_trail(struct slice name);

/* Tables of characters (RFC 9110 section 5.6.2 and 5.5). */
extern const bool token_chars[256];        /* tchar */
bool slice_is_token(struct slice s);       /* one or more tchar */
bool slice_is_field_value(struct slice s); /* HTAB, SP, VCHAR, obs-text; may be empty */
/* How many tchar there are at the front of bytes among which there is some other one. */
static inline size_t token_length(const char *p) {
    const char *at = p;
    while (token_chars[(unsigned char)*at++]) continue;
    return (size_t)(at - p) - 1;
}

#endif
