/* audit.c: who asked for what change, and what came of it. */
#include "loomgate/control/audit.h"

#include <stdio.h>

void audit_add(struct audit *a, uint64_t unix_us, const struct socket_peer *peer, struct slice command,
               const char *result, const char *message) {
    struct audit_entry *e = &a->v[a->count++ % AUDIT_KEPT];
    *e = (struct audit_entry){.unix_us = unix_us, .peer = *peer, .result = result};
    e->command_len = (uint16_t)(command.n < sizeof e->command ? command.n : sizeof e->command);
    memcpy(e->command, command.p, e->command_len);
    snprintf(e->message, sizeof e->message, "%s", message);
    log_info("control_command", e->message, LOG_INT("uid", peer->uid), LOG_INT("gid", peer->gid),
             LOG_INT("pid", peer->pid), LOG_SLICE("command", slice_from(e->command, e->command_len)),
             LOG_STR("result", result));
}

const struct audit_entry *audit_find(const struct audit *a, uint64_t index) {
    uint64_t first = a->count > AUDIT_KEPT ? a->count - AUDIT_KEPT : 0;
    return first + index < a->count ? &a->v[(first + index) % AUDIT_KEPT] : NULL;
}
