/* What the origin answers, by path: one row a path at the end of this file, which is also the help of `origin -h`. */
#include "answers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "conn.h"
#include "digest.h"
#include "head.h"

enum { CHUNK_DEFAULT = 4096, CHUNK_MAX = 64 * 1024, TRICKLE_MAX = 1024 * 1024, ID_BUCKETS = 1 << 16 };

/* EARLY: answers before the body is read. KEEP_BODY, SUM_BODY: what is done with the body's bytes. */
enum { EARLY = 1, KEEP_BODY = 2, SUM_BODY = 4 };

struct answer {
    const char *name; /* of the path, without its first slash */
    void (*run)(struct conn *conn);
    unsigned flags;
    const char *args, *help;
};

static uint64_t rest_size(struct conn *conn) {
    uint64_t size = parse_size(conn->rest, &conn->rest);
    conn->rest += *conn->rest == '/';
    return size;
}

/* ---- answers ---- */

static void run_root(struct conn *conn) {
    struct text text = {0};
    text_printf(&text, "This is %s. Try /echo, /size/64k, /status/503, /delay/200/echo, /trickle/20/50.\n",
                settings.name);
    head_begin(conn, 200);
    answer_bytes(conn, text.at, text.len);
    text_free(&text);
}

static void run_not_found(struct conn *conn) {
    answer_text(conn, 404, "no such path; `origin -h` lists them\n");
}

static void put_received_trailers(struct conn *conn) {
    const struct text *trailers = &conn->request.trailers;
    for (size_t at = 0; at < trailers->len;) {
        const char *line = trailers->at + at;
        size_t len = (size_t)((const char *)memchr(line, '\n', trailers->len - at) + 1 - line);
        text_puts(&conn->out, "X-Origin-Trailer: ");
        text_add(&conn->out, line, len);
        at += len;
    }
}

static void run_echo(struct conn *conn) {
    struct request *request = &conn->request;
    struct text dump = {0};
    text_printf(&dump, "name: %s\r\n", settings.name);
    if (conn->proxy.len > 0) {
        text_puts(&dump, "proxy: ");
        text_add(&dump, conn->proxy.at, conn->proxy.len);
        text_puts(&dump, "\r\n");
    }
    text_add(&dump, request->head.at, request->head.len);
    text_add(&dump, request->body.at, request->body.len);
    head_begin(conn, 200);
    put_received_trailers(conn);
    text_printf(&conn->out, "X-Origin-Framing: %s\r\n",
                request->is_chunked   ? "chunked"
                : request->has_length ? "length"
                                      : "none");
    answer_bytes(conn, dump.at, dump.len);
    text_free(&dump);
}

static void run_size(struct conn *conn) {
    uint64_t size = rest_size(conn);
    head_begin(conn, 200);
    head_end(conn, size);
    if (!conn->request.is_head) {
        conn_set_fill(conn, size, 0);
    }
}

static size_t asked_chunk(struct conn *conn) {
    uint64_t chunk = request_query_number(&conn->request, "chunk", CHUNK_DEFAULT);
    return chunk == 0 ? 1 : chunk > CHUNK_MAX ? CHUNK_MAX : (size_t)chunk;
}

