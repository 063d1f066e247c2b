/* audit.h: who asked for what change, and what came of it: logged, and the last ones kept. Control thread only. */
#ifndef LOOMGATE_CONTROL_AUDIT_H
#define LOOMGATE_CONTROL_AUDIT_H

#include "loomgate/config/config.h"
#include "loomgate/net/socket.h"

enum { AUDIT_KEPT = 256, AUDIT_COMMAND_MAX = 256, AUDIT_MESSAGE_MAX = 256 };

struct audit_entry {
    uint64_t unix_us;
    struct socket_peer peer;
    char command[AUDIT_COMMAND_MAX]; /* cut when longer */
    char message[AUDIT_MESSAGE_MAX];
    uint16_t command_len;
    const char *result; /* "ok", or the word of an error */
};

struct audit {
    uint64_t count; /* since the start */
    struct audit_entry v[AUDIT_KEPT];
};

/* Notes and logs it; `result` is a literal. */
void audit_add(struct audit *a, uint64_t unix_us, const struct socket_peer *peer, struct slice command,
               const char *result, const char *message);
/* The entry that was noted as number `index` of those kept, the oldest first; NULL behind the last. */
const struct audit_entry *audit_find(const struct audit *a, uint64_t index);

#endif
