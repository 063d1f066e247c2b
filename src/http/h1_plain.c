/* h1_plain.c: the field lines of a head that is all there and has nothing unusual, in one pass and without llhttp.
 *
 *   *( token ":" *SP value *SP CR LF ) CR LF        value: any bytes but controls; HTAB is one here
 *
 * What is not plain is no failure: h1_fields.c decides then, as if nobody had looked before. So that this is only a
 * quicker way to the same fields, plain is no more than what every version of llhttp takes in the same way: of a length
 * and a coding at most one, a number or "chunked". The sizes of chunks are read by llhttp all the same. */
#include "h1_internal.h"

/* At most one field says where the body ends, and it does so in the plainest way. */
static bool framing_is_plain(const struct fields *f) {
    if (!fields_had(f, FIELD_CONTENT_LENGTH) && !fields_had(f, FIELD_TRANSFER_ENCODING)) return true;
    uint64_t ignored;
    unsigned found = 0;
    for (const struct field *at = f->v, *end = f->v + f->count; at < end; at++) {
        if (at->id == FIELD_CONTENT_LENGTH) {
            if (found++ > 0 || !slice_to_u64(at->value, INT64_MAX, &ignored)) return false;
        } else if (at->id == FIELD_TRANSFER_ENCODING) {
            if (found++ > 0 || !slice_eq_nocase(at->value, SLICE("chunked"))) return false;
        }
    }
    return true;
}

/* One line, without its CR LF; the CR is no byte of a name and no space. */
static bool add_plain(struct fields *f, const char *line, const char *end) {
    const struct slice name = slice_from(line, token_length(line));
    if (name.n == 0 || line[name.n] != ':') return false;
    const char *value = line + name.n + 1;
    while (*value == ' ') value++;
    while (end > value && end[-1] == ' ') end--;
    return fields_add(f, name, slice_from(value, (size_t)(end - value)));
}

size_t h1_read_plain_fields(struct slice lines, struct fields *f) {
    const char *at = lines.p, *end = lines.p + lines.n;
    for (;;) {
        const char *line_end = h1_find_control(at, end);
        if (end - line_end < 2 || line_end[0] != '\r' || line_end[1] != '\n') return 0;
        if (line_end == at) return framing_is_plain(f) ? (size_t)(at + 2 - lines.p) : 0;
        if (!add_plain(f, at, line_end)) return 0;
        at = line_end + 2;
    }
}
