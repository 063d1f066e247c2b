/* params.h: the named parts of a query and of a Cookie field. */
#ifndef LOOMGATE_HTTP_PARAMS_H
#define LOOMGATE_HTTP_PARAMS_H

#include "loomgate/base/slice.h"

/* Each finds the next part of that name and takes all up to its end off `*rest`; false when there is none any more.
 * The value is as sent, empty where there is no "=". Names of a query are percent-decoded before they are compared
 * ("+" is a plus), those of cookies are not (RFC 6265 section 4.2.1). */
bool query_next(struct slice *rest, struct slice name, struct slice *value);
bool cookie_next(struct slice *rest, struct slice name, struct slice *value);
/* Whether the text is `want` once "%41" is read as "A" (RFC 3986 section 2.1); a broken triplet stands for itself. */
bool percent_decodes_to(struct slice text, struct slice want);

#endif
