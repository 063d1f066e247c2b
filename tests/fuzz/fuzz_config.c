/* fuzz_config.c: any bytes as a configuration: no crash, no more than bounded work, and what loads must load again from
 * its own print, and print the same. */
#include "loomgate/config/config.h"
#include "loomgate/config/diagnose.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *load(struct slice text) {
    struct diagnostics d;
    diagnostics_init(&d);
    struct config *c = config_parse("fuzz", text, NULL, 0, &d);
    LG_ASSERT((c == NULL) == (diagnostics_count(&d, SEVERITY_ERROR) > 0));
    char *told = NULL;
    size_t len;
    FILE *out = open_memstream(&told, &len);
    LG_ASSERT(out != NULL);
    diagnostics_print(&d, out);
    fclose(out);
    free(told);
    diagnostics_fini(&d);
    return c;
}

static char *print(const struct config *c, size_t *len) {
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    LG_ASSERT(out != NULL);
    config_print(c, out);
    fclose(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config *c = load(slice_from((const char *)data, size));
    if (!c) return 0;
    size_t len, len2;
    char *first = print(c, &len);
    config_free(c);
    c = load(slice_from(first, len));
    LG_ASSERT(c != NULL);
    char *second = print(c, &len2);
    LG_ASSERT(slice_eq(slice_from(first, len), slice_from(second, len2)));
    config_free(c);
    free(first);
    free(second);
    return 0;
}
