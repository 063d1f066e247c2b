/* addr_make.c: addresses and networks for tests, from text. */
#include "addr_make.h"

#include <arpa/inet.h>

struct addr addr_make_ip(const char *ip, uint16_t port) {
    struct addr a = {0};
    if (inet_pton(AF_INET, ip, &a.u.in.sin_addr) == 1) {
        a.len = sizeof a.u.in;
        a.u.in.sin_family = AF_INET;
        a.u.in.sin_port = htons(port);
        return a;
    }
    LG_ASSERT(inet_pton(AF_INET6, ip, &a.u.in6.sin6_addr) == 1);
    a.len = sizeof a.u.in6;
    a.u.in6.sin6_family = AF_INET6;
    a.u.in6.sin6_port = htons(port);
    return a;
}

struct addr addr_make_unix(const char *path) {
    struct addr a = {.len = sizeof(sa_family_t)};
    a.u.un.sun_family = AF_UNIX;
    size_t n = strlen(path);
    LG_ASSERT(n < sizeof a.u.un.sun_path);
    memcpy(a.u.un.sun_path, path, n + 1);
    if (n) a.len = (socklen_t)(sizeof(sa_family_t) + n + 1);
    return a;
}

struct cidr cidr_make(const char *text) {
    char ip[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    LG_ASSERT(slash && (size_t)(slash - text) < sizeof ip);
    memcpy(ip, text, (size_t)(slash - text));
    ip[slash - text] = '\0';
    struct addr a = addr_make_ip(ip, 0);
    struct cidr net = {.bits = (uint8_t)(atoi(slash + 1) + (a.u.sa.sa_family == AF_INET ? 96 : 0))};
    LG_ASSERT(addr_ip6(&a, &net.ip));
    return net;
}
