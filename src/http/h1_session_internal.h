/* h1_session_internal.h: what h1_session.c and h1_send.c share. */
#ifndef LOOMGATE_HTTP_H1_SESSION_INTERNAL_H
#define LOOMGATE_HTTP_H1_SESSION_INTERNAL_H

#include "loomgate/http/h1_session.h"

extern const struct stream_ops h1_stream_ops; /* h1_send.c */

/* --- h1_wait.c */

/* Bytes received and not taken yet; of what cannot be read as HTTP all is taken, as the failed request's. */
size_t h1_left_over(const struct h1_session *s);
/* Sets the conn's timeout by what is waited for now; in the middle of a read only that does, at its end. */
void h1_update_wait(struct h1_session *s);
void h1_update_wait_now(struct h1_session *s);
/* Other timeouts from now on: what is waited for starts anew with the next step. */
void h1_set_timeouts(struct session *session, const struct session_timeouts *timeouts);
void h1_on_timeout(struct conn *c);

/* --- h1_session.c */

/* Both directions are complete. */
void h1_finish_stream(struct h1_session *s);
/* The request cannot be read: it is answered, nothing more is read, the conn closes after the answer. */
void h1_refuse_request(struct h1_session *s, enum failure f);
/* Ends the stream when both directions are complete; the session may be gone afterwards. */
void h1_check_complete(struct h1_session *s);
/* Closes the conn; without a stream the session goes too. */
void h1_close(struct h1_session *s, enum conn_close_how how);
/* Closes the conn and ends the stream, if there is one, with a failure. */
void h1_fail(struct h1_session *s, enum failure f, enum conn_close_how how);
/* The wire's counts of this exchange so far, into the stream. */
void h1_count_bytes(struct h1_session *s);

#endif
