/* json_check.h: is a text one valid JSON value (RFC 8259), in valid UTF-8? */
#ifndef TESTS_SUPPORT_JSON_CHECK_H
#define TESTS_SUPPORT_JSON_CHECK_H

#include "loomgate/base/slice.h"

/* Also false for an object that has a name twice. Spaces around the value are valid. */
bool json_is_valid(struct slice text);
/* The raw text of a member of the object `text` (strings with their quotes); empty when there is none. */
struct slice json_member(struct slice text, const char *name);
/* The bytes that a JSON string stands for; returns their number, at most `room`. */
size_t json_unescape(struct slice string, char *out, size_t room);

#endif
