/* proxy_bed.h: exchanges between a fake client's stream and a server: fake (`back`) or a listening socket (`server`).
 *
 *   front (fake) <--> exchange <--> back (fake, an idle session in the pool) | a real session <--> peer `server`
 *
 * The configuration has a frontend "web" whose default is the backend "app" with one server "s1" at `listener`; a test
 * may change it before bed_build(). */
#ifndef TESTS_SUPPORT_PROXY_BED_H
#define TESTS_SUPPORT_PROXY_BED_H

#include "config_make.h"
#include "conn_pair.h"
#include "fake_stream.h"

#include "loomgate/proxy/exchange.h"

enum { PROXY_HEADS_MAX = 32 };

struct proxy_bed {
    struct gate gate;
    struct env env;
    struct mailbox box;
    struct tenure tenure;
    struct registry registry;
    struct config *config;
    struct frontend_settings *web;
    struct backend_settings *app;
    struct server_settings *s1;
    struct snapshot *snapshot; /* NULL before proxy_build */
    struct frontend *frontend;
    struct exchange_client client;
    struct fake_stream front, back;
    struct server_session *back_session;
    struct conn back_conn; /* only its descriptor is looked at, when a live session is asked for */
    struct peer back_peer;
    int listener;
    struct peer server;
    struct exchange *x;    /* the last one; NULL after its end */
    struct exchange *over; /* what it was at its end */
    unsigned ends;         /* exchanges ended */
    struct session *session_shut;
};

extern struct proxy_bed pb;

/* cmocka. The tear-down checks that nothing is left: exchanges, sessions, connections, the server's load. */
int proxy_set_up(void **state);
int proxy_tear_down(void **state);
void proxy_build(void);
/* proxy_set_up and proxy_build. */
int proxy_set_up_built(void **state);

/* Puts `back` into the pool, as a session that has served before; at most one at a time. */
void proxy_add_idle(void);

/* A received request, with the fields given as "Name: value" lines. Valid until the next one. */
struct message *proxy_request(const char *method, const char *uri, enum body_kind body, uint64_t length,
                              const char *fields);
struct message *proxy_response(unsigned status, enum body_kind body, uint64_t length, const char *fields);
/* Begins an exchange on `front` with that head. */
void proxy_start(struct message *m);
/* A GET without a body, ended; a request with a body, not ended. */
void proxy_get(const char *uri);
void proxy_post(const char *uri, uint64_t length);
/* The last exchange, under way or as it was at its end. */
const struct exchange *proxy_last(void);
enum failure proxy_cause(void);

#endif
