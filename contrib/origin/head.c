/* Response heads and short whole answers. */
#include "head.h"

#include <string.h>
#include <time.h>

static const char *reason_of(int status) {
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {417, "Expectation Failed"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (rows[i].status == status) {
            return rows[i].reason;
        }
    }
    return "Some Status";
}

/* "Date: ...\r\n" of this second. */
static const char *date_line(size_t *len) {
    static char line[64];
    static size_t line_len;
    static time_t made;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != made) {
        made = now.tv_sec;
        struct tm tm;
        gmtime_r(&made, &tm);
        line_len = strftime(line, sizeof(line), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
    }
    *len = line_len;
    return line;
}

/* The fields that ?header=Name:Value asks for. */
static void put_asked_fields(struct conn *conn) {
    char value[4096];
    for (int i = 0; request_query(&conn->request, "header", i, value, sizeof(value)); i++) {
        text_puts(&conn->out, value);
        text_puts(&conn->out, "\r\n");
    }
}

void head_begin(struct conn *conn, int status) {
    struct request *request = &conn->request;
    struct text *out = &conn->out;
    bool has_query = memchr(request->target, '?', request->target_len) != NULL;
    if (has_query) {
        status = (int)request_query_number(request, "status", (uint64_t)status);
        if (request_query_number(request, "close", 0) && conn->ending == END_KEEP) {
            conn->ending = END_CLOSE;
        }
    }
    if (status == 200) {
        text_puts(out, "HTTP/1.1 200 OK\r\n");
    } else {
        text_printf(out, "HTTP/1.1 %03d %s\r\n", status, reason_of(status));
    }
    if (!has_query || !request_query_number(request, "nodate", 0)) {
        size_t len;
        const char *line = date_line(&len);
        text_add(out, line, len);
    }
    text_puts(out, "X-Origin: ");
    text_puts(out, settings.name);
    text_puts(out, "\r\n");
    if (has_query) {
        put_asked_fields(conn);
    }
    if (conn->ending == END_CLOSE) {
        text_puts(out, "Connection: close\r\n");
    } else if (request->is_http10 && conn->ending == END_KEEP) {
        text_puts(out, "Connection: keep-alive\r\n");
    }
}

void head_put_place(struct conn *conn) {
    text_printf(&conn->out, "X-Origin-Connection: %llu\r\nX-Origin-Request: %llu\r\n", (unsigned long long)conn->serial,
                (unsigned long long)conn->requests);
}

void head_end(struct conn *conn, uint64_t length) {
    text_puts(&conn->out, "Content-Type: text/plain\r\nContent-Length: ");
    text_put_number(&conn->out, length);
    text_puts(&conn->out, "\r\n\r\n");
}

void answer_bytes(struct conn *conn, const void *bytes, size_t len) {
    head_put_place(conn);
    head_end(conn, len);
    if (!conn->request.is_head) {
        text_add(&conn->out, bytes, len);
    }
}

void answer_text(struct conn *conn, int status, const char *string) {
    head_begin(conn, status);
    answer_bytes(conn, string, strlen(string));
}

void answer_number(struct conn *conn, uint64_t number) {
    struct text text = {0};
    text_put_number(&text, number);
    text_puts(&text, "\n");
    head_begin(conn, 200);
    answer_bytes(conn, text.at, text.len);
    text_free(&text);
}
