/* line.c: a line of the control socket to commands, a command to words. */
#include "loomgate/control/line.h"

struct scanner {
    const char *at, *end;
    const char *problem;
    char *to; /* where words are decoded to */
};

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

/* Where the command that begins at s->at ends: at a `;` or the line's end. */
static const char *find_end(struct scanner *s) {
    bool in_quotes = false;
    const char *p = s->at;
    for (; p < s->end && (in_quotes || *p != ';'); p++) {
        if (*p == '"') in_quotes = !in_quotes;
        if (*p != '\\') continue;
        if (++p == s->end) {
            s->problem = "a backslash at the end of the line";
            return p;
        }
    }
    if (in_quotes) s->problem = "a quote is not closed";
    return p;
}

/* Decodes one word in front; find_end() has seen that its quotes and escapes are whole. */
static struct word take_word(struct scanner *s) {
    char *start = s->to;
    bool in_quotes = false;
    struct word word = {.is_plain = true};
    for (; s->at < s->end && (in_quotes || !is_space(*s->at)); s->at++) {
        if (*s->at == '"') {
            in_quotes = !in_quotes;
            word.is_plain = false;
            continue;
        }
        if (*s->at == '\\') {
            s->at++;
            word.is_plain = false;
        }
        *s->to++ = *s->at;
    }
    word.text = slice_from(start, (size_t)(s->to - start));
    *s->to++ = '\0';
    return word;
}

static bool take_words(struct scanner *s, struct arena *a, struct words *words) {
    words->count = 0;
    words->v = NULL;
    for (;;) {
        while (s->at < s->end && is_space(*s->at)) s->at++;
        if (s->at == s->end) return true;
        if (!words->v) {
            words->v = arena_alloc(a, CONTROL_WORDS_MAX * sizeof *words->v);
            s->to = arena_alloc(a, (size_t)(s->end - s->at) + 1); /* each NUL has the room of a space */
        }
        if (words->count == CONTROL_WORDS_MAX) return s->problem = "more than 256 words in a command", false;
        words->v[words->count++] = take_word(s);
    }
}

enum line_result line_take(struct slice *rest, struct arena *a, struct words *words, struct slice *raw,
                           const char **problem) {
    const char *line_end = rest->p + rest->n;
    while (rest->n) {
        struct scanner s = {.at = rest->p, .end = line_end};
        const char *end = find_end(&s), *next = end < line_end ? end + 1 : end;
        if (raw) *raw = slice_trim(slice_from(rest->p, (size_t)(end - rest->p)));
        s.end = end;
        if (!s.problem) take_words(&s, a, words);
        if (s.problem) {
            *problem = s.problem;
            *rest = slice_from(line_end, 0);
            return LINE_BAD;
        }
        *rest = slice_from(next, (size_t)(line_end - next));
        if (words->count) return LINE_COMMAND;
    }
    return LINE_END;
}
