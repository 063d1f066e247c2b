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

/* --- what is stored for a row ----------------------------------------------------------------------------------- */

const void *setting_at(const struct setting *row, const void *base);
uint64_t setting_number(const struct setting *row, const void *base);
const char *setting_text(const struct setting *row, const void *base); /* also the items of a LIST */
uint32_t setting_count(const struct setting *row, const void *base);   /* of a LIST */
bool setting_is_off(const struct setting *row, const void *base);
bool setting_is_map(const struct setting *row, const void *base);
/* Whether there is something to print. */
bool setting_is_set(const struct printer *p, const struct setting *row, const void *base);
/* Whether two rows that are set and neither maps, lists nor pairs mean the same, each with its own backends. */
bool setting_eq(const struct setting *row, const struct printer *pa, const void *a, const struct printer *pb,
                const void *b);

/* --- printing --------------------------------------------------------------------------------------------------- */

/* A value that is neither map, list nor pairs. */
void setting_print(struct printer *p, const struct setting *row, const void *base);
/* Any value, on one line; what is in a map as in `defaults` (a struct like that of `base`) is left out. */
void setting_print_flow(struct printer *p, const struct setting *row, const void *base, const void *defaults);
/* {key: value, ...}; where a scalar may stand for the map and says it all, that. */
void schema_print_flow(struct printer *p, const struct settings_table *table, const void *base, const void *defaults);

/* What a map has where the file says nothing, as a struct of `size` bytes; all in the arena. */
void *schema_new_defaults(struct arena *a, const struct settings_table *table, size_t size);

/* --- reading ---------------------------------------------------------------------------------------------------- */

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
