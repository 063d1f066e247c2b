/* failure.h: the hierarchy of failures, as one table (failure.def). */
#ifndef LOOMGATE_BASE_FAILURE_H
#define LOOMGATE_BASE_FAILURE_H

#include <stdbool.h>
#include <stdint.h>

enum failure {
    FAILURE_NONE, /* "ok" */
#define FAILURE(name, blame, status, retry, breaker, sentence) FAILURE_##name,
#include "loomgate/base/failure.def"
#undef FAILURE
    FAILURE_COUNT
};

enum blame { BLAME_NONE, BLAME_CLIENT, BLAME_GATEWAY, BLAME_SERVER };
enum may_retry { RETRY_NEVER, RETRY_IDEMPOTENT, RETRY_ALWAYS };

struct failure_row {
    const char *name;
    const char *sentence;
    uint16_t status;
    uint8_t blame; /* enum blame */
    uint8_t retry; /* enum may_retry */
    bool breaker;
};

/* The row of a failure; never NULL. */
const struct failure_row *failure_get(enum failure f);
/* "client", "gateway", "server", or "" for FAILURE_NONE. */
const char *blame_name(enum blame blame);
/* The failure of that name, FAILURE_NONE for "ok" and FAILURE_COUNT for none. */
enum failure failure_find(const char *name);

#endif
