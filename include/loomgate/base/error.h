/* error.h: one message for a set-up step that failed, with its place where there is one. */
#ifndef LOOMGATE_BASE_ERROR_H
#define LOOMGATE_BASE_ERROR_H

#include "loomgate/base/macros.h"

#include <stdbool.h>

struct error {
    char text[512]; /* a sentence without a full stop; cut when longer */
};

/* Writes the sentence; returns false, so that a failing function ends in `return error_set(...)`. */
bool error_set(struct error *e, const char *format, ...) LG_PRINTF(2, 3);
/* The same with ": " and the text of errno behind it. */
bool error_set_errno(struct error *e, const char *format, ...) LG_PRINTF(2, 3);

#endif
