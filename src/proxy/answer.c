/* answer.c: answers of our own: errors, fixed responses, redirects. */
#include "loomgate/proxy/answer.h"

#include "loomgate/base/log.h"
#include "loomgate/http/rewrite.h"
#include "loomgate/stats/exposition.h"

#include <inttypes.h>
#include <stdio.h>

/* An id has at most 128 visible characters, of which JSON doubles the quotes and backslashes. */
enum { ID_ROOM = 2 * 128, TEXT_ROOM = 512 + ID_ROOM };

static void begin(struct answer *a, unsigned status, unsigned fields, struct arena *arena) {
    *a = (struct answer){.head = {.status = (uint16_t)status, .minor = 1, .keep_alive = true}};
    a->head.reason = status_reason(status);
    a->head.fields.room = fields + REWRITE_SPARE_FIELDS;
    a->head.fields.v = arena_alloc(arena, a->head.fields.room * sizeof(struct field));
}

static void set_body(struct answer *a, struct slice body) {
    a->body = body;
    a->head.body = BODY_LENGTH;
    a->head.has_length = true;
    a->head.length = body.n;
}

/* Whether a weight of 0 is among the parameters: "q=0", "q=0.000" (RFC 9110 section 12.4.2). */
static bool is_refused(struct slice parameters) {
    struct slice p;
    while (slice_split(&parameters, ';', &p)) {
        p = slice_trim(p);
        if (p.n < 3 || ascii_lower(p.p[0]) != 'q' || p.p[1] != '=') continue;
        size_t i = 2;
        while (i < p.n && (p.p[i] == '0' || p.p[i] == '.')) i++;
        return i == p.n;
    }
    return false;
}

/* Whether JSON is asked for: named, and not refused with q=0. Text is for everybody else, browsers included. */
static bool names_json(struct slice accept) {
    struct slice part;
    while (slice_split(&accept, ',', &part)) {
        struct slice type;
        slice_split(&part, ';', &type);
        if (slice_eq_nocase(slice_trim(type), SLICE("application/json"))) return !is_refused(part);
    }
    return false;
}

static bool wants_json(const struct message *request) {
    for (uint32_t i = 0; i < request->fields.count; i++) {
        const struct field *f = &request->fields.v[i];
        if (f->id == FIELD_ACCEPT && names_json(f->value)) return true;
    }
    return false;
}

static struct slice seconds_text(uint64_t wait_us, struct arena *arena) {
    enum { ROOM = 24 };
    char *text = arena_alloc(arena, ROOM);
    uint64_t seconds = wait_us ? (wait_us - 1) / 1000000 + 1 : 1;
    return slice_from(text, (size_t)snprintf(text, ROOM, "%" PRIu64, seconds));
}

void answer_error(struct answer *a, enum failure f, uint64_t wait_us, const struct message *request, struct slice id,
                  struct arena *arena) {
    const struct failure_row *row = failure_get(f);
    begin(a, row->status, 3, arena);
    char *text = arena_alloc(arena, TEXT_ROOM);
    char id_text[ID_ROOM];
    char *id_end = log_escape_json(id_text, id_text + sizeof id_text, id);
    int n;
    bool json = wants_json(request);
    if (json)
        n = snprintf(text, TEXT_ROOM, "{\"status\":%u,\"error\":\"%s\",\"message\":\"%s\",\"id\":\"%.*s\"}\n",
                     row->status, row->name, row->sentence, (int)(id_end - id_text), id_text);
    else
        n = snprintf(text, TEXT_ROOM, "%u %.*s: %s\nid: %.*s\n", row->status, SLICE_ARG(a->head.reason), row->sentence,
                     (int)(id_end - id_text), id_text);
    set_body(a, slice_from(text, (size_t)n));
    fields_add(&a->head.fields, SLICE("Content-Type"),
               json ? SLICE("application/json") : SLICE("text/plain; charset=utf-8"));
    fields_add(&a->head.fields, SLICE("Cache-Control"), SLICE("no-store"));
    if (row->status == 503) fields_add(&a->head.fields, SLICE("Retry-After"), seconds_text(wait_us, arena));
}

void answer_respond(struct answer *a, const struct route_settings *route, struct arena *arena) {
    const struct name_values *headers = &route->respond.headers;
    begin(a, route->respond.status, headers->count + 1, arena);
    set_body(a, route->respond.body);
    bool typed = false;
    for (uint32_t i = 0; i < headers->count; i++) {
        struct slice name = slice_of(headers->v[i].name);
        typed = typed || slice_eq_nocase(name, SLICE("Content-Type"));
        fields_add(&a->head.fields, name, slice_of(headers->v[i].value));
    }
    if (a->body.n && !typed) fields_add(&a->head.fields, SLICE("Content-Type"), SLICE("text/plain; charset=utf-8"));
}

void answer_metrics(struct answer *a, size_t size, struct arena *arena) {
    begin(a, 200, 2, arena);
    set_body(a, slice_from(NULL, 0));
    a->head.length = size;
    fields_add(&a->head.fields, SLICE("Content-Type"), SLICE(EXPOSITION_CONTENT_TYPE));
    fields_add(&a->head.fields, SLICE("Cache-Control"), SLICE("no-store"));
}

/* --- redirects -------------------------------------------------------------------------------------------------- */

/* The host without its port; an IPv6 address keeps its brackets. */
static struct slice host_without_port(struct slice host) {
    size_t bracket = slice_find(host, ']');
    struct slice tail = bracket < host.n ? slice_from(host.p + bracket, host.n - bracket) : host;
    size_t colon = slice_find(tail, ':');
    return slice_from(host.p, host.n - (tail.n - colon));
}

static struct slice fill_in(struct slice name, const struct message *m, const struct answer_facts *facts) {
    if (slice_is(name, "scheme")) return facts->scheme;
    if (slice_is(name, "host")) return host_without_port(m->host);
    if (slice_is(name, "port")) return facts->port;
    if (slice_is(name, "path")) return m->path;
    if (slice_is(name, "query")) return m->query;
    LG_ASSERT(slice_is(name, "uri")); /* the configuration was checked for unknown ones */
    return m->uri;
}

/* Walks the template; `out` NULL: only measures. */
static size_t expand(struct slice rest, const struct message *m, const struct answer_facts *facts, char *out) {
    size_t n = 0;
    while (rest.n) {
        struct slice piece = slice_from(rest.p, 1);
        size_t taken = 1, end;
        if (slice_has_prefix(rest, SLICE("%{")) && (end = slice_find(rest, '}')) < rest.n) {
            piece = fill_in(slice_from(rest.p + 2, end - 2), m, facts);
            taken = end + 1;
        }
        if (out && piece.n) memcpy(out + n, piece.p, piece.n);
        n += piece.n;
        rest = slice_from(rest.p + taken, rest.n - taken);
    }
    return n;
}

void answer_redirect(struct answer *a, const struct route_settings *route, const struct message *request,
                     const struct answer_facts *facts, struct arena *arena) {
    begin(a, route->redirect.status, 1, arena);
    struct slice to = slice_of(route->redirect.to);
    size_t n = expand(to, request, facts, NULL);
    char *location = arena_alloc(arena, n);
    expand(to, request, facts, location);
    fields_add(&a->head.fields, SLICE("Location"), slice_from(location, n));
    set_body(a, slice_from("", 0));
}
