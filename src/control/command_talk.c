/* command_talk.c: the commands of the conversation itself: help, prompt, quit. */
#include "command_internal.h"

#include <stdlib.h>

static void put_row(struct view_node *row, const struct command *command, bool whole) {
    char usage[128];
    snprintf(usage, sizeof usage, "%s%s%s", command->words, *command->arguments ? " " : "", command->arguments);
    view_text(row, "command", usage);
    if (whole) view_text(row, "level", control_level_name(command->level));
    view_text(row, "help", command->help);
    if (whole) view_text(row, "example", command->example);
}

/* Those that begin with the words, or all; of one alone more is told. */
static void run_help(struct call *c) {
    const struct command *row, *last = NULL;
    unsigned count = 0;
    for (size_t i = 0; (row = command_at(i)); i++) {
        bool wanted = c->words.count ? command_begins_with(row, &c->words) : row->level <= c->level;
        if (!wanted) continue;
        last = row;
        count++;
    }
    if (!count) {
        char sentence[600];
        command_explain_unknown(&c->words, sentence, sizeof sentence);
        call_fail(c, COMMAND_UNKNOWN, "%s", sentence);
        return;
    }
    if (count == 1) {
        put_row(&c->view.root, last, true);
        call_show(c);
        return;
    }
    struct view_node *list = view_begin_list(&c->view);
    for (size_t i = 0; (row = command_at(i)); i++)
        if (c->words.count ? command_begins_with(row, &c->words) : row->level <= c->level)
            put_row(view_object(list, NULL), row, c->json);
    call_show(c);
}

static void run_prompt(struct call *c) {
    c->wants_prompt = true;
    call_ok(c, "a prompt from now on");
}

static void run_quit(struct call *c) {
    c->wants_quit = true;
    call_ok(c, "closing");
}

const struct command commands_talk[] = {
    {.words = "help",
     .arguments = "[COMMAND]",
     .max = 3,
     .run = run_help,
     .help = "the commands that this socket's level may use; usage and an example of one",
     .example = "help drain"},
    {.words = "prompt",
     .arguments = "",
     .run = run_prompt,
     .help = "shows a `> ` before each command",
     .example = "prompt"},
    {.words = "quit", .arguments = "", .run = run_quit, .help = "closes the connection", .example = "quit"},
    {.words = NULL},
};
