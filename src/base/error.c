/* error.c: one message for a set-up step that failed. */
#include "loomgate/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* By way of a second buffer: what is wrapped is often the very text that is in `e`. */
static void error_format(struct error *e, const char *format, va_list args) {
    struct error text;
    vsnprintf(text.text, sizeof text.text, format, args);
    *e = text;
}

bool error_set(struct error *e, const char *format, ...) {
    va_list args;
    va_start(args, format);
    error_format(e, format, args);
    va_end(args);
    return false;
}

bool error_set_errno(struct error *e, const char *format, ...) {
    int saved = errno;
    va_list args;
    va_start(args, format);
    error_format(e, format, args);
    va_end(args);
    size_t n = strlen(e->text);
    char reason[128];
    snprintf(e->text + n, sizeof e->text - n, ": %s", strerror_r(saved, reason, sizeof reason));
    return false;
}
