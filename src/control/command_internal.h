/* command_internal.h: the parts of the table of commands, by theme, and what finds a row. */
#ifndef LOOMGATE_CONTROL_COMMAND_INTERNAL_H
#define LOOMGATE_CONTROL_COMMAND_INTERNAL_H

#include "loomgate/control/command.h"

/* Each ends with a row without words. */
extern const struct command commands_talk[], commands_show[], commands_stats[], commands_servers[], commands_workers[],
    commands_sessions[], commands_explain[], commands_errors[], commands_breaker[], commands_traffic[],
    commands_drift[], commands_config[], commands_requests[], commands_process[], commands_stream[];

/* The row whose words a command begins with, the longest of them; takes them off `words`. NULL: none. */
const struct command *command_find(struct words *words);
/* Why there is none, with the nearest one: a sentence. */
void command_explain_unknown(const struct words *words, char *out, size_t room);
/* Whether the row's words begin with these, for help. */
bool command_begins_with(const struct command *row, const struct words *words);
/* Who asked: an object for programs, a text for eyes. */
void view_peer(struct view_node *in, const char *name, const struct socket_peer *peer, bool json);
/* False: its backend has its breakers off; the call has failed. */
LG_MUST_CHECK bool target_has_breaker(struct call *c, const struct target *t);
/* "drain B[/S] [wait]" */
void command_print_usage(const struct command *row, FILE *out);

/* Fails a call, and ends it, when word `i` means no entity (entity.h) of the configuration in force. */
LG_MUST_CHECK bool call_take_entity(struct call *c, unsigned i);

struct event;
/* An event's members, as `show events` has them. For eyes the fields are one text, for programs an object. */
void event_put(struct view_node *row, const struct event *e, bool json);

/* command_explain.c: a request that nobody has sent. */
struct question {
    struct call *call;
    struct slice method, target, authority; /* authority: of the URL; empty: it has none */
    unsigned field_words;                   /* words from 2 up to here are fields */
    const struct frontend *frontend;
    uint16_t port;      /* that it would come to */
    struct addr client; /* unknown unless given */
    struct slice head;
    struct message request;
};
/* command_explain_request.c: from the words to the request as the frontend would read it. False: the call has failed.
 */
LG_MUST_CHECK bool question_take(struct question *q, struct call *c);
/* FAILURE_NONE, or why the frontend would not take it. */
enum failure question_read(struct question *q);
/* command_explain_pick.c: the servers of the backend, and which one it would be. */
void explain_pick(const struct question *q, const struct backend *b);

#endif
