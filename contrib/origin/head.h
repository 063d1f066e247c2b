/* Response heads and short whole answers, as the request's query asks for them. */
#ifndef ORIGIN_HEAD_H
#define ORIGIN_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "conn.h"

/* Writes a status line and the fields common to all answers; conn->ending must be settled. */
void head_begin(struct conn *conn, int status);

/* Says on which connection this answer is and as which one, for tests of connection reuse. */
void head_put_place(struct conn *conn);

/* Ends a head that promises `length` bytes of text. */
void head_end(struct conn *conn, uint64_t length);

/* Ends a head that was begun, with its whole body (none for HEAD). */
void answer_bytes(struct conn *conn, const void *bytes, size_t len);

/* A whole answer. */
void answer_text(struct conn *conn, int status, const char *string);
void answer_number(struct conn *conn, uint64_t number);

#endif
