/* macros.h: the few macros that every area uses. */
#ifndef LOOMGATE_BASE_MACROS_H
#define LOOMGATE_BASE_MACROS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* A broken invariant is a bug of LoomGate's, never of a peer's: say where and stop, also in release builds. */
#define LG_ASSERT(cond)                                                               \
    do {                                                                              \
        if (__builtin_expect(!(cond), 0)) {                                           \
            fprintf(stderr, "loomgate: bug: %s:%d: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

#define LG_LIKELY(cond)                    __builtin_expect(!!(cond), 1)
#define LG_UNLIKELY(cond)                  __builtin_expect(!!(cond), 0)
#define LG_COUNT(array)                    (sizeof(array) / sizeof((array)[0]))
#define LG_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define LG_PRINTF(fmt_arg, first_arg)      __attribute__((format(printf, fmt_arg, first_arg)))
#define LG_MUST_CHECK                      __attribute__((warn_unused_result))
#define LG_CACHE_LINE                      64

#endif
