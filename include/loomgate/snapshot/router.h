/* router.h: a request's host, path and fields to the first route that matches; built once, immutable. */
#ifndef LOOMGATE_SNAPSHOT_ROUTER_H
#define LOOMGATE_SNAPSHOT_ROUTER_H

#include "loomgate/config/config.h"
#include "loomgate/http/message.h"
#include "loomgate/net/addr.h"

struct router;

/* The settings are borrowed for the router's life. */
struct router *router_new(const struct route_settings *routes, uint32_t count);
void router_free(struct router *r);
/* The index of the first route, in the order of the file, of which everything given holds; -1: none. No allocation; the
 * cost does not grow with the number of routes that differ in host or path, nor with the labels and segments asked for.
 *   host         without its port, any case; "*.x.org" is one label or more before ".x.org", not "x.org"
 *   path         as received, without query; path_prefix ends where a segment does: "/v1" has "/v1" and "/v1/x", "/v1/"
 *                has what is below, "/" has everything ("*" too)
 *   header, cookie, query   any one of repeated ones; "*": there; names and values of the query are percent-decoded
 *                ("+" is a plus); fields marked as dropped are not seen */
int router_find(const struct router *r, const struct message *request, const struct addr *client);

enum router_condition {
    ROUTER_NOTHING,
    ROUTER_HOST,
    ROUTER_PATH,
    ROUTER_PATH_PREFIX,
    ROUTER_METHOD,
    ROUTER_HEADER,
    ROUTER_QUERY,
    ROUTER_COOKIE,
    ROUTER_SOURCE
};
struct router_miss {
    enum router_condition condition;
    uint32_t index; /* of a header, query or cookie: which of those given */
};
/* The first condition of one route that does not hold, in the order of the enumeration but for a prefix beside a path,
 * which comes behind the method; NOTHING: router_find() would take it, unless an earlier one. */
struct router_miss router_explain(const struct router *r, uint32_t route, const struct message *request,
                                  const struct addr *client);

#endif
