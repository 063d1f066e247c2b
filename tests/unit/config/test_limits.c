/* test_limits.c: texts made to hurt: each must be refused soon, and in bounded memory. */
#include "config_text.h"

#include "loomgate/base/macros.h"
#include "loomgate/config/yaml.h"

#include <sys/resource.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1, MS_MAX = 10000, LARGE = 1024 * 1024 };
#else
enum { IS_SANITIZED = 0, MS_MAX = 1000, LARGE = 4 * 1024 * 1024 - 64 };
#endif

static unsigned cpu_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (unsigned)(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

/* A text in which `repeated` fills what is left of `size` bytes. "%u" in it becomes a number. */
static char *make(const char *before, const char *repeated, const char *after, size_t size) {
    char *text = malloc(size + 64);
    size_t n = (size_t)sprintf(text, "%s", before);
    bool has_number = strchr(repeated, '%') && strstr(repeated, "%u");
    for (unsigned i = 0; n + strlen(repeated) + strlen(after) + 20 < size; i++) {
        if (has_number) {
            const char *at = strstr(repeated, "%u");
            n += (size_t)sprintf(text + n, "%.*s%u%s", (int)(at - repeated), repeated, i, at + 2);
        } else {
            memcpy(text + n, repeated, strlen(repeated));
            n += strlen(repeated);
        }
    }
    strcpy(text + n, after);
    return text;
}

static void check(const char *text, const char *wanted) {
    char *messages;
    unsigned start = cpu_ms();
    struct config *c = load_with(text, strlen(text), NULL, 0, &messages);
    unsigned ms = cpu_ms() - start;
    if (c) fail_msg("loaded: %.60s", text);
    if (!strstr(messages, wanted)) fail_msg("not told: %s\nbut:\n%.2000s\nof: %.60s", wanted, messages, text);
    assert_true(strlen(messages) < 64 * 1024);
    if (ms > MS_MAX) fail_msg("%u ms: %.60s", ms, text);
    free(messages);
}

static void test_large(void **state) {
    static const struct {
        const char *before, *repeated, *after, *told;
    } rows[] = {
        {"", "[", "", "nested more than 64 deep"},
        {"", "{a: ", "", "nested more than 64 deep"},
        {"", "{", "", "a key must be a scalar"},
        {"", "- ", "", "nested more than 64 deep"},
        {"", "? ", "", "a key must be a scalar"},
        {"", "\t", "", "a tab where YAML allows only spaces"},
        {"", "\r", "", "the file is empty"},
        {"", "#\n", "", "the file is empty"},
        {"", "%TAG !a%u! b\n", "", "too many YAML directives"},
        {"", "a: 1\n", "", "'a' is given twice"},
        {"", "k%u: 1\n", "", "unknown key 'k0'"},
        {"", "k%u: &a%u x\n", "", "error: "},
        {"", "x", "", "a scalar of "},
        {"version: 1\nfoo: \"", "x\n\n", "\"\n", "a scalar of "},
        {"a: \"", "$$", "\"\n", "a scalar of "},
        {"a: \"", "${HOME}", "\"\n", "add more than 1 MiB"},
        {"a: &a x\nb: [", "*a,", "]", "would expand to more than 1 MiB"},
        {"{<<: {<<: {<<: {<<: {<<: {<<: {", "a%u: 1,", "}}}}}}}", "would expand to more than 1 MiB"},
        {"version: 1\nbackends: {a: {servers: [", "'10.%u:80',", "]}}", "is neither an IP address nor a name"},
        {"version: 1\nfrontends:\n", "  f%u: {bind: ['1.2.3.4:5'], default_backend: b}\n", "",
         "there is no backend 'b'"},
    };
    (void)state;
    setenv("HOME", "/some/where/that/is/long", 1);
    for (size_t i = 0; i < LG_COUNT(rows); i++) {
        char *text = make(rows[i].before, rows[i].repeated, rows[i].after, LARGE);
        check(text, rows[i].told);
        free(text);
    }
}

static void test_deep(void **state) {
    (void)state;
    char *text = make("a: ", "[", "", 10000);
    check(text, "nested more than 64 deep");
    free(text);
    text = malloc(2000 * 2002);
    size_t n = 0;
    for (int i = 0; i < 2000; i++) n += (size_t)sprintf(text + n, "%*sa:\n", i, "");
    check(text, "nested more than 64 deep");
    free(text);
}

/* Each level means the one before nine times. */
static void test_alias_bomb(void **state) {
    char text[4000] = "a: &a [x,x,x,x,x,x,x,x,x]\n";
    (void)state;
    for (char c = 'b'; c <= 'z'; c++)
        sprintf(text + strlen(text), "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1, c - 1,
                c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
    check(text, "aliases and merges would expand to more than 1 MiB");
}

/* Random bytes, and a good text with random damage: nothing may crash; ASan watches. */
static void test_noise(void **state) {
    static const char good[] =
        "version: 1\nfrontends: {f: {bind: [':80', &b '[::1]:80'], routes: [{match: {host: [a, '*.b']},\n"
        "  redirect: {to: 'http://%{host}/'}}], default_backend: a}}\nbackends:\n  a: {servers: [*b,\n"
        "   {name: x, address: 'unix:/x', weight: 3}]}\ndefaults: {timeouts: {client: 1m30s}}\n";
    uint32_t x = 2463534242U; /* xorshift32 (Marsaglia 2003) */
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char text[sizeof good], *messages;
        memcpy(text, good, sizeof good);
        for (unsigned k = 0; k < (i % 3 == 0 ? sizeof good : 3U); k++) {
            x ^= x << 13, x ^= x >> 17, x ^= x << 5;
            text[x % (sizeof good - 1)] = (char)(i % 2 ? "[]{}:,*&\"'%$#- \n\t"[x >> 8 & 15] : (char)(x >> 16));
        }
        config_free(load_with(text, sizeof good - 1, NULL, 0, &messages));
        free(messages);
    }
}

static void test_memory(void **state) {
    struct rusage usage;
    (void)state;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    if (!IS_SANITIZED) assert_true(usage.ru_maxrss < 256 * 1024); /* KiB; sanitizers keep what was freed */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large), cmocka_unit_test(test_deep),   cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_noise), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