static void begin_chunked(struct conn *conn, bool has_trailers) {
    head_begin(conn, 200);
    text_puts(&conn->out, has_trailers ? "Trailer: X-Trailer\r\n" : "");
    text_puts(&conn->out, "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
}

static void run_chunked(struct conn *conn) {
    uint64_t size = rest_size(conn);
    bool has_trailers = request_query_number(&conn->request, "trailers", 0) != 0;
    begin_chunked(conn, has_trailers);
    if (!conn->request.is_head) {
        conn_set_fill(conn, size, asked_chunk(conn));
        text_puts(&conn->tail, has_trailers ? "0\r\nX-Trailer: yes\r\n\r\n" : "0\r\n\r\n");
    }
}

static void run_close(struct conn *conn) {
    uint64_t size = rest_size(conn);
    conn->ending = END_CLOSE;
    head_begin(conn, 200);
    text_puts(&conn->out, "Content-Type: text/plain\r\n\r\n");
    if (!conn->request.is_head) {
        conn_set_fill(conn, size, 0);
    }
}

static void run_status(struct conn *conn) {
    int status = (int)rest_size(conn);
    bool has_no_body = status < 200 || status == 204 || status == 304;
    struct text text = {0};
    text_printf(&text, "%s says %d\n", settings.name, status);
    head_begin(conn, status);
    if (!has_no_body) {
        answer_bytes(conn, text.at, text.len);
    } else {
        uint64_t length = request_query_number(&conn->request, "length", UINT64_MAX);
        if (length != UINT64_MAX) {
            text_printf(&conn->out, "Content-Length: %llu\r\n", (unsigned long long)length);
        }
        head_put_place(conn);
        text_puts(&conn->out, "\r\n");
    }
    text_free(&text);
}

static void pace(struct conn *conn, size_t allowed, uint64_t ms) {
    conn->pace_ms = ms;
    conn->allowed = allowed;
}

static void run_trickle(struct conn *conn) {
    uint64_t size = rest_size(conn), ms = rest_size(conn);
    size = size < TRICKLE_MAX ? size : TRICKLE_MAX;
    head_begin(conn, 200);
    head_end(conn, size);
    size_t head = conn->out.len;
    for (uint64_t at = 0; at < size && !conn->request.is_head; at += PATTERN_PERIOD) {
        text_add(&conn->out, conn_pattern, size - at < PATTERN_PERIOD ? (size_t)(size - at) : PATTERN_PERIOD);
    }
    pace(conn, request_query_number(&conn->request, "head", 0) ? 0 : head, ms);
}

static void set_after(struct conn *conn) {
    conn->after_ms = request_query_number(&conn->request, "after", 0);
}

static void run_reset(struct conn *conn) {
    set_after(conn);
    conn->ending = END_RESET;
}

static void run_reset_head(struct conn *conn) {
    set_after(conn);
    conn->ending = END_RESET;
    text_puts(&conn->out, "HTTP/1.1 200 OK\r\nContent-Le");
}

static void run_half(struct conn *conn, enum ending ending) {
    uint64_t size = rest_size(conn);
    set_after(conn);
    head_begin(conn, 200);
    head_end(conn, size);
    conn_set_fill(conn, size / 2, 0);
    conn->ending = ending;
}

static void run_reset_body(struct conn *conn) {
    run_half(conn, END_RESET);
}

static void run_cut(struct conn *conn) {
    run_half(conn, END_CLOSE);
}

static void run_cut_chunked(struct conn *conn) {
    uint64_t size = rest_size(conn);
    set_after(conn);
    begin_chunked(conn, false);
    conn_set_fill(conn, size ? size : CHUNK_DEFAULT, asked_chunk(conn));
    conn->ending = request_query_number(&conn->request, "reset", 0) ? END_RESET : END_CLOSE;
}

static void run_close_after(struct conn *conn) {
    set_after(conn);
    if (!request_query_number(&conn->request, "quiet", 1)) {
        conn->ending = END_CLOSE;
    }
    answer_text(conn, 200, "goodbye\n");
    conn->ending = END_CLOSE;
}

static void run_hang(struct conn *conn) {
    conn->ending = END_HANG;
}

static void run_count(struct conn *conn) {
    answer_number(conn, counters.requests);
}

static void run_connections(struct conn *conn) {
    struct text text = {0};
    text_printf(&text, "accepted %llu open %llu\n", (unsigned long long)counters.accepted,
                (unsigned long long)counters.open);
    head_begin(conn, 200);
    answer_bytes(conn, text.at, text.len);
    text_free(&text);
}

struct id {
    struct id *next;
    uint64_t count;
    char name[];
};

static struct id *ids[ID_BUCKETS];

static struct id *id_get(const char *name) {
    uint32_t hash = adler32(1, name, strlen(name)) * 2654435761U;
    struct id **bucket = &ids[hash >> 16];
    for (struct id *id = *bucket; id; id = id->next) {
        if (strcmp(id->name, name) == 0) {
            return id;
        }
    }
    struct id *id = malloc(sizeof(*id) + strlen(name) + 1);
    if (!id) {
        abort();
    }
    id->next = *bucket;
    id->count = 0;
    memcpy(id->name, name, strlen(name) + 1);
    *bucket = id;
    return id;
}

static void run_ids(struct conn *conn) {
    char name[128] = "";
    request_query(&conn->request, "id", 0, name, sizeof(name));
    answer_number(conn, ++id_get(name)->count);
}

static void run_ids_show(struct conn *conn) {
    char name[128] = "";
    request_query(&conn->request, "id", 0, name, sizeof(name));
    answer_number(conn, id_get(name)->count);
}

static void run_early_hints(struct conn *conn) {
    uint64_t count = request_query_number(&conn->request, "n", 1);
    for (uint64_t i = 0; i < count && !conn->request.is_http10; i++) {
        text_printf(&conn->out, "HTTP/1.1 103 Early Hints\r\nLink: </style-%llu.css>; rel=preload\r\n\r\n",
                    (unsigned long long)i);
    }
    answer_text(conn, 200, "after the hints\n");
}

static void run_raw(struct conn *conn) {
    static char hex[CHUNK_MAX];
    if (!request_query(&conn->request, "hex", 0, hex, sizeof(hex))) {
        answer_text(conn, 400, "give ?hex=...\n");
        return;
    }
    for (const char *at = hex; at[0] && at[1]; at += 2) {
        char byte[3] = {at[0], at[1], '\0'};
        char value = (char)strtoul(byte, NULL, 16);
        text_add(&conn->out, &value, 1);
    }
    uint64_t drip = request_query_number(&conn->request, "drip", 0);
    if (drip) {
        pace(conn, 1, drip);
    }
    set_after(conn);
    conn->ending = request_query_number(&conn->request, "reset", 0)   ? END_RESET
                   : request_query_number(&conn->request, "close", 0) ? END_CLOSE
                   : request_query_number(&conn->request, "hang", 0)  ? END_HANG
                                                                      : END_KEEP;
}

static void run_no_read(struct conn *conn) {
    conn->ending = END_CLOSE;
    answer_text(conn, 200, "not interested\n");
    conn->ending = END_FIN_AND_HANG;
}

static void run_sink(struct conn *conn) {
    struct text text = {0};
    text_printf(&text, "bytes %llu adler32 %08x\n", (unsigned long long)conn->request.received, conn->request.sum);
    head_begin(conn, 200);
    answer_bytes(conn, text.at, text.len);
    text_free(&text);
}

static void put_websocket_accept(struct conn *conn, const char *key, size_t key_len) {
    struct text text = {0};
    uint8_t digest[20];
    char accept[32];
    text_add(&text, key, key_len);
    text_puts(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"); /* RFC 6455 1.3 */
    sha1(text.at, text.len, digest);
    base64(digest, sizeof(digest), accept);
    text_printf(&conn->out, "Sec-WebSocket-Accept: %s\r\n", accept);
    text_free(&text);
}

static void run_upgrade(struct conn *conn) {
    size_t len, key_len;
    const char *protocol = request_field(&conn->request, "Upgrade", &len);
    const char *key = request_field(&conn->request, "Sec-WebSocket-Key", &key_len);
    bool is_websocket = protocol && len == 9 && strncasecmp(protocol, "websocket", len) == 0;
    if (!protocol || (is_websocket && !key)) {
        answer_text(conn, 426, "ask with Upgrade (and Sec-WebSocket-Key)\n");
        return;
    }
    conn->ending = END_TUNNEL;
    head_begin(conn, 101);
    head_put_place(conn);
    text_puts(&conn->out, "Connection: Upgrade\r\nUpgrade: ");
    text_add(&conn->out, protocol, len);
    text_puts(&conn->out, "\r\n");
    if (is_websocket) {
        put_websocket_accept(conn, key, key_len);
    }
    text_puts(&conn->out, "\r\n");
}

static void run_headers(struct conn *conn) {
    uint64_t count = request_query_number(&conn->request, "n", 10);
    uint64_t size = request_query_number(&conn->request, "size", 20);
    head_begin(conn, 200);
    for (uint64_t i = 0; i < count; i++) {
        text_printf(&conn->out, "X-Fill-%04llu: ", (unsigned long long)i);
        for (uint64_t at = 0; at < size; at++) {
            text_add(&conn->out, "f", 1);
        }
        text_puts(&conn->out, "\r\n");
    }
    answer_bytes(conn, "many\n", 5);
}

static void run_cookie(struct conn *conn) {
    size_t len = 0;
    const char *cookie = request_field(&conn->request, "Cookie", &len);
    head_begin(conn, 200);
    text_printf(&conn->out, "Set-Cookie: origin=%s; Path=/; HttpOnly\r\nSet-Cookie: second=2; Path=/\r\n",
                settings.name);
    answer_bytes(conn, cookie, cookie ? len : 0);
}

static void run_proxy(struct conn *conn) {
    head_begin(conn, 200);
    answer_bytes(conn, conn->proxy.at, conn->proxy.len);
}

/* ---- the table ---- */

static const struct answer answers[] = {
    {"size", run_size, 0, "/N", "N bytes with Content-Length (N may end with k, m, g)"},
    {"", run_root, 0, "", "a short text with the origin's name"},
    {"echo", run_echo, KEEP_BODY, "",
     "name, request line and fields as received, empty line, body; request trailers as X-Origin-Trailer"},
    {"chunked", run_chunked, 0, "/N", "N bytes in chunks; chunk=SIZE (4096), trailers=1 adds X-Trailer: yes"},
    {"close", run_close, 0, "/N", "N bytes, ended by the connection's end"},
    {"status", run_status, 0, "/NNN", "that status; length=N gives 204 and 304 a Content-Length"},
    {"delay", NULL, 0, "/MS/...", "waits MS milliseconds, then does the rest of the path"},
    {"trickle", run_trickle, 0, "/N/MS", "N bytes, one each MS milliseconds; head=1: the head as well"},
    {"reset", run_reset, 0, "", "RST without an answer"},
    {"reset-head", run_reset_head, 0, "", "RST in the middle of the head"},
    {"reset-body", run_reset_body, 0, "/N", "half of N promised bytes, then RST"},
    {"cut", run_cut, 0, "/N", "half of N promised bytes, then FIN"},
    {"cut-chunked", run_cut_chunked, 0, "[/N]", "N bytes in chunks, no last chunk, then FIN; reset=1: RST"},
    {"close-after", run_close_after, 0, "", "answers, then closes; quiet=0: says Connection: close"},
    {"hang", run_hang, 0, "", "never answers"},
    {"count", run_count, 0, "", "how many requests were seen, this one included"},
    {"connections", run_connections, 0, "", "`accepted N open N`: connections so far and now"},
    {"ids/show", run_ids_show, 0, "?id=X", "how often /ids saw X"},
    {"ids", run_ids, 0, "?id=X", "counts X and tells how often it was seen"},
    {"early-hints", run_early_hints, 0, "", "103, then 200; n=COUNT of the 103s"},
    {"raw", run_raw, 0, "?hex=...",
     "precisely these bytes; close=1, reset=1 or hang=1 afterwards; drip=MS sends them one by one"},
    {"no-read", run_no_read, EARLY, "", "answers 200 at once, sends FIN, never reads the body"},
    {"sink", run_sink, SUM_BODY, "", "`bytes N adler32 HEX` of the body; rate=BYTES a second to read slowly"},
    {"upgrade", run_upgrade, 0, "", "101 (a proper WebSocket handshake when asked for), then echoes bytes"},
    {"headers", run_headers, 0, "", "n=COUNT fields of size=BYTES each"},
    {"cookie", run_cookie, 0, "", "two Set-Cookie fields; the body is the Cookie field received"},
    {"proxy", run_proxy, 0, "", "what the PROXY header said (with -p)"},
};
static const struct answer not_found = {"", run_not_found, 0, "", ""};

static bool is_end(char c) {
    return c == ' ' || c == '?';
}

static const struct answer *find(const char *path, const char **rest) {
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        size_t len = strlen(answers[i].name);
        if (strncmp(path, answers[i].name, len) == 0 && (is_end(path[len]) || (len > 0 && path[len] == '/'))) {
            *rest = path + len + (path[len] == '/');
            return &answers[i];
        }
    }
    *rest = path;
    return &not_found;
}

/* Behind the first slash of the path; the absolute form's scheme and authority are skipped. */
static const char *path_of(const struct request *request) {
    const char *at = request->target, *end = at + request->target_len;
    if (*at != '/') {
        const char *authority = memmem(at, request->target_len, "://", 3);
        at = authority ? memchr(authority + 3, '/', (size_t)(end - authority - 3)) : NULL;
    }
    return at ? at + 1 : end;
}

void answer_find(struct conn *conn) {
    struct request *request = &conn->request;
    conn->answer = find(path_of(request), &conn->rest);
    while (conn->answer->run == NULL) { /* /delay */
        conn->delay_ms += rest_size(conn);
        conn->answer = find(conn->rest, &conn->rest);
    }
    unsigned flags = conn->answer->flags;
    request->want_body = (flags & KEEP_BODY) != 0;
    request->want_sum = (flags & SUM_BODY) != 0;
    conn->is_early = (flags & EARLY) != 0;
    if (request->state == BODY_DONE || !memchr(request->target, '?', request->target_len)) {
        return;
    }
    conn->is_early |= request_query_number(request, "early", 0) != 0;
    conn->rate = request_query_number(request, "rate", 0);
    if (conn->is_early && request->expect_continue && conn->ending == END_KEEP) {
        conn->ending = END_CLOSE; /* nobody knows whether the body will come */
    }
    int size = (int)request_query_number(request, "rcvbuf", 0);
    if (size > 0) {
        setsockopt(conn->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
}

void answer_run(struct conn *conn) {
    conn->answer->run(conn);
}

void answers_print_help(FILE *out) {
    fputs("\npaths:\n", out);
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        int width = fprintf(out, "  /%s%s", answers[i].name, answers[i].args);
        fprintf(out, "%*s%s\n", width < 20 ? 20 - width : 1, "", answers[i].help);
    }
    fputs("\nfor every path, in the query:\n"
          "  status=NNN        instead of the path's own\n"
          "  close=1           Connection: close, and does it\n"
          "  header=NAME:VALUE one more field (percent-encoded; may be repeated)\n"
          "  nodate=1          no Date field\n"
          "  early=1           answers before the request's body, which is then read and dropped\n"
          "  rate=BYTES        reads the request's body at that many bytes a second; rcvbuf=BYTES: its socket buffer\n"
          "  after=MS          waits before an end that the path makes (cut, reset, close-after, raw)\n",
          out);
}
