/* fuzz_proxy_protocol.c: any bytes as a PROXY header: the answer must not depend on how they arrive, and what was read
 * must survive being written and read again. */
#include "loomgate/net/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rewritten(const struct addr *client, const struct addr *local) {
    char out[PROXY_HEADER_MAX];
    struct addr client2, local2;
    struct in6_addr ip;
    for (int version = 1; version <= 2; version++) {
        size_t n = version == 1 ? proxy_print_v1(out, client, local) : proxy_print_v2(out, client, local), used;
        bool has_addr;
        LG_ASSERT(n <= sizeof out);
        LG_ASSERT(proxy_parse(slice_from(out, n), &used, &has_addr, &client2, &local2) == PROXY_DONE && used == n);
        LG_ASSERT(has_addr == addr_ip6(client, &ip));
        LG_ASSERT(!has_addr || (addr_eq(client, &client2) && addr_eq(local, &local2)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice in = slice_from((const char *)data, size);
    struct addr client, local, client2, local2;
    size_t used = 0, used2 = 0;
    bool has_addr, has_addr2;
    enum proxy_parse whole = proxy_parse(in, &used, &has_addr, &client, &local), part = PROXY_MORE;
    size_t n = 0;
    while (part == PROXY_MORE && n < size && n <= PROXY_V2_READ_MAX) {
        n++;
        part = proxy_parse(slice_from(in.p, n), &used2, &has_addr2, &client2, &local2);
    }
    LG_ASSERT(part == whole);
    if (whole == PROXY_MORE) LG_ASSERT(size < PROXY_V2_READ_MAX);
    if (whole != PROXY_DONE) return 0;
    LG_ASSERT(used <= size && used == n && used2 == used && has_addr == has_addr2);
    if (!has_addr) return 0;
    LG_ASSERT(addr_eq(&client, &client2) && addr_eq(&local, &local2));
    check_rewritten(&client, &local);
    return 0;
}
