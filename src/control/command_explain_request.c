/* command_explain_request.c: from the words of `explain` to the request as its frontend would read it. */
#include "command_internal.h"

#include "loomgate/config/values.h"
#include "loomgate/proxy/prepare.h"

#include <stdlib.h>

/* SPARE: what stands around a word in a head, at most. */
enum { LIST_MAX = 600, FRONTEND_MAX = 90, SPARE = 32 };

/* --- the words behind the URL ----------------------------------------------------------------------------------- */

/* The address as one of IPv6, mapped where it is IPv4, which is the same to all who look at it. */
static bool take_client(struct question *q, struct slice word) {
    struct complaint complaint;
    struct cidr net;
    if (!cidr_parse(word, &net, &complaint) || net.bits != 128) {
        call_fail(q->call, COMMAND_USAGE, "'from' wants an IP address, such as 192.0.2.7");
        return false;
    }
    q->client.len = sizeof q->client.u.in6;
    q->client.u.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = net.ip};
    return true;
}

/* `from ADDRESS` and `frontend NAME`, at the end. */
static bool take_tail(struct question *q) {
    struct call *c = q->call;
    q->field_words = c->words.count;
    for (; q->field_words >= 4; q->field_words -= 2) {
        unsigned i = q->field_words - 2;
        if (call_word_is(c, i, "from")) {
            if (!take_client(q, c->words.v[i + 1].text)) return false;
        } else if (call_word_is(c, i, "frontend")) {
            if (!(q->frontend = call_take_frontend(c, i + 1))) return false;
        } else {
            break;
        }
    }
    return true;
}

/* --- the URL ---------------------------------------------------------------------------------------------------- */

/* The text behind a scheme's "://", with its port; false: it is none of these. */
static bool cut_scheme(struct slice *url, uint16_t *port) {
    static const struct {
        struct slice text;
        uint16_t port;
    } schemes[] = {{{"http://", 7}, 80}, {{"https://", 8}, 443}};
    for (size_t i = 0; i < LG_COUNT(schemes); i++) {
        size_t n = schemes[i].text.n;
        if (url->n < n || !slice_eq_nocase(slice_from(url->p, n), schemes[i].text)) continue;
        *url = slice_from(url->p + n, url->n - n);
        *port = schemes[i].port;
        return true;
    }
    return false;
}

/* The host of an authority, and what stands behind its colon. */
static struct slice split_authority(struct slice authority, struct slice *port) {
    size_t from = authority.n && authority.p[0] == '[' ? slice_find(authority, ']') : 0;
    size_t n = from + slice_find(slice_from(authority.p + from, authority.n - from), ':');
    *port = n < authority.n ? slice_from(authority.p + n + 1, authority.n - n - 1) : slice_from(NULL, 0);
    return slice_from(authority.p, n);
}

/* What a client makes of it: the target to ask for; what is behind '#' it keeps to itself. */
static bool take_url(struct question *q, struct slice url) {
    struct slice port;
    uint64_t number;
    url.n = slice_find(url, '#');
    q->target = url;
    if (!cut_scheme(&url, &q->port)) {
        if (url.n && (url.p[0] == '/' || url.p[0] == '*' || slice_is(q->method, "CONNECT"))) return true;
        call_fail(q->call, COMMAND_USAGE, "the URL begins with http://, https:// or /");
        return false;
    }
    size_t end = 0;
    while (end < url.n && url.p[end] != '/' && url.p[end] != '?') end++;
    q->authority = slice_from(url.p, end);
    q->target = slice_from(url.p + end, url.n - end);
    split_authority(q->authority, &port);
    if (port.n) {
        if (!slice_to_u64(port, UINT16_MAX, &number)) {
            call_fail(q->call, COMMAND_USAGE, "the port in the URL is not a number up to 65535");
            return false;
        }
        q->port = (uint16_t)number;
    }
    return true;
}

/* --- the frontend ----------------------------------------------------------------------------------------------- */

typedef bool test(const struct question *q, const struct frontend *f);

static bool has_port(const struct question *q, const struct frontend *f) {
    for (uint32_t i = 0; i < f->settings->listener_count; i++)
        if (f->ports[i] == q->port) return true;
    return false;
}

/* It listens on the very address that the URL names. */
static bool has_address(const struct question *q, const struct frontend *f) {
    struct slice port, host = split_authority(q->authority, &port);
    if (host.n > 2 && host.p[0] == '[') host = slice_from(host.p + 1, host.n - 2);
    for (uint32_t i = 0; i < f->settings->listener_count; i++) {
        const struct address_setting *a = &f->settings->listeners[i].address;
        if (f->ports[i] == q->port && a->host && slice_eq_nocase(host, slice_of(a->host))) return true;
    }
    return false;
}

static bool may_be_meant(const struct question *q, const struct frontend *f) {
    return !q->authority.n || has_port(q, f);
}

/* The only one of those; NULL when there are several, or none. */
static const struct frontend *find_only(const struct question *q, test *is_meant, unsigned *count) {
    const struct snapshot *s = runtime_snapshot(q->call->control->runtime);
    const struct frontend *found = NULL;
    *count = 0;
    for (uint32_t i = 0; i < s->frontend_count; i++) {
        if (!is_meant(q, &s->frontends[i])) continue;
        found = &s->frontends[i];
        ++*count;
    }
    return *count == 1 ? found : NULL;
}

