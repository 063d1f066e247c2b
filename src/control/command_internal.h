/* command_internal.h: the parts of the table of commands, by theme, and what finds a row. */
#ifndef LOOMGATE_CONTROL_COMMAND_INTERNAL_H
#define LOOMGATE_CONTROL_COMMAND_INTERNAL_H

#include "loomgate/control/command.h"

/* Each ends with a row without words. */
extern const struct command commands_talk[], commands_show[], commands_stats[], commands_servers[], commands_workers[],
    commands_breaker[], commands_traffic[], commands_drift[], commands_requests[], commands_config[],
    commands_process[], commands_stream[];

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

#endif
