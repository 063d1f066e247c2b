/* answer.h: answers of our own: errors, fixed responses, redirects; pure. */
#ifndef LOOMGATE_PROXY_ANSWER_H
#define LOOMGATE_PROXY_ANSWER_H

#include "loomgate/base/failure.h"
#include "loomgate/config/config.h"
#include "loomgate/http/message.h"

struct answer {
    struct message head;
    struct slice body;
};

/* What %{...} of a redirect is filled in with, beside the request. */
struct answer_facts {
    struct slice scheme, port;
};

/* All of it lives in the arena or is static. `request` may be empty (nothing was understood of it). */

/* Text, or JSON when the request accepts application/json; names the failure and the id, nothing of the inside. A 503
 * says when to come back: in `wait_us`, rounded up to seconds, at least one. */
void answer_error(struct answer *a, enum failure f, uint64_t wait_us, const struct message *request, struct slice id,
                  struct arena *arena);
void answer_respond(struct answer *a, const struct route_settings *route, struct arena *arena);
/* Only its head: `size` bytes of metrics follow. */
void answer_metrics(struct answer *a, size_t size, struct arena *arena);
void answer_redirect(struct answer *a, const struct route_settings *route, const struct message *request,
                     const struct answer_facts *facts, struct arena *arena);

#endif
