/* Reads HTTP/1 requests. Strict enough to be a useful opponent: what it cannot frame for certain it refuses. */
#include "request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "digest.h"

enum { LINE_MAX_BYTES = 16 * 1024 };

static bool is_named(const char *at, size_t len, const char *name) {
    return len == strlen(name) && strncasecmp(at, name, len) == 0;
}

/* Whether `token` is one of a comma-separated list. */
static bool list_has(const char *list, size_t len, const char *token) {
    const char *end = list + len;
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        const char *stop = comma ? comma : end;
        while (list < stop && (*list == ' ' || *list == '\t')) {
            list++;
        }
        const char *last = stop;
        while (last > list && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }
        if (is_named(list, (size_t)(last - list), token)) {
            return true;
        }
        list = stop + 1;
    }
    return false;
}

static bool take_length(struct request *request, const char *value, size_t len) {
    if (len == 0 || len > 18 || request->has_length) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    request->has_length = true;
    request->left = number;
    return true;
}

static bool take_field(struct request *request, const char *name, size_t name_len, const char *value, size_t len) {
    switch (name_len) {
    case 14:
        return !is_named(name, name_len, "content-length") || take_length(request, value, len);
    case 17:
        if (is_named(name, name_len, "transfer-encoding")) {
            request->is_chunked = true;
            return is_named(value, len, "chunked");
        }
        return true;
    case 10:
        if (is_named(name, name_len, "connection")) {
            request->keep_alive =
                (request->keep_alive || list_has(value, len, "keep-alive")) && !list_has(value, len, "close");
        }
        return true;
    case 6:
        if (is_named(name, name_len, "expect")) {
            request->expect_continue = is_named(value, len, "100-continue");
        }
        return true;
    default:
        return true;
    }
}

/* Takes one line without its CR LF apart; NULL when it is no field. */
static const char *split_field(const char *line, size_t len, size_t *name_len, size_t *value_len) {
    const char *colon = memchr(line, ':', len);
    if (!colon || colon == line || colon[-1] == ' ' || *line == ' ' || *line == '\t') {
        return NULL;
    }
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (end > value && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *name_len = (size_t)(colon - line);
    *value_len = (size_t)(end - value);
    return value;
}

static bool read_request_line(struct request *request, const char *line, size_t len) {
    const char *end = line + len;
    const char *target = memchr(line, ' ', len);
    const char *version = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
    if (!version || target == line || version == target + 1 || end - version != 9 ||
        strncmp(version + 1, "HTTP/1.", 7) != 0 || (version[8] != '0' && version[8] != '1')) {
        return false;
    }
    request->is_head = is_named(line, (size_t)(target - line), "HEAD");
    request->target = target + 1;
    request->target_len = (size_t)(version - target - 1);
    request->is_http10 = version[8] == '0';
    request->keep_alive = !request->is_http10;
    return true;
}

long request_read_head(struct request *request, const char *bytes, size_t len) {
    const char *last = memmem(bytes, len, "\r\n\r\n", 4);
    if (!last) {
        return 0;
    }
    request_clear(request);
    long size = last + 4 - bytes;
    text_add(&request->head, bytes, (size_t)size);
    const char *line = request->head.at, *end = line + size - 2;
    bool is_first = true;
    while (line < end) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!stop) {
            return -1;
        }
        size_t name_len, value_len;
        if (is_first) {
            if (!read_request_line(request, line, (size_t)(stop - line))) {
                return -1;
            }
            is_first = false;
        } else {
            const char *value = split_field(line, (size_t)(stop - line), &name_len, &value_len);
            if (!value || !take_field(request, line, name_len, value, value_len)) {
                return -1;
            }
        }
        line = stop + 2;
    }
    if (request->is_chunked && request->has_length) {
        return -1;
    }
    request->state = request->is_chunked ? BODY_CHUNK_SIZE : request->left > 0 ? BODY_LENGTH : BODY_DONE;
    return size;
}

