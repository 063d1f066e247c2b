/* h1_session_internal.h: what h1_session.c and h1_send.c share. */
#ifndef LOOMGATE_HTTP_H1_SESSION_INTERNAL_H
#define LOOMGATE_HTTP_H1_SESSION_INTERNAL_H

#include "loomgate/http/h1_session.h"

extern const struct stream_ops h1_stream_ops; /* h1_send.c */

/* Sets the conn's timeout by what is waited for now. */
void h1_update_wait(struct h1_session *s);
/* Ends the stream when both directions are complete; the session may be gone afterwards. */
void h1_check_complete(struct h1_session *s);
/* Closes the conn; without a stream the session goes too. */
void h1_close(struct h1_session *s, enum conn_close_how how);
/* Closes the conn and ends the stream, if there is one, with a failure. */
void h1_fail(struct h1_session *s, enum failure f, enum conn_close_how how);
/* The wire's counts of this exchange so far, into the stream. */
void h1_count_bytes(struct h1_session *s);

#endif
