/* server.h: the control sockets: bound with their rights, clients, one command after the other.
 *
 *   new -> hooks given to runtime_run -> on_bind: sockets listen -> clients -> on_stop: all closed -> free
 *
 * A client:   READING --a line--> commands one by one, each answered before the next --EOF and nothing left--> closed
 *   A command that takes time holds up the lines of its own client only. */
#ifndef LOOMGATE_CONTROL_SERVER_H
#define LOOMGATE_CONTROL_SERVER_H

#include "loomgate/control/command.h"

/* CLIENTS: at each socket, so that those of a socket for users cannot lock administrators out. ANSWER: how long an
 * answer may wait for a client that does not read. */
enum { CONTROL_CLIENTS_MAX = 64, CONTROL_ANSWER_US = 10000000 };

struct control_server;
/* The options are borrowed. */
struct control_server *control_server_new(const struct control_options *options);
/* After runtime_run has returned. */
void control_server_free(struct control_server *s);
/* For runtime_run. Binds what global.control says: an address that somebody else answers at is an error, as is an
 * owner or group that there is not. */
const struct runtime_hooks *control_server_hooks(struct control_server *s);

#endif
