/* record_filter_token.c: the text of a filter to tokens; errors with their column. */
#include "record_filter_internal.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    struct slice text;
    enum relation op;
} operators[] = {
    /* the longer ones first */
    {SLICE("=="), RELATION_EQ}, {SLICE("!="), RELATION_NE}, {SLICE("<="), RELATION_LE},   {SLICE(">="), RELATION_GE},
    {SLICE("<"), RELATION_LT},  {SLICE(">"), RELATION_GT},  {SLICE("~"), RELATION_FINDS},
};

const char *relation_text(enum relation op) {
    for (size_t i = 0; i < LG_COUNT(operators); i++)
        if (operators[i].op == op) return operators[i].text.p;
    return "==";
}

bool token_is(const struct token *t, const char *keyword) {
    return t->kind == TOKEN_WORD && slice_is(t->text, keyword);
}

static bool is_control(char c) {
    return (unsigned char)c < ' ' || c == 0x7f;
}

/* --- errors ----------------------------------------------------------------------------------------------------- */

/* Columns count characters: bytes that go on with one do not count. */
static size_t column_of(struct slice text, size_t at) {
    size_t column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) column += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return column;
}

bool parser_fail(struct parser *p, size_t at, const char *format, ...) {
    char sentence[sizeof p->e->text];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    return error_set(p->e, "column %zu: %s", column_of(p->text, at), sentence);
}

struct shown show(struct slice s) {
    struct shown shown = {""};
    size_t n = s.n;
    if (n > SHOWN_MAX) /* at a whole character */
        for (n = SHOWN_MAX; n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80; n--) continue;
    for (size_t i = 0; i < n; i++) shown.text[i] = is_control(s.p[i]) ? '?' : s.p[i];
    if (n < s.n) memcpy(shown.text + n, "...", 3);
    return shown;
}

/* --- tokens ----------------------------------------------------------------------------------------------------- */

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static bool is_word_part(char c) {
    return c != ' ' && !is_control(c) && !strchr("\"()=!<>~", c);
}

static bool take_quoted(struct parser *p) {
    const char *s = p->text.p;
    size_t i = p->at + 1;
    char *decoded = arena_alloc(&p->filter->arena, p->text.n - p->at), *to = decoded;
    for (; i < p->text.n && s[i] != '"'; i++) {
        if (s[i] == '\\' && i + 1 < p->text.n && (s[i + 1] == '"' || s[i + 1] == '\\')) i++;
        *to++ = s[i];
    }
    if (i >= p->text.n) return parser_fail(p, p->at, "the quote is not closed");
    p->now.kind = TOKEN_QUOTED;
    p->now.text = slice_from(decoded, (size_t)(to - decoded));
    p->at = i + 1;
    return true;
}

static bool take_word(struct parser *p) {
    size_t end = p->at;
    while (end < p->text.n && is_word_part(p->text.p[end])) end++;
    if (end == p->at) return false;
    size_t n = end - p->at;
    p->now.kind = TOKEN_WORD;
    p->now.text = slice_from(arena_strndup(&p->filter->arena, p->text.p + p->at, n), n);
    p->at = end;
    return true;
}

static bool take_operator(struct parser *p) {
    struct slice rest = slice_from(p->text.p + p->at, p->text.n - p->at);
    for (size_t i = 0; i < LG_COUNT(operators); i++) {
        if (!slice_has_prefix(rest, operators[i].text)) continue;
        p->now.kind = TOKEN_OPERATOR;
        p->now.op = operators[i].op;
        p->at += operators[i].text.n;
        return true;
    }
    return false;
}

static bool refuse(struct parser *p) {
    char c = p->text.p[p->at];
    if (c == '=') return parser_fail(p, p->at, "'=' is no operator: write == or =~ as == and ~");
    if (c == '!') return parser_fail(p, p->at, "'!' is no operator: write != or not");
    return parser_fail(p, p->at, "a control character");
}

bool token_next(struct parser *p) {
    while (p->at < p->text.n && is_space(p->text.p[p->at])) p->at++;
    p->now = (struct token){.kind = TOKEN_END, .at = p->at};
    if (p->at == p->text.n) return true;
    size_t start = p->at;
    char c = p->text.p[start];
    bool ok = true;
    if (c == '(' || c == ')') {
        p->now.kind = c == '(' ? TOKEN_OPEN : TOKEN_CLOSE;
        p->at++;
    } else if (c == '"') {
        ok = take_quoted(p);
    } else if (!take_word(p) && !take_operator(p)) {
        ok = refuse(p);
    }
    p->now.shown = slice_from(p->text.p + start, p->at - start);
    return ok;
}
