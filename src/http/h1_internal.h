/* h1_internal.h: the parts of the HTTP/1 codec, for one another only.
 *
 *   h1_codec.c   which event comes next                  h1_start.c   request and status line, target, authority
 *   h1_scan.c    where a line ends; refuses controls     h1_fields.c  field lines and chunk sizes by llhttp
 *   h1_guard.c   what the fields of a head must obey     h1_plain.c   field lines that need no llhttp
 *   h1_chunk.c   the line before a chunk */
#ifndef LOOMGATE_HTTP_H1_INTERNAL_H
#define LOOMGATE_HTTP_H1_INTERNAL_H

#include "loomgate/base/failure.h"
#include "loomgate/http/h1_codec.h"

#if defined(LLHTTP_VERSION_MAJOR) && LLHTTP_VERSION_MAJOR < 8
#error "llhttp 8.1 or newer is needed"
#elif LLHTTP_VERSION_MAJOR == 8 && (!defined(LLHTTP_STRICT_MODE) || LLHTTP_STRICT_MODE != 1)
#error "llhttp 8 is safe only when compiled with -DLLHTTP_STRICT_MODE=1, its sources and all that includes its header"
#endif

enum { H1_METHOD_MAX = 32, H1_CHUNK_DIGITS_MAX = 32 };

/* --- h1_scan.c */
enum h1_scan { H1_SCAN_MORE, H1_SCAN_LINE, H1_SCAN_BAD };
/* The first byte below 0x20 or DEL; `end` when there is none. */
const char *h1_find_control(const char *p, const char *end);
/* Looks at p[*at..end) up to the end of a line. LINE: `*at` is just behind its CR LF. MORE: all is well so far, and
 * `*at` is where to go on when there are more bytes (maybe at a CR). BAD: `*at` is at a control other than HTAB, at a
 * CR without LF or a LF without CR. */
typedef enum h1_scan h1_scanner(const char *p, uint32_t *at, uint32_t end);
h1_scanner h1_scan_line;
/* The same for field lines up to an empty one, of a head or a trailer section. A line that begins with white space is
 * BAD: it goes on with the one before it, or with none (RFC 9112 section 5.2). */
h1_scanner h1_scan_fields;

/* --- h1_start.c: `line` is without its CR LF and has no controls but HTAB. FAILURE_NONE when it is well. */
/* `room` takes a uri that is in the line in no one piece. */
enum failure h1_parse_request_line(struct message *m, struct slice line, uint32_t uri_bytes, char *room,
                                   size_t room_bytes);
enum failure h1_parse_status_line(struct message *m, struct slice line);
/* host [":" port] of RFC 9110 section 7.2, not empty, without userinfo. */
bool h1_authority_is_valid(struct slice authority);

/* --- h1_plain.c */
/* Reads the field lines at the front of `lines`, trimmed, and the empty line behind them: how many bytes that were. 0
 * when they do not end there or something in them is not plain; `f` then has some of them and is to be read anew. */
size_t h1_read_plain_fields(struct slice lines, struct fields *f);

/* --- h1_fields.c */
/* Parses whole field lines with the empty line that ends them; they hold no control but HTAB and line ends. Values come
 * out trimmed. When it is well the parser stands behind a head, at the first chunk if the fields say chunked. */
enum failure h1_parse_fields(llhttp_t *parser, enum h1_role role, struct slice lines, struct fields *f);
/* The size line of a chunk, already checked to be `digits`; false when the parser does not agree. */
bool h1_parse_chunk_size(struct h1_scratch *scratch, struct slice digits, uint64_t *size);

/* --- h1_guard.c: the fields of a whole head; sets what they say in `m`. */
enum failure h1_guard_head(struct message *m, const struct h1_codec *c);
/* Where in a head that was refused, its fields read as far as that went, the failure is: at the field that it is about,
 * else behind the last one. */
const char *h1_place_of(const struct message *m, enum failure failure);

/* --- h1_chunk.c */
/* The digits of a chunk's size line and the bytes of its extension; false when it is malformed (RFC 9112 section
 * 7.1). */
bool h1_split_chunk_line(struct slice line, struct slice *digits, struct slice *extension);

#endif
