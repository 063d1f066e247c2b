/* Growable bytes, used for whatever the origin sends or remembers. */
#ifndef ORIGIN_TEXT_H
#define ORIGIN_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
    char *at;
    size_t len;
    size_t cap;
};

void text_add(struct text *text, const void *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_put_number(struct text *text, uint64_t number);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Empties it and keeps a small allocation for the next use. */
void text_clear(struct text *text);
void text_free(struct text *text);

#endif
