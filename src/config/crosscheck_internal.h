/* crosscheck_internal.h: what must hold between several keys. Each finish_* is a table_finish. */
#ifndef LOOMGATE_CONFIG_CROSSCHECK_INTERNAL_H
#define LOOMGATE_CONFIG_CROSSCHECK_INTERNAL_H

#include "loomgate/config/schema.h"

table_finish finish_limits, finish_listener, finish_match, finish_respond, finish_route, finish_frontend;
table_finish finish_balance, finish_server, finish_health, finish_breaker, finish_backend, finish_control;
table_finish finish_telemetry;

/* Forgets the names of servers or routes: before the next backend or frontend is read. */
void crosscheck_start(struct loader *l);

#endif