/* "web (port 8080), api (port 8081)": those that may be meant, all where there are none. */
static const char *list_frontends(const struct question *q, bool all) {
    const struct snapshot *s = runtime_snapshot(q->call->control->runtime);
    char *out = arena_calloc(&q->call->arena, LIST_MAX);
    size_t n = 0;
    for (uint32_t i = 0; i < s->frontend_count && n + 2 * FRONTEND_MAX < LIST_MAX; i++) {
        const struct frontend *f = &s->frontends[i];
        if (!all && !may_be_meant(q, f)) continue;
        n += (size_t)snprintf(out + n, LIST_MAX - n, "%s%s (port %u)", n ? ", " : "", f->settings->name, f->ports[0]);
    }
    return out;
}

static bool find_frontend(struct question *q) {
    unsigned count = 0;
    if (!q->frontend && q->authority.n) q->frontend = find_only(q, has_address, &count);
    if (!q->frontend) q->frontend = find_only(q, may_be_meant, &count);
    if (q->frontend) {
        if (!q->authority.n || !has_port(q, q->frontend)) q->port = q->frontend->ports[0];
        return true;
    }
    if (count)
        call_fail(q->call, COMMAND_CONFLICT, "several frontends could be meant: %s; name one with 'frontend NAME'",
                  list_frontends(q, false));
    else
        call_fail(q->call, COMMAND_USAGE, "no frontend listens on port %u; there are %s", q->port,
                  list_frontends(q, true));
    return false;
}

/* --- the request ------------------------------------------------------------------------------------------------ */

static void put(char **at, struct slice s) {
    if (s.n) memcpy(*at, s.p, s.n);
    *at += s.n;
}

static void put_field(char **at, struct slice name, struct slice value) {
    put(at, name);
    put(at, SLICE(": "));
    put(at, value);
    put(at, SLICE("\r\n"));
}

/* NAME: VALUE, in one word or in two. False: the call has failed. */
static bool put_fields(const struct question *q, char **at, bool *has_host) {
    const struct word *v = q->call->words.v;
    for (unsigned i = 2; i < q->field_words; i++) {
        struct slice word = v[i].text;
        size_t colon = slice_find(word, ':');
        if (colon == word.n) {
            call_fail(q->call, COMMAND_USAGE, "'%.*s' is not a field, NAME: VALUE", (int)(word.n < 60 ? word.n : 60),
                      word.p);
            return false;
        }
        struct slice name = slice_from(word.p, colon);
        struct slice value = slice_trim(slice_from(word.p + colon + 1, word.n - colon - 1));
        if (!value.n && v[i].is_plain && i + 1 < q->field_words) value = v[++i].text;
        *has_host = *has_host || slice_eq_nocase(name, SLICE("Host"));
        put_field(at, name, value);
    }
    return true;
}

/* The head as a client would send it. Without any host it is one of HTTP/1.0, where that is allowed. */
static bool write_head(struct question *q) {
    const struct words *w = &q->call->words;
    size_t size = q->authority.n + SPARE;
    for (unsigned i = 0; i < w->count; i++) size += w->v[i].text.n + SPARE;
    char *fields = arena_alloc(&q->call->arena, size), *fields_end = fields;
    char *head = arena_alloc(&q->call->arena, 2 * size), *at = head;
    bool has_host = false;
    if (!put_fields(q, &fields_end, &has_host)) return false;
    put(&at, q->method);
    put(&at, SLICE(" "));
    if (!slice_has_prefix(q->target, SLICE("/")) && q->authority.n) put(&at, SLICE("/"));
    put(&at, q->target);
    put(&at, has_host || q->authority.n ? SLICE(" HTTP/1.1\r\n") : SLICE(" HTTP/1.0\r\n"));
    if (!has_host && q->authority.n) put_field(&at, SLICE("Host"), q->authority);
    put(&at, slice_from(fields, (size_t)(fields_end - fields)));
    put(&at, SLICE("\r\n"));
    q->head = slice_from(head, (size_t)(at - head));
    return true;
}

bool question_take(struct question *q, struct call *c) {
    *q = (struct question){.call = c, .method = c->words.v[0].text};
    return take_url(q, c->words.v[1].text) && take_tail(q) && find_frontend(q) && write_head(q);
}

enum failure question_read(struct question *q) {
    struct h1_scratch *scratch = xcalloc(1, sizeof *scratch);
    struct h1_codec codec;
    struct h1_result r;
    struct slice in = q->head;
    h1_codec_init(&codec, H1_READS_REQUESTS);
    enum h1_event event = h1_codec_next(&codec, &in, &q->frontend->limits, scratch, &r);
    /* No word has a line's end in it, so the head ends where it ends. */
    LG_ASSERT(event == H1_HEAD || event == H1_ERROR);
    enum failure f = event == H1_ERROR ? r.failure : prepare_check(q->frontend, r.head);
    if (event == H1_HEAD) message_copy(&q->request, r.head, &q->call->arena, 0);
    free(scratch);
    return f;
}
