/* fuzz_record_filter.c: any bytes as a filter: refused with a column, or a filter that says of each record the opposite
 * of its negation. */
#include "loomgate/proxy/record_filter.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct addr client;

static const struct access_record records[] = {
    {.client = NULL,
     .bytes_in = ACCESS_NONE,
     .bytes_out = ACCESS_NONE,
     .queue_us = ACCESS_NONE,
     .connect_us = ACCESS_NONE,
     .first_byte_us = ACCESS_NONE,
     .total_us = ACCESS_NONE},
    {.id = {"01941f29", 8},
     .frontend = "web",
     .route = "api",
     .backend = "app",
     .server = "a2",
     .client = &client,
     .method = {"GET", 3},
     .host = {"example.com", 11},
     .path = {"/v1/users?x=1&y=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff\0!", 49},
     .protocol = "HTTP/1.1",
     .status = 502,
     .cause = FAILURE_connect_failed,
     .bytes_in = 120,
     .bytes_out = 16384,
     .connect_us = 210,
     .first_byte_us = 1200,
     .total_us = 200000,
     .try_count = 2,
     .reused = true,
     .tls = {"TLSv1.3", 7},
     .traceparent = {"00-4bf9-00f0-01", 15}},
};

static void check_opposite(const struct record_filter *f, struct slice text) {
    char negated[FILTER_TEXT_MAX + 8] = "not (";
    struct error e;
    if (text.n + 6 > FILTER_TEXT_MAX) return;
    memcpy(negated + 5, text.p, text.n);
    negated[5 + text.n] = ')';
    struct record_filter *g = record_filter_compile(slice_from(negated, text.n + 6), NULL, &e);
    if (!g) return; /* one parenthesis too deep */
    struct record_filter_scratch *s = record_filter_scratch_new();
    for (size_t i = 0; i < LG_COUNT(records); i++)
        LG_ASSERT(record_filter_matches(f, s, &records[i]) != record_filter_matches(g, s, &records[i]));
    record_filter_scratch_free(s);
    record_filter_free(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_from((const char *)data, size);
    struct error e = {""};
    size_t used = 0;
    client = (struct addr){.len = sizeof client.u.in, .u.in = {.sin_family = AF_INET, .sin_port = 80}};
    struct record_filter *f = record_filter_compile(text, NULL, &e), *part = NULL;
    if (f) {
        check_opposite(f, text);
    } else {
        LG_ASSERT(memcmp(e.text, "column ", 7) == 0);
        part = record_filter_compile(text, &used, &e);
        if (part) {
            LG_ASSERT(used < size);
            check_opposite(part, slice_from(text.p, used));
        }
    }
    record_filter_free(f);
    record_filter_free(part);
    return 0;
}
