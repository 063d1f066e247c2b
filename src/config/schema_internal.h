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

/* What is wrong with a value; false. */
bool tell_complaint(struct loader *l, const struct setting *row, const struct node *at, const struct complaint *c);
/* A node of the wrong kind, where `wanted` should be; false. */
bool tell_kind(struct loader *l, const struct setting *row, const struct node *value, const char *wanted);

/* Each reads and stores one value; false after an error. `number` gets what was read, UINT64_MAX for a map. */
bool read_number(struct loader *l, const struct setting *row, const struct node *value, void *base, uint64_t *number);
bool read_text(struct loader *l, const struct setting *row, const struct node *value, void *base);
bool read_address(struct loader *l, const struct setting *row, const struct node *value, void *base);
bool read_backend(struct loader *l, const struct setting *row, const struct node *value, void *base);
bool read_pairs(struct loader *l, const struct setting *row, const struct node *value, void *base);
/* Copies row->width bytes to where they belong. */
void setting_store(const struct setting *row, void *base, const void *from);

#endif
