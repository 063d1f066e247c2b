/* plan_client.h: the other end of a control socket, for `loomgate -c --plan`: what would this file change?
 *
 *   the file, checked --plan_socket--> the socket to ask --plan_ask: `config plan "/path"`--> the answer, or why not
 *
 * Blocking, with a limit of time: for a process that does nothing else. */
#ifndef LOOMGATE_CONTROL_PLAN_CLIENT_H
#define LOOMGATE_CONTROL_PLAN_CLIENT_H

#include "loomgate/base/error.h"
#include "loomgate/config/config.h"

enum { PLAN_WAIT_US = 5000000 };

/* The path of the first of `global.control` that grants level admin; NULL: none does. */
const char *plan_socket(const struct config *config);

/* The line that asks for the plan of a file: its path made absolute (from `folder`), quoted for the socket; from
 * malloc. NULL: no line can say this path. */
char *plan_command(const char *folder, const char *path);

/* Asks whoever listens at `socket`, which may take `wait_us` in all. The answer, without the empty line that ends it,
 * from malloc; NULL with a sentence: nobody answers, or not in time, or what comes is an error. */
char *plan_ask(const char *socket, const char *path, uint64_t wait_us, struct error *e);

#endif
