/* line.h: a line of the control socket to commands, a command to words; pure.
 *
 *   drain app/a2 ; explain GET / "User-Agent: x y" json     two commands; `;` separates, `"` keeps spaces, `\` escapes
 */
#ifndef LOOMGATE_CONTROL_LINE_H
#define LOOMGATE_CONTROL_LINE_H

#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"

enum { CONTROL_LINE_MAX = 16384, CONTROL_WORDS_MAX = 256 };

struct word {
    struct slice text; /* decoded, with a NUL behind it; may have one inside, too */
    bool is_plain;     /* neither quoted nor escaped in any part: may be a keyword */
};

struct words {
    struct word *v;
    unsigned count;
};

enum line_result { LINE_COMMAND, LINE_END, LINE_BAD };

/* Takes the next command off `*rest` (a line without its end); empty ones are passed over. The words are in the arena;
 * `*raw` (may be NULL) gets the command as it was written. BAD: `*problem` says why, and the rest of the line is gone.
 */
enum line_result line_take(struct slice *rest, struct arena *a, struct words *words, struct slice *raw,
                           const char **problem);

#endif
