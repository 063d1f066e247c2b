/* facts.h: lines of facts that one version of the program writes and another reads; pure.
 *
 *   KIND KEY=VALUE KEY=VALUE ...        a value ends with a space; what would disturb is %XX
 *
 * Tolerant both ways: who reads asks for the keys that it knows. What it does not find, or cannot use, leaves what was
 * there before; what nobody asks for is passed over. */
#ifndef LOOMGATE_BASE_FACTS_H
#define LOOMGATE_BASE_FACTS_H

#include "loomgate/base/slice.h"

#include <stdio.h>

/* --- writing: begin, any number of facts, end ------------------------------------------------------------------- */

void facts_begin(FILE *out, const char *kind);
void facts_text(FILE *out, const char *key, const char *value);
void facts_number(FILE *out, const char *key, uint64_t value);
void facts_end(FILE *out);

/* --- reading ---------------------------------------------------------------------------------------------------- */

enum { FACTS_MAX = 64 }; /* of a line; more are passed over */

struct facts {
    const char *kind;
    unsigned count;
    struct fact {
        const char *key, *value;
    } v[FACTS_MAX];
};

/* Takes a line (without its end) apart in place; its text must outlive `f`. False: there is no kind. What is no fact is
 * passed over. */
bool facts_read(struct facts *f, char *line);
/* NULL: there is none. */
const char *facts_find(const struct facts *f, const char *key);
/* A number up to `max`; false, and *out as it was: there is none that fits. */
bool facts_find_number(const struct facts *f, const char *key, uint64_t max, uint64_t *out);
/* The same, or 0. */
uint64_t facts_get_number(const struct facts *f, const char *key);

#endif
