/* values.h: the values of the configuration language, one by one: text to number, address or network, and back. Pure.
 */
#ifndef LOOMGATE_CONFIG_VALUES_H
#define LOOMGATE_CONFIG_VALUES_H

#include "loomgate/config/config.h"

/* Why a value is refused: a sentence without a full stop, and how to write it ("" for no hint). */
struct complaint {
    char text[200];
    char hint[200];
};
/* Writes both; `hint` may be NULL. Returns false. */
bool complain(struct complaint *c, const char *hint, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* 250us, 25ms, 2s, 1m30s, 1h, 0: microseconds. */
bool duration_parse(struct slice s, uint64_t *us, struct complaint *c);
/* 4096, 16KiB, 1MiB, 16KB (1000): bytes. */
bool size_parse(struct slice s, uint64_t *bytes, struct complaint *c);
/* 50% or 0.5: 0 to 1. */
bool ratio_parse(struct slice s, double *ratio, struct complaint *c);
/* true, false, yes, no, on, off. */
bool boolean_parse(struct slice s, bool *value, struct complaint *c);
/* Decimal digits without a leading zero. */
bool number_parse(struct slice s, uint64_t *value, struct complaint *c);
/* [A-Za-z0-9_.:-]{1,64} */
bool name_check(struct slice s, struct complaint *c);
/* "200-399", "200,204,300-302": codes from 100 to 599 and ranges of them; spaces around them do not count. */
bool status_list_check(struct slice s, struct complaint *c);
/* Whether a list that status_list_check takes has the status. */
bool status_list_has(const char *list, unsigned status);
/* `listens`: a port of 0 and `*` are allowed. What it points to lives in `a`. */
bool address_parse(struct slice s, bool listens, struct arena *a, struct address_setting *out, struct complaint *c);
/* An address written one way, so that equal ones are equal texts: for comparing, not for showing. Ends in NUL; returns
 * the length. */
enum { ADDRESS_KEY_MAX = 400 };
size_t address_key(const struct address_setting *address, char out[ADDRESS_KEY_MAX]);
/* 10.0.0.0/8, 10.1.2.3, 2001:db8::/32 */
bool cidr_parse(struct slice s, struct cidr *out, struct complaint *c);

enum { VALUE_TEXT_MAX = 64 };
void duration_print(uint64_t us, char out[VALUE_TEXT_MAX]);
void size_print(uint64_t bytes, char out[VALUE_TEXT_MAX]);
void cidr_print(const struct cidr *net, char out[VALUE_TEXT_MAX]);

#endif
