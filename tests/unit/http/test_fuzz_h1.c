/* test_fuzz_h1.c: the corpus of the HTTP/1 fuzzer, file by file, and seeded mutations of it. */
#include "../../fuzz/fuzz_h1.c"

#include <dirent.h>
#include <setjmp.h>

#include <cmocka.h>

/* Tests are run from the root of the sources. */
#define CORPUS "tests/fuzz/corpus/fuzz_h1"
enum { FILE_MAX = 8192, MUTATIONS = 40 };

static uint64_t seed = 1;

static uint32_t draw(uint32_t below) { /* xorshift64 (Marsaglia 2003) */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % below;
}

static void mutate(uint8_t *data, size_t size) {
    static const char odd[] = "\r\n\t :;,\0\x7f\xff=\"0aZ%#?*";
    for (uint32_t n = 1 + draw(3); n > 0; n--) data[draw((uint32_t)size)] = (uint8_t)odd[draw(sizeof odd - 1)];
}

static void run_file(const char *name) {
    char path[512];
    uint8_t data[FILE_MAX], changed[FILE_MAX];
    snprintf(path, sizeof path, CORPUS "/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    for (int i = 0; i < MUTATIONS && size > 2; i++) {
        memcpy(changed, data, size);
        mutate(changed, size);
        LLVMFuzzerTestOneInput(changed, size);
    }
}

static void test_corpus(void **state) {
    (void)state;
    unsigned files = 0;
    DIR *dir = opendir(CORPUS);
    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.') continue;
        run_file(d->d_name);
        files++;
    }
    closedir(dir);
    assert_true(files >= 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
