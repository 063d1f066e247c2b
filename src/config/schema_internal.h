/* schema_internal.h: what reading, printing and the reference of the settings tables share. */
#ifndef LOOMGATE_CONFIG_SCHEMA_INTERNAL_H
#define LOOMGATE_CONFIG_SCHEMA_INTERNAL_H

#include "loomgate/config/schema.h"

/* The bytes of a value that a message shows, for "%.*s". */
int shown_len(struct slice s);
/* "did you mean 'x'? INTRO a, b, c" */
void hint_words(char *out, size_t room, struct slice word, const char *intro, const char *const *words, size_t count);
/* A number of a row's type, as one would write it. */
void number_print(const struct setting *row, uint64_t number, char out[VALUE_TEXT_MAX]);
/* The largest number that a row takes. */
uint64_t setting_max(const struct setting *row);

#endif
