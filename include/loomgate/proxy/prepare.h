/* prepare.h: what a frontend makes of a request before it is routed, and before it is sent on; pure. */
#ifndef LOOMGATE_PROXY_PREPARE_H
#define LOOMGATE_PROXY_PREPARE_H

#include "loomgate/base/failure.h"
#include "loomgate/snapshot/snapshot.h"

enum { REQUEST_ID_MAX = 128 };

/* FAILURE_NONE, or why it is refused whatever the routes say. */
enum failure prepare_check(const struct frontend *f, const struct message *m);
/* The id that the client gave, where that is trusted and can be used; else empty. */
struct slice prepare_id(const struct frontend *f, const struct message *m);
/* Decimal, in the arena. */
struct slice prepare_port(uint16_t port, struct arena *arena);
/* Edits a copy (message_copy with REWRITE_SPARE_FIELDS) for a server; `port`: the one that the client came to. */
void prepare_request(struct message *m, const struct frontend *f, const struct addr *client, uint16_t port,
                     struct slice id, struct arena *arena);

#endif
