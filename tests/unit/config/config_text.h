/* config_text.h: for the tests of the configuration: YAML text in, what was told of it out. */
#ifndef LOOMGATE_TESTS_CONFIG_TEXT_H
#define LOOMGATE_TESTS_CONFIG_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loomgate/config/config.h"
#include "loomgate/config/config_diff.h"
#include "loomgate/config/diagnose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What diagnostics_print says; from malloc. */
static inline char *told(struct diagnostics *d) {
    static char *text; /* static: gcc 12 takes it for a dangling pointer otherwise */
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    diagnostics_print(d, out);
    fclose(out);
    return text;
}

/* Loads a text called "t"; *messages (from malloc) is what was told of it. */
static inline struct config *load_with(const char *text, size_t len, const struct config_override *overrides,
                                       size_t override_count, char **messages) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *c = config_parse("t", slice_from(text, len), overrides, override_count, &d);
    assert_true((c != NULL) == (diagnostics_count(&d, SEVERITY_ERROR) == 0));
    *messages = told(&d);
    diagnostics_fini(&d);
    return c;
}

/* Loads a text in which nothing may be wrong, or worth a warning. */
static inline struct config *load_good(const char *text) {
    char *messages;
    struct config *c = load_with(text, strlen(text), NULL, 0, &messages);
    if (messages[0]) fail_msg("told of a good text:\n%s\n%s", messages, text);
    free(messages);
    return c;
}

/* What config_print says; from malloc. */
static inline char *printed(const struct config *c) {
    char *out = NULL;
    size_t len;
    FILE *file = open_memstream(&out, &len);
    assert_non_null(file);
    config_print(c, file);
    fclose(file);
    return out;
}

static inline void assert_same(const struct config *a, const struct config *b) {
    struct config_diff d;
    config_diff_init(&d, a, b);
    if (d.count) fail_msg("%s differs: %s, %s", d.v[0].path, d.v[0].before, d.v[0].after);
    config_diff_fini(&d);
}

/* What is printed loads, prints the same and is the same. The printed text, from malloc. */
static inline char *printed_twice(const struct config *c) {
    char *first = printed(c);
    struct config *again = load_good(first);
    char *second = printed(again);
    assert_string_equal(first, second);
    assert_same(c, again);
    config_free(again);
    free(second);
    return first;
}

/* The only backend as it is after one turn through the printer; `c` keeps it. */
static inline const struct backend_settings *through_printer(const char *source, struct config **c) {
    struct config *first = load_good(source);
    char *out = printed_twice(first);
    config_free(first);
    *c = load_good(out);
    free(out);
    return &(*c)->backends[0];
}

/* Loads a text; all of `wanted` (separated by "|") must be told. True when it loaded. */
static inline bool load_and_hear(const char *text, const char *wanted) {
    char *messages, *copy = strdup(wanted), *rest = copy, *part;
    struct config *c = load_with(text, strlen(text), NULL, 0, &messages);
    while ((part = strsep(&rest, "|")) != NULL)
        if (!strstr(messages, part)) fail_msg("not told: %s\nbut:\n%s\nof:\n%s", part, messages, text);
    bool loaded = c != NULL;
    config_free(c);
    free(messages);
    free(copy);
    return loaded;
}

static inline void must_fail(const char *text, const char *wanted) {
    if (load_and_hear(text, wanted)) fail_msg("loaded, although: %s\n%s", wanted, text);
}

static inline void must_warn(const char *text, const char *wanted) {
    if (!load_and_hear(text, wanted)) fail_msg("did not load: %s\n%s", wanted, text);
}

#endif
