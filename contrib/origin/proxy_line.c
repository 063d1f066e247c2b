/* The PROXY protocol (haproxy's doc/proxy-protocol.txt), versions 1 and 2, made readable. */
#include "proxy_line.h"

#include <arpa/inet.h>
#include <string.h>

enum { V1_MAX = 107, V2_HEAD = 16 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static long read_v1(const char *bytes, size_t len, struct text *out) {
    const char *end = memchr(bytes, '\n', len < V1_MAX ? len : V1_MAX);
    if (!end) {
        return len < V1_MAX ? 0 : -1;
    }
    if (end - bytes < 7 || end[-1] != '\r') {
        return -1;
    }
    text_puts(out, "v1 ");
    text_add(out, bytes + 6, (size_t)(end - 1 - (bytes + 6)));
    return end + 1 - bytes;
}

static void put_ip(struct text *out, const char *name, int family, const char *addresses) {
    size_t size = family == AF_INET ? 4 : 16;
    char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
    inet_ntop(family, addresses, source, sizeof(source));
    inet_ntop(family, addresses + size, destination, sizeof(destination));
    const uint8_t *ports = (const uint8_t *)addresses + 2 * size;
    text_printf(out, "v2 %s %s %s %d %d", name, source, destination, ports[0] << 8 | ports[1],
                ports[2] << 8 | ports[3]);
}

static long read_v2(const char *bytes, size_t len, struct text *out) {
    if (len < V2_HEAD) {
        return 0;
    }
    const uint8_t *head = (const uint8_t *)bytes;
    size_t body = (size_t)head[14] << 8 | head[15];
    if (head[12] >> 4 != 2) {
        return -1;
    }
    if (len < V2_HEAD + body) {
        return 0;
    }
    const char *addresses = bytes + V2_HEAD;
    switch ((head[12] & 15) == 0 ? -1 : head[13]) {
    case -1:
        text_puts(out, "v2 LOCAL");
        break;
    case 0x11:
        if (body < 12) {
            return -1;
        }
        put_ip(out, "TCP4", AF_INET, addresses);
        break;
    case 0x21:
        if (body < 36) {
            return -1;
        }
        put_ip(out, "TCP6", AF_INET6, addresses);
        break;
    case 0x31:
        if (body < 216) {
            return -1;
        }
        text_printf(out, "v2 UNIX %.108s %.108s", addresses, addresses + 108);
        break;
    default:
        text_printf(out, "v2 UNSPEC %02x", head[13]);
    }
    return (long)(V2_HEAD + body);
}

long proxy_line_read(const char *bytes, size_t len, struct text *out) {
    size_t v2 = len < sizeof(v2_signature) ? len : sizeof(v2_signature);
    if (memcmp(bytes, v2_signature, v2) == 0) {
        return len < sizeof(v2_signature) ? 0 : read_v2(bytes, len, out);
    }
    size_t v1 = len < 6 ? len : 6;
    if (memcmp(bytes, "PROXY ", v1) == 0) {
        return len < 6 ? 0 : read_v1(bytes, len, out);
    }
    return -1;
}
