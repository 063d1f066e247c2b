/* yaml_env.c: ${NAME}, ${NAME:-default} and $$ in scalars. */
#include "yaml_internal.h"

#include <stdlib.h>

struct pieces { /* the text that is made, in the arena */
    char *p;
    size_t n, room;
};

static void pieces_add(struct arena *a, struct pieces *out, struct slice s) {
    if (out->n + s.n > out->room) {
        size_t room = (out->n + s.n) * 2;
        char *p = arena_alloc(a, room + 1);
        if (out->n) memcpy(p, out->p, out->n);
        out->p = p;
        out->room = room;
    }
    if (s.n) memcpy(out->p + out->n, s.p, s.n);
    out->n += s.n;
}

static bool is_name(struct slice s) {
    if (s.n == 0 || (s.p[0] >= '0' && s.p[0] <= '9')) return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    }
    return true;
}

static bool fail(struct diagnostics *d, struct place place, const char *hint, const char *sentence) {
    return diagnostics_add(d, SEVERITY_ERROR, place, hint, "%s", sentence);
}

/* Looks up what stands between the braces: NAME or NAME:-default. The default also serves for an empty variable. */
static bool look_up(struct diagnostics *d, struct place place, struct slice inside, struct slice *value) {
    struct slice name = inside, fallback = {NULL, 0};
    for (size_t i = 0; i + 1 < inside.n; i++) {
        if (inside.p[i] != ':' || inside.p[i + 1] != '-') continue;
        name = slice_from(inside.p, i);
        fallback = slice_from(inside.p + i + 2, inside.n - i - 2);
        break;
    }
    if (!is_name(name))
        return fail(d, place, "write ${NAME} or ${NAME:-default}; $$ is a dollar", "this is no name of a variable");
    char zero_ended[256];
    if (name.n >= sizeof zero_ended) return fail(d, place, NULL, "the name of a variable is too long");
    memcpy(zero_ended, name.p, name.n);
    zero_ended[name.n] = '\0';
    *value = slice_of(getenv(zero_ended));
    if (fallback.p && value->n == 0) *value = fallback;
    if (value->p && !yaml_is_text(*value))
        return diagnostics_add(d, SEVERITY_ERROR, place, NULL, "the variable '%s' is not UTF-8 text", zero_ended);
    if (value->p) return true;
    return diagnostics_add(d, SEVERITY_ERROR, place, "set it, or write ${NAME:-default} with a default",
                           "the environment has no variable '%s'", zero_ended);
}

/* One step: `rest` begins with a dollar. */
static bool substitute_one(struct diagnostics *d, struct place place, struct slice *rest, struct slice *value) {
    static const char hint[] = "write ${NAME} or ${NAME:-default}; $$ is a dollar";
    if (rest->n >= 2 && rest->p[1] == '$') {
        *value = slice_from(rest->p, 1);
        *rest = slice_from(rest->p + 2, rest->n - 2);
        return true;
    }
    if (rest->n < 2 || rest->p[1] != '{') return fail(d, place, hint, "a lone '$' means nothing");
    size_t close = slice_find(*rest, '}');
    if (close == rest->n) return fail(d, place, hint, "'${' has no '}'");
    struct slice inside = slice_from(rest->p + 2, close - 2);
    *rest = slice_from(rest->p + close + 1, rest->n - close - 1);
    return look_up(d, place, inside, value);
}

bool yaml_substitute(struct arena *a, struct diagnostics *d, struct place place, struct slice text,
                     struct yaml_budget *budget, struct slice *out) {
    struct pieces made = {0};
    struct slice rest = text;
    for (;;) {
        size_t dollar = slice_find(rest, '$');
        pieces_add(a, &made, slice_from(rest.p, dollar));
        if (dollar == rest.n) break;
        rest = slice_from(rest.p + dollar, rest.n - dollar);
        struct slice value = {NULL, 0};
        size_t before = rest.n;
        if (!substitute_one(d, place, &rest, &value)) return false;
        size_t written = before - rest.n;
        budget->environment += value.n > written ? value.n - written : 0;
        if (budget->environment > YAML_EXPANSION_MAX)
            return fail(d, place, NULL, "variables from the environment add more than 1 MiB");
        pieces_add(a, &made, value);
    }
    if (!made.p) made.p = arena_alloc(a, 1);
    made.p[made.n] = '\0';
    *out = slice_from(made.p, made.n);
    return true;
}
