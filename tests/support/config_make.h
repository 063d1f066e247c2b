/* config_make.h: configurations made in C, for tests of what stands on them; generous limits, no timeouts. */
#ifndef TESTS_SUPPORT_CONFIG_MAKE_H
#define TESTS_SUPPORT_CONFIG_MAKE_H

#include "loomgate/config/config.h"
#include "loomgate/net/addr.h"

enum { CONFIG_ROOM = 8 }; /* of each list */

/* Freed by config_free(), or by the snapshot that takes it over. What is returned may be changed until then. */
struct config *config_make(void);
struct frontend_settings *config_add_frontend(struct config *c, const char *name);
/* A path_prefix of NULL matches everything. It answers 200 until told otherwise. */
struct route_settings *config_add_route(struct config *c, struct frontend_settings *f, const char *name,
                                        const char *path_prefix);
struct backend_settings *config_add_backend(struct config *c, const char *name);
struct server_settings *config_add_server(struct config *c, struct backend_settings *b, const char *name,
                                          const struct addr *at);
/* As one would write it. */
struct address_setting address_make(struct arena *a, const struct addr *at);
/* The route goes to that backend. */
void route_to(struct route_settings *r, uint32_t backend);

#endif
