/* What a connection is made of, in bytes: the tables of doc/performance.md, compared with them by `make doc-check`. */
#include "loomgate/backend/pool.h"
#include "loomgate/base/buf.h"
#include "loomgate/net/conn.h"
#include "loomgate/proxy/client.h"

#include <stdio.h>

enum { IDLE_CLIENT = 1, BUSY = 2, IDLE_SERVER = 4 };

static const struct {
    const char *name, *what;
    size_t bytes;
    unsigned part_of;
} parts[] = {
    {"struct client", "a client's connection as the proxy sees it, with its HTTP session", sizeof(struct client),
     IDLE_CLIENT | BUSY},
    {"struct conn", "the client's socket: state, buffers' ends, deadline", sizeof(struct conn), IDLE_CLIENT | BUSY},
    {"struct exchange", "one request and its response, with an arena for the head", EXCHANGE_SIZE, BUSY},
    {"struct server_session", "a connection to a server, with its HTTP session", sizeof(struct server_session),
     BUSY | IDLE_SERVER},
    {"struct conn", "the server's socket", sizeof(struct conn), BUSY | IDLE_SERVER},
};

/* Inside of the above, for those who want to make them smaller. */
static const struct {
    const char *name, *in;
    size_t bytes;
} inside[] = {
    {"`struct h1_session`", "`struct client`, `struct server_session`", sizeof(struct h1_session)},
    {"`struct h1_codec`", "`struct h1_session`", sizeof(struct h1_codec)},
    {"`struct stream`", "`struct h1_session`", sizeof(struct stream)},
    {"`struct exchange_client`", "`struct client`", sizeof(struct exchange_client)},
    {"`struct exchange` without its arena", "the exchange's slot", sizeof(struct exchange)},
    {"a small chunk", "a buffer, only while bytes wait in it", CHUNK_SMALL},
    {"a large chunk", "a buffer, only while bytes wait in it", CHUNK_LARGE},
};

static size_t sum_of(unsigned part_of) {
    size_t sum = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        sum += parts[i].part_of & part_of ? parts[i].bytes : 0;
    }
    return sum;
}

static void print_cell(size_t bytes, bool is_part) {
    if (is_part) {
        printf(" %zu |", bytes);
    } else {
        fputs(" - |", stdout);
    }
}

static void print_parts(void) {
    static const unsigned columns[] = {IDLE_CLIENT, BUSY, IDLE_SERVER};
    puts("<!-- sizes: connection -->");
    puts("| part | what | idle client | busy pair | idle server connection |");
    puts("| --- | --- | --- | --- | --- |");
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
        printf("| `%s` | %s |", parts[i].name, parts[i].what);
        for (size_t c = 0; c < sizeof(columns) / sizeof(*columns); c++) {
            print_cell(parts[i].bytes, parts[i].part_of & columns[c]);
        }
        putchar('\n');
    }
    printf("| together | |");
    for (size_t c = 0; c < sizeof(columns) / sizeof(*columns); c++) {
        print_cell(sum_of(columns[c]), true);
    }
    puts("\n");
}

static void print_inside(void) {
    puts("<!-- sizes: inside -->");
    puts("| part | bytes | inside |");
    puts("| --- | --- | --- |");
    for (size_t i = 0; i < sizeof(inside) / sizeof(*inside); i++) {
        printf("| %s | %zu | %s |\n", inside[i].name, inside[i].bytes, inside[i].in);
    }
}

int main(void) {
    print_parts();
    print_inside();
    return 0;
}
