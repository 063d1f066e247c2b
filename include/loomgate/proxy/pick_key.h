/* pick_key.h: what `balance: {hash: ...}` makes of a request: the key by which a server is picked. */
#ifndef LOOMGATE_PROXY_PICK_KEY_H
#define LOOMGATE_PROXY_PICK_KEY_H

#include "loomgate/http/message.h"
#include "loomgate/net/addr.h"

/* False when the request has nothing of that kind (no such field, an empty one, a client on a UNIX socket, a tunnel
 * without a request); then any server will do.
 *   source               the client's IP address, IPv4 and IPv4-mapped being the same
 *   host                 without its port, in any case of letters
 *   path, uri            as received
 *   header, cookie, query   the first one of that name that is not empty; values as received */
bool pick_key(const struct balance_settings *settings, const struct message *request, const struct addr *client,
              uint64_t *key);

#endif
