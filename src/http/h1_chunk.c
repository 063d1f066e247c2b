/* h1_chunk.c: the line before a chunk: its size and its extension (RFC 9112 section 7.1).
 *
 *   chunk-size *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ) */
#include "h1_internal.h"

static bool is_hex(char c) {
    char low = ascii_lower(c);
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'f');
}

static const char *skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    return at;
}

/* Each of these takes its part off the front: the end of it, or NULL when it is not there. */
static const char *take_token(const char *at, const char *end) {
    const char *start = at;
    while (at < end && slice_is_token(slice_from(at, 1))) at++;
    return at > start ? at : NULL;
}

static const char *take_quoted(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && ++at == end) return NULL;
    return at < end ? at + 1 : NULL;
}

static const char *take_extension(const char *at, const char *end) {
    at = skip_space(at, end);
    if (at == end || *at != ';') return NULL;
    at = take_token(skip_space(at + 1, end), end);
    if (!at) return NULL;
    const char *equals = skip_space(at, end);
    if (equals == end || *equals != '=') return at;
    at = skip_space(equals + 1, end);
    return at < end && *at == '"' ? take_quoted(at, end) : take_token(at, end);
}

bool h1_split_chunk_line(struct slice line, struct slice *digits, struct slice *extension) {
    const char *at = line.p, *end = line.p + line.n;
    while (at < end && is_hex(*at)) at++;
    *digits = slice_from(line.p, (size_t)(at - line.p));
    *extension = slice_from(at, (size_t)(end - at));
    if (digits->n == 0 || digits->n > H1_CHUNK_DIGITS_MAX) return false;
    while (at && at < end) at = take_extension(at, end);
    return at != NULL;
}