static size_t take_data(struct request *request, const char *bytes, size_t len) {
    size_t part = len < request->left ? len : (size_t)request->left;
    if (request->want_sum) {
        request->sum = adler32(request->sum, bytes, part);
    }
    if (request->want_body) {
        text_add(&request->body, bytes, part);
    }
    request->received += part;
    request->left -= part;
    if (request->left == 0) {
        request->state = request->is_chunked ? BODY_CHUNK_END : BODY_DONE;
    }
    return part;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* What a whole line (its LF still there) means inside a chunked body. */
static enum body_state end_line(struct request *request, const char *line, size_t len) {
    if (len < 2 || line[len - 2] != '\r') {
        return BODY_BAD;
    }
    switch (request->state) {
    case BODY_CHUNK_SIZE: {
        char *end;
        request->left = strtoull(line, &end, 16); /* stops at CR at the latest */
        bool is_number = hex_digit(*line) >= 0 && (line[1] | 32) != 'x';
        if (!is_number || (*end != '\r' && *end != ';') || end - line > 15) {
            return BODY_BAD;
        }
        return request->left > 0 ? BODY_CHUNK_DATA : BODY_TRAILERS;
    }
    case BODY_CHUNK_END:
        return len == 2 ? BODY_CHUNK_SIZE : BODY_BAD;
    default:
        if (len == 2) {
            return BODY_DONE;
        }
        text_add(&request->trailers, line, len);
        return BODY_TRAILERS;
    }
}

/* Eats up to and with the next LF; a line that is not complete is kept. */
static size_t take_line(struct request *request, const char *bytes, size_t len) {
    const char *feed = memchr(bytes, '\n', len);
    size_t part = feed ? (size_t)(feed + 1 - bytes) : len;
    text_add(&request->line, bytes, part);
    if (request->line.len > LINE_MAX_BYTES) {
        request->state = BODY_BAD;
    } else if (feed) {
        request->state = end_line(request, request->line.at, request->line.len);
        request->line.len = 0;
    }
    return part;
}

size_t request_read_body(struct request *request, const char *bytes, size_t len) {
    size_t eaten = 0;
    while (eaten < len && request->state < BODY_DONE) {
        bool is_data = request->state == BODY_LENGTH || request->state == BODY_CHUNK_DATA;
        eaten +=
            is_data ? take_data(request, bytes + eaten, len - eaten) : take_line(request, bytes + eaten, len - eaten);
    }
    return eaten;
}

const char *request_field(const struct request *request, const char *name, size_t *len) {
    const char *line = request->target + request->target_len, *end = request->head.at + request->head.len;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL) {
        line++;
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        size_t name_len;
        const char *value = stop ? split_field(line, (size_t)(stop - line), &name_len, len) : NULL;
        if (value && is_named(line, name_len, name)) {
            return value;
        }
    }
    return NULL;
}

static void decode(const char *from, const char *end, char *to, size_t size) {
    size_t len = 0;
    for (; from < end && len + 1 < size; from++) {
        if (*from == '%' && end - from > 2 && hex_digit(from[1]) >= 0 && hex_digit(from[2]) >= 0) {
            to[len++] = (char)(hex_digit(from[1]) << 4 | hex_digit(from[2]));
            from += 2;
        } else {
            to[len++] = *from;
        }
    }
    to[len] = '\0';
}

bool request_query(const struct request *request, const char *name, int skip, char *value, size_t size) {
    const char *at = memchr(request->target, '?', request->target_len);
    const char *end = request->target + request->target_len;
    size_t name_len = strlen(name);
    while (at && at < end) {
        at++;
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop ? stop : end;
        if ((size_t)(stop - at) > name_len && at[name_len] == '=' && strncmp(at, name, name_len) == 0 && skip-- == 0) {
            decode(at + name_len + 1, stop, value, size);
            return true;
        }
        at = stop;
    }
    return false;
}

uint64_t request_query_number(const struct request *request, const char *name, uint64_t otherwise) {
    char value[32];
    if (!request_query(request, name, 0, value, sizeof(value))) {
        return otherwise;
    }
    const char *end;
    return parse_size(value, &end);
}

uint64_t parse_size(const char *string, const char **end) {
    uint64_t number = 0;
    for (; *string >= '0' && *string <= '9'; string++) {
        number = number * 10 + (uint64_t)(*string - '0');
    }
    static const char units[] = "kmg";
    const char *unit = *string ? strchr(units, *string | 32) : NULL;
    if (unit) {
        number <<= 10 * (unit - units + 1);
        string++;
    }
    *end = string;
    return number;
}

void request_clear(struct request *request) {
    struct text head = request->head, body = request->body, trailers = request->trailers, line = request->line;
    text_clear(&head);
    text_clear(&body);
    text_clear(&trailers);
    text_clear(&line);
    *request = (struct request){.head = head, .body = body, .trailers = trailers, .line = line, .sum = 1};
}

void request_free(struct request *request) {
    text_free(&request->head);
    text_free(&request->body);
    text_free(&request->trailers);
    text_free(&request->line);
}
