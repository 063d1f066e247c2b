/* command.c: the table of commands: finding a row, the nearest one to a misspelt command, the table as markdown. */
#include "command_internal.h"

#include "loomgate/config/schema.h"

/* The order of help and of doc/control.md. */
static const struct command *const parts[] = {commands_talk,     commands_show,     commands_stats,   commands_servers,
                                              commands_workers,  commands_sessions, commands_explain, commands_errors,
                                              commands_breaker,  commands_traffic,  commands_drift,   commands_config,
                                              commands_requests, commands_process,  commands_stream};

enum { ROW_WORDS_MAX = 3, JOINED_MAX = 100 };

static const char *const error_words[COMMAND_ERROR_COUNT] = {
    [COMMAND_UNKNOWN] = "unknown_command",
    [COMMAND_USAGE] = "usage",
    [COMMAND_NO_SUCH_BACKEND] = "no_such_backend",
    [COMMAND_NO_SUCH_SERVER] = "no_such_server",
    [COMMAND_DENIED] = "denied",
    [COMMAND_CONFIG] = "config",
    [COMMAND_CONFLICT] = "conflict",
    [COMMAND_TIMEOUT] = "timeout",
    [COMMAND_TOO_LONG] = "too_long",
    [COMMAND_INTERNAL] = "internal",
};

const char *command_error_word(enum command_error e) {
    LG_ASSERT((unsigned)e < COMMAND_ERROR_COUNT);
    return error_words[e];
}

const char *control_level_name(enum control_level level) {
    static const char *const names[] = {"user", "operator", "admin"};
    LG_ASSERT((unsigned)level < LG_COUNT(names));
    return names[level];
}

const struct command *command_at(size_t index) {
    for (size_t i = 0; i < LG_COUNT(parts); i++)
        for (const struct command *row = parts[i]; row->words; row++)
            if (index-- == 0) return row;
    return NULL;
}

/* --- finding ---------------------------------------------------------------------------------------------------- */

/* How many words a row and a command have in common from the beginning on; `*row_words` gets those of the row. */
static unsigned words_in_common(const struct command *row, const struct words *words, unsigned *row_words) {
    struct slice rest = slice_of(row->words), word;
    unsigned common = 0;
    for (*row_words = 0; slice_split(&rest, ' ', &word); ++*row_words)
        if (common == *row_words && common < words->count && slice_eq(word, words->v[common].text)) common++;
    return common;
}

const struct command *command_find(struct words *words) {
    const struct command *found = NULL, *row;
    unsigned longest = 0, row_words;
    for (size_t i = 0; (row = command_at(i)); i++) {
        unsigned common = words_in_common(row, words, &row_words);
        if (common < row_words || common <= longest) continue;
        longest = common;
        found = row;
    }
    words->v += longest;
    words->count -= longest;
    return found;
}

bool command_begins_with(const struct command *row, const struct words *words) {
    unsigned row_words;
    return words_in_common(row, words, &row_words) == words->count;
}

/* The first `count` words with one space between, cut when longer; no NUL inside. */
static struct slice join(const struct words *words, unsigned count, char out[JOINED_MAX]) {
    size_t n = 0;
    for (unsigned i = 0; i < count; i++) {
        struct slice word = words->v[i].text;
        if (i && n + 1 < JOINED_MAX) out[n++] = ' ';
        for (size_t k = 0; k < word.n && n + 1 < JOINED_MAX; k++) out[n++] = word.p[k] ? word.p[k] : '?';
    }
    out[n] = '\0';
    return slice_from(out, n);
}

/* "did you mean 'show servers'?", of the rows with so many words; false when none is near. */
static bool nearest_row(const struct words *words, unsigned count, char *out, size_t room) {
    const char *candidates[128];
    char joined[JOINED_MAX];
    const struct command *row;
    size_t found = 0;
    for (size_t i = 0; (row = command_at(i)) && found < LG_COUNT(candidates); i++) {
        unsigned row_words;
        words_in_common(row, words, &row_words);
        if (row_words == count) candidates[found++] = row->words;
    }
    return nearest_word(join(words, count, joined), candidates, found, out, room);
}

/* "'show' goes on with: version, info, ..."; false when no row begins with the first word. */
static bool list_seconds(const struct words *words, char *out, size_t room) {
    struct words first = {words->v, 1};
    const struct command *row;
    size_t n = 0;
    for (size_t i = 0; (row = command_at(i)); i++) {
        if (!command_begins_with(row, &first) || strlen(row->words) <= first.v->text.n) continue;
        const char *second = row->words + first.v->text.n + 1;
        if (n == 0) n = (size_t)snprintf(out, room, "'%.*s' goes on with", SLICE_ARG(first.v->text));
        if (n < room) n += (size_t)snprintf(out + n, room - n, "%s %s", strchr(out, ':') ? "," : ":", second);
    }
    return n > 0;
}

void command_explain_unknown(const struct words *words, char *out, size_t room) {
    unsigned most = words->count < ROW_WORDS_MAX ? words->count : ROW_WORDS_MAX;
    char joined[JOINED_MAX], hint[400];
    bool has_hint = false;
    for (unsigned count = most; count > 0 && !has_hint; count--)
        has_hint = nearest_row(words, count, hint, sizeof hint);
    has_hint = has_hint || list_seconds(words, hint, sizeof hint);
    struct slice named = join(words, words->count < 2 ? words->count : 2, joined);
    snprintf(out, room, "there is no command '%.*s'; %s", SLICE_ARG(named),
             has_hint ? hint : "'help' lists those that there are");
}

/* --- printing --------------------------------------------------------------------------------------------------- */

void command_print_usage(const struct command *row, FILE *out) {
    fprintf(out, "%s%s%s", row->words, *row->arguments ? " " : "", row->arguments);
}

/* Of a cell of a markdown table. */
static void print_cell(const char *text, FILE *out) {
    for (; *text; text++) fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

void commands_print(FILE *out) {
    const struct command *row;
    fputs("<!-- commands -->\n| command | level | what it does | example |\n| --- | --- | --- | --- |\n", out);
    for (size_t i = 0; (row = command_at(i)); i++) {
        fprintf(out, "| `%s%s", row->words, *row->arguments ? " " : "");
        print_cell(row->arguments, out);
        fprintf(out, "` | %s | ", control_level_name(row->level));
        print_cell(row->help, out);
        fputs(" | `", out);
        print_cell(row->example, out);
        fputs("` |\n", out);
    }
}
