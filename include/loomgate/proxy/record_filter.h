/* record_filter.h: which finished exchanges somebody wants to see: an expression over the fields of the access record,
 * compiled once, looked at for each exchange.
 *
 *   status>=500 and (backend==api or total>200ms) and not path~"^/health"
 *
 *   or        the loosest; then and; then not. ( ) as one would think
 *   a term    FIELD OPERATOR VALUE, or a boolean field alone; or "an expression", as a shell hands it over
 *   FIELD     status tries | bytes_in bytes_out | queue connect first_byte total (durations), the same with _ms
 * (numbers) | frontend route backend server method host path protocol tls id traceparent | cause blame | client |
 * reused OPERATOR  == != for all; < <= > >= for numbers, sizes and durations; ~ (regular expression, found anywhere,
 * case counts unless it begins with (?i)) for texts, cause, blame and client VALUE     a word or "a text": 500, 16KiB,
 * 200ms, true, a failure's name, 10.0.0.0/8 or 10.0.0.1 or 10.0.0.1:5123. Within quotes \" is a quote and \\ a
 * backslash; before all else a backslash stays, as regular expressions want it. A word ends at a space, a quote, ( ) or
 * one of = ! < > ~ null      FIELD==null: it has none; FIELD!=null: it has one. A field that has none makes every other
 * comparison false, but for != which is true: `server!=a1` holds where there was no server
 *
 * Comparisons are by bytes, case counts. A regular expression that takes too many steps for a text is not found. */
#ifndef LOOMGATE_PROXY_RECORD_FILTER_H
#define LOOMGATE_PROXY_RECORD_FILTER_H

#include "loomgate/base/error.h"
#include "loomgate/proxy/access_record.h"

/* Bytes of an expression and of a regular expression in it, terms, parentheses in parentheses. */
enum { FILTER_TEXT_MAX = 4096, FILTER_REGEX_MAX = 1024, FILTER_TERMS_MAX = 64, FILTER_DEPTH_MAX = 32 };

/* Constant once it is made: any number of threads may use it at once. */
struct record_filter;
/* What a thread needs to use filters: one for each thread, for any number of filters. */
struct record_filter_scratch;

/* NULL with an error: a sentence that begins with the column (from 1, in characters). With `used` the expression may be
 * followed by something else, a word or quoted text that cannot be part of it: `*used` is where that begins, or the
 * length of the text. */
struct record_filter *record_filter_compile(struct slice text, size_t *used, struct error *e);
void record_filter_free(struct record_filter *f); /* may be NULL */

struct record_filter_scratch *record_filter_scratch_new(void);
void record_filter_scratch_free(struct record_filter_scratch *s); /* may be NULL */

/* Allocates nothing (but a regular expression may, at first, where the system forbids generated code). */
bool record_filter_matches(const struct record_filter *f, struct record_filter_scratch *s,
                           const struct access_record *r);

#endif
