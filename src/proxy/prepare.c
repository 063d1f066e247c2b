/* prepare.c: what a frontend makes of a request before it is routed, and before it is sent on. */
#include "loomgate/proxy/prepare.h"

#include "loomgate/http/rewrite.h"

enum failure prepare_check(const struct frontend *f, const struct message *m) {
    uint64_t limit = f->settings->limits.body_size;
    if (m->method == METHOD_CONNECT) return FAILURE_method_refused;
    return limit && m->body == BODY_LENGTH && m->length > limit ? FAILURE_body_too_large : FAILURE_NONE;
}

static bool is_usable_id(struct slice id) {
    if (id.n == 0 || id.n > REQUEST_ID_MAX) return false;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] < 0x21 || id.p[i] > 0x7e) return false;
    return true;
}

struct slice prepare_id(const struct frontend *f, const struct message *m) {
    const struct field *own = f->settings->request_id.trust ? fields_find_name(&m->fields, f->id_name) : NULL;
    return own && is_usable_id(own->value) ? own->value : slice_from(NULL, 0);
}

struct slice prepare_port(uint16_t port, struct arena *arena) {
    char digits[5];
    size_t n = 0;
    unsigned rest = port;
    do digits[sizeof digits - ++n] = (char)('0' + rest % 10);
    while ((rest /= 10));
    return slice_from(arena_strndup(arena, digits + sizeof digits - n, n), n);
}

void prepare_request(struct message *m, const struct frontend *f, const struct addr *client, uint16_t port,
                     struct slice id, struct arena *arena) {
    const struct forwarded_settings *settings = &f->settings->forwarded;
    char ip[ADDR_TEXT_MAX];
    size_t ip_len = addr_print_ip(client, ip);
    struct request_rewrite r = {
        .id_name = f->id_name,
        .id = id,
        .forwarded = settings->x_forwarded != X_FORWARDED_OFF,
        .trusted = settings->x_forwarded == X_FORWARDED_APPEND && cidr_list_has(&settings->trusted, client),
        .client_ip = slice_from(arena_strndup(arena, ip, ip_len), ip_len),
        .proto = SLICE("http"),
        .port = prepare_port(port, arena),
    };
    request_rewrite(m, &r, arena);
}
