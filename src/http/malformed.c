/* malformed.c: the last messages that could not be read. */
#include "loomgate/http/malformed.h"

/* So many of the bytes kept stand before the place, where there are enough on both sides. */
enum { BEFORE_MAX = MALFORMED_BYTES_MAX / 2 };

static void keep_names(struct malformed *m, const struct malformed_source *from) {
    const char *names[] = {from->first, from->second ? from->second : ""};
    size_t used = 0;
    for (unsigned i = 0; i < 2; i++) {
        size_t n = strlen(names[i]), room = MALFORMED_NAME_MAX / 2;
        m->name_len[i] = (uint16_t)(n < room ? n : room);
        memcpy(m->names + used, names[i], m->name_len[i]);
        used += m->name_len[i];
    }
}

static void keep_bytes(struct malformed *m, struct slice bytes, const char *place) {
    bool is_inside = place && place >= bytes.p && place <= bytes.p + bytes.n;
    size_t before = is_inside ? (size_t)(place - bytes.p) : 0, after = bytes.n - before, from = 0;
    if (bytes.n > MALFORMED_BYTES_MAX && before > BEFORE_MAX) {
        size_t shown_after = after < BEFORE_MAX ? after : BEFORE_MAX;
        from = before - (MALFORMED_BYTES_MAX - shown_after);
    }
    m->at = (uint16_t)(before - from);
    m->count = (uint16_t)(bytes.n - from < MALFORMED_BYTES_MAX ? bytes.n - from : MALFORMED_BYTES_MAX);
    if (m->count) memcpy(m->bytes, bytes.p + from, m->count);
}

void malformed_add(struct malformed_ring *r, uint64_t unix_us, const struct malformed_source *from, enum failure f,
                   struct slice bytes, const char *place) {
    struct malformed *m = &r->v[r->count++ % MALFORMED_KEPT];
    m->unix_us = unix_us;
    m->peer = *from->peer;
    m->is_response = from->second != NULL;
    m->failure = (uint8_t)f;
    keep_names(m, from);
    keep_bytes(m, bytes, place);
}

const struct malformed *malformed_find(const struct malformed_ring *r, uint64_t index) {
    uint64_t first = r->count > MALFORMED_KEPT ? r->count - MALFORMED_KEPT : 0;
    return first + index < r->count ? &r->v[(first + index) % MALFORMED_KEPT] : NULL;
}

struct slice malformed_name(const struct malformed *m, unsigned which) {
    return slice_from(m->names + (which ? m->name_len[0] : 0), m->name_len[which]);
}
