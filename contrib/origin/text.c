/* Growable bytes. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_KEEP = 16 * 1024 };

static void text_reserve(struct text *text, size_t more) {
    if (text->cap - text->len >= more) {
        return;
    }
    size_t cap = text->cap ? text->cap : 512;
    while (cap - text->len < more) {
        cap *= 2;
    }
    text->at = realloc(text->at, cap);
    if (!text->at) {
        abort();
    }
    text->cap = cap;
}

void text_add(struct text *text, const void *bytes, size_t len) {
    if (len == 0) {
        return;
    }
    text_reserve(text, len);
    memcpy(text->at + text->len, bytes, len);
    text->len += len;
}

void text_puts(struct text *text, const char *string) {
    text_add(text, string, strlen(string));
}

void text_put_number(struct text *text, uint64_t number) {
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    text_add(text, digits + at, sizeof(digits) - at);
}

void text_printf(struct text *text, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (len > 0) {
        text_add(text, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
    }
}

void text_clear(struct text *text) {
    if (text->cap > TEXT_KEEP) {
        text_free(text);
    }
    text->len = 0;
}

void text_free(struct text *text) {
    free(text->at);
    *text = (struct text){0};
}
