/* fuzz_h1.c: any bytes as HTTP/1, either role: never a crash, the same account however the bytes are cut, and what
 * LoomGate would send on is a message that it would itself receive as the same one. In one piece a plain head is read
 * at once, byte by byte by scanner and llhttp: so the two ways are compared as well.
 *
 * The first byte chooses: bit 0 the role, 1-2 the method asked, 3 an upgrade asked, 4 small limits; the second one the
 * place of a cut. */
#include "../unit/http/h1_play.h"
#include "loomgate/http/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD_ROOM = 256 * 1024 };

static char sent[HEAD_ROOM];
static struct h1_scratch again_scratch;

static void same(bool so, const char *what, const struct h1_play *p) {
    if (so) return;
    fprintf(stderr, "%s\n%s", what, p->full);
    abort();
}

/* Bytes that go out must come in as the same message at the next hop. */
static void check_sent(struct h1_play *p, const struct message *m, size_t n) {
    static const struct h1_limits wide = {HEAD_ROOM, H1_FIELDS_MAX, HEAD_ROOM};
    struct h1_codec codec;
    struct h1_result r;
    struct slice in = {sent, n};
    h1_codec_init(&codec, p->role);
    if (p->role == H1_READS_RESPONSES) h1_codec_expect(&codec, p->asked, p->upgrade_asked);
    same(h1_codec_next(&codec, &in, &wide, &again_scratch, &r) == H1_HEAD, "sent: not received", p);
    same(in.n == 0, "sent: bytes left", p);
    same(slice_eq(r.head->method_name, m->method_name) && slice_eq(r.head->uri, m->uri), "sent: another line", p);
    same(slice_eq(r.head->host, m->host) && r.head->status == m->status, "sent: another host or status", p);
    same(r.head->body == m->body && r.head->length == m->length, "sent: another framing", p);
    same(r.head->upgrade == m->upgrade && r.head->keep_alive == m->keep_alive, "sent: another connection", p);
}

static void send_on(struct h1_play *p, const struct message *received) {
    struct arena arena;
    struct message m;
    arena_init(&arena, NULL, 0);
    message_copy(&m, received, &arena, REWRITE_SPARE_FIELDS);
    const struct request_rewrite request = {.id_name = SLICE("X-Request-Id"),
                                            .id = SLICE("1"),
                                            .forwarded = true,
                                            .trusted = m.fields.count % 2,
                                            .client_ip = SLICE("::1"),
                                            .proto = SLICE("http"),
                                            .port = SLICE("80")};
    const struct response_rewrite response = {.id_name = SLICE("X-Request-Id"), .id = SLICE("1"), .date = SLICE("now")};
    const struct h1_framing framing = {.body = m.body,
                                       .length = m.length,
                                       .has_length = m.has_length,
                                       .close = !m.keep_alive,
                                       .upgrade = m.upgrade,
                                       .te_trailers = m.te_trailers};
    if (p->role == H1_READS_REQUESTS)
        request_rewrite(&m, &request, &arena);
    else
        response_rewrite(&m, &response);
    size_t bound = h1_head_bound(&m);
    LG_ASSERT(bound <= HEAD_ROOM);
    char *end =
        p->role == H1_READS_REQUESTS ? h1_print_request(sent, &m, &framing) : h1_print_response(sent, &m, &framing);
    LG_ASSERT((size_t)(end - sent) <= bound);
    if (m.host.n || p->role == H1_READS_RESPONSES) check_sent(p, &m, (size_t)(end - sent));
    arena_fini(&arena);
}

static void play(struct h1_play *p, const uint8_t *data, size_t size, size_t first, size_t rest) {
    static const enum method asked[] = {METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_OTHER};
    static const struct h1_limits roomy = {16384, 100, 8192}, tight = {64, 3, 16};
    memset(p, 0, sizeof *p);
    p->role = data[0] & 1 ? H1_READS_RESPONSES : H1_READS_REQUESTS;
    p->asked = asked[data[0] >> 1 & 3];
    p->upgrade_asked = data[0] & 8;
    p->limits = data[0] & 16 ? tight : roomy;
    p->on_head = first == 0 ? send_on : NULL;
    h1_play(p, slice_from((const char *)data + 2, size - 2), first, rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct h1_play whole, cut;
    if (size < 2) return 0;
    play(&whole, data, size, 0, 0);
    play(&cut, data, size, 1, 1);
    same(strcmp(whole.full, cut.full) == 0, cut.full, &whole);
    play(&cut, data, size, 1 + data[1] * size / 256, 0);
    same(strcmp(whole.full, cut.full) == 0, cut.full, &whole);
    return 0;
}
