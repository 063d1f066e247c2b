/* exchange_internal.h: what the files of the exchange share. */
#ifndef LOOMGATE_PROXY_EXCHANGE_INTERNAL_H
#define LOOMGATE_PROXY_EXCHANGE_INTERNAL_H

#include "loomgate/proxy/exchange.h"

/* exchange.c: the only writer of the state; asserts that the move is legal. */
void exchange_set_state(struct exchange *x, enum exchange_state to);
void exchange_run(struct exchange *x);
void exchange_fail(struct exchange *x, enum failure f);
/* The client's stream has ended: takes its counts and forgets it. */
void exchange_front_gone(struct exchange *x);
/* Ends it when nothing is open any more. */
void exchange_check_done(struct exchange *x);
/* The try under way is over; `back` must have been closed or taken before. */
void exchange_end_try(struct exchange *x, enum failure f);

/* exchange_pick.c: the next server to try, and a place at it: the state becomes CONNECT, QUEUE or FAIL. */
void exchange_pick(struct exchange *x);
/* The same for the server picked last; false: it has no place now. */
bool exchange_pick_same(struct exchange *x);
/* It does not wait any more, if it did. */
void exchange_leave_queue(struct exchange *x);
/* An answer with this status has begun, or a tunnel stands (200). */
void exchange_note_answer(struct exchange *x, unsigned status);
/* The try under way has ended: its place is given back. */
void exchange_give_back(struct exchange *x, enum failure f);
/* What servers' latencies are made of. */
/* The server has answered, or a tunnel to it stands, `us` after it was asked. */
void exchange_note_latency(const struct exchange *x, uint64_t us);
/* The try under way has failed. */
void exchange_note_failure(const struct exchange *x, enum failure f);

/* exchange_retry.c: what a failed try leads to. */
/* The request is sent again, at once or after a while: the state is CONNECT or BACKOFF. False: it is not. */
bool exchange_retry(struct exchange *x);
/* The server's own answer `m` (its head is all that came) is held back and leads to another try; false: pass it on. */
bool exchange_hold_back(struct exchange *x, const struct message *m);
/* A first try begins: it counts for the budget. */
void exchange_count_request(struct exchange *x);
/* How much of the body is kept for another try; 0: nothing, as there will be none. */
size_t exchange_replay_limit(const struct exchange *x);

/* exchange_streams.c: both sides' events, and what is sent to either side. */
extern const struct stream_events exchange_front_events, exchange_back_events;
/* The rest of an answer that is not passed on is thrown away. */
extern const struct stream_events exchange_drain_events;
void exchange_forward(struct exchange *x);
void exchange_pause_front(struct exchange *x, bool pause);
extern const struct tunnel_events exchange_tunnel_events;

/* exchange_head.c: a request's head made ready: id, limits, rewriting. FAILURE_NONE when it may be routed. */
enum failure exchange_prepare(struct exchange *x, const struct message *m);
/* Edits the request for its server: once, however often it is sent. */
void exchange_rewrite_request(struct exchange *x);
/* Answers what the route says, or the failure. The exchange may have ended when it returns. */
void exchange_answer(struct exchange *x);

/* exchange_metrics.c: asks for the metrics; exchanges_take_metrics() ends the wait. */
void exchange_collect(struct exchange *x);
/* Their length in bytes, once they are here. */
size_t exchange_metrics_size(const struct exchange *x);
/* Sends as much of them as the client takes now; the exchange may have ended when it returns. */
void exchange_send_metrics(struct exchange *x);
/* They are not wanted any more, if they were. */
void exchange_drop_metrics(struct exchange *x);

/* exchange_record.c: the access record and the counters. */
void exchange_record(struct exchange *x);
/* The try under way has ended: it counts for its server. */
void exchange_record_try(struct exchange *x, enum failure f);

#endif
