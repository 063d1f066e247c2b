/* failure.c: the hierarchy of failures, as one table. */
#include "loomgate/base/failure.h"

#include "loomgate/base/macros.h"

#include <string.h>

static const struct failure_row rows[FAILURE_COUNT] = {
    [FAILURE_NONE] = {"ok", "", 200, BLAME_NONE, RETRY_NEVER, false},
#define FAILURE(name, blame, status, retry, breaker, sentence) \
    [FAILURE_##name] = {#name, sentence, status, BLAME_##blame, RETRY_##retry, breaker},
#include "loomgate/base/failure.def"
#undef FAILURE
};

const struct failure_row *failure_get(enum failure f) {
    LG_ASSERT((unsigned)f < FAILURE_COUNT);
    return &rows[f];
}

const char *blame_name(enum blame blame) {
    static const char *const names[] = {"", "client", "gateway", "server"};
    LG_ASSERT((unsigned)blame < LG_COUNT(names));
    return names[blame];
}

enum failure failure_find(const char *name) {
    int f = 0;
    while (f < FAILURE_COUNT && strcmp(rows[f].name, name) != 0) f++;
    return (enum failure)f;
}
