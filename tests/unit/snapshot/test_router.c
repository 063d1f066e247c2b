/* test_router.c: the index of routes against a matcher that just walks the list, and case by case. */
#include "loomgate/snapshot/router.h"

#include "../../support/addr_make.h"
#include "../../support/random.h"

#include <strings.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- a request in the making ------------------------------------------------------------------------------------ */

struct request {
    struct message m;
    struct field fields[8];
    struct addr client;
};

static void request_init(struct request *q, const char *host, const char *uri) {
    memset(q, 0, sizeof *q);
    q->m.method = METHOD_GET;
    q->m.method_name = SLICE("GET");
    q->m.host = slice_of(host);
    q->m.uri = slice_of(uri);
    size_t mark = slice_find(q->m.uri, '?');
    q->m.path = slice_from(uri, mark);
    q->m.has_query = mark < q->m.uri.n;
    if (q->m.has_query) q->m.query = slice_from(uri + mark + 1, q->m.uri.n - mark - 1);
    q->m.fields = (struct fields){.v = q->fields, .room = LG_COUNT(q->fields)};
    q->client = addr_make_ip("192.0.2.1", 1234);
}

static void request_add(struct request *q, const char *name, const char *value) {
    bool cookie = strcasecmp(name, "Cookie") == 0;
    assert_true(q->m.fields.count < q->m.fields.room);
    q->fields[q->m.fields.count++] =
        (struct field){.name = slice_of(name), .value = slice_of(value), .id = cookie ? FIELD_COOKIE : FIELD_OTHER};
}

static int find(struct router *r, const char *host, const char *uri) {
    struct request q;
    request_init(&q, host, uri);
    return router_find(r, &q.m, &q.client);
}

/* --- the naive matcher: written from the description, not from the index ---------------------------------------- */

static bool naive_host(const char *want, struct slice authority) {
    char host[512];
    assert_true(authority.n < sizeof host);
    memcpy(host, authority.p, authority.n);
    host[authority.n] = '\0';
    char *bracket = strchr(host, ']');
    char *colon = strchr(bracket ? bracket : host, ':');
    if (colon) *colon = '\0';
    if (strncmp(want, "*.", 2) != 0) return strcasecmp(want, host) == 0;
    size_t n = strlen(host), tail = strlen(want + 1);
    return n > tail && strcasecmp(host + n - tail, want + 1) == 0;
}

static bool naive_prefix(const char *want, struct slice path) {
    size_t n = strlen(want);
    if (strcmp(want, "/") == 0) return true;
    if (path.n < n || memcmp(want, path.p, n) != 0) return false;
    return path.n == n || want[n - 1] == '/' || path.p[n] == '/';
}

static void decode(struct slice s, char out[256]) {
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char hex[3] = {0}, *end;
        if (s.p[i] == '%' && i + 2 < s.n) memcpy(hex, s.p + i + 1, 2);
        long value = strtol(hex, &end, 16);
        bool good = strlen(hex) == 2 && end == hex + 2 && strchr("+- ", hex[0]) == NULL;
        out[n++] = good ? (char)value : s.p[i];
        if (good) i += 2;
    }
    out[n] = '\0';
}

static bool naive_pairs(const struct name_value *want, struct slice text, const char *separators, bool decoded) {
    char copy[256], name[256], value[256];
    assert_true(text.n < sizeof copy);
    memcpy(copy, text.p ? text.p : "", text.n);
    copy[text.n] = '\0';
    for (char *at = copy, *part; (part = strsep(&at, separators));) {
        while (!decoded && *part == ' ') part++;
        char *mark = strchr(part, '=');
        struct slice n = slice_from(part, mark ? (size_t)(mark - part) : strlen(part));
        struct slice v = slice_of(mark ? mark + 1 : "");
        if (decoded) {
            decode(n, name);
            decode(v, value);
        } else {
            snprintf(name, sizeof name, "%.*s", SLICE_ARG(n));
            snprintf(value, sizeof value, "%.*s", SLICE_ARG(v));
        }
        if (strcmp(name, want->name) == 0 && (strcmp(want->value, "*") == 0 || strcmp(value, want->value) == 0))
            return true;
    }
    return false;
}

static bool naive_fields(const struct name_value *want, const struct message *m, bool cookie) {
    for (uint32_t i = 0; i < m->fields.count; i++) {
        const struct field *f = &m->fields.v[i];
        if (cookie && strncasecmp(f->name.p, "cookie", f->name.n) == 0 && naive_pairs(want, f->value, ";", false))
            return true;
        if (cookie || strlen(want->name) != f->name.n || strncasecmp(f->name.p, want->name, f->name.n) != 0) continue;
        if (strcmp(want->value, "*") == 0 || slice_is(f->value, want->value)) return true;
    }
    return false;
}

static bool naive_matches(const struct match_settings *s, const struct message *m, const struct addr *client) {
    bool host = s->hosts.count == 0, method = s->methods.count == 0;
    for (uint32_t i = 0; i < s->hosts.count; i++) host |= naive_host(s->hosts.v[i], m->host);
    for (uint32_t i = 0; i < s->methods.count; i++) method |= slice_is(m->method_name, s->methods.v[i]);
    bool all = host && method && (!s->path || slice_is(m->path, s->path));
    all = all && (!s->path_prefix || naive_prefix(s->path_prefix, m->path));
    for (uint32_t i = 0; i < s->headers.count; i++) all = all && naive_fields(&s->headers.v[i], m, false);
    for (uint32_t i = 0; i < s->cookies.count; i++) all = all && naive_fields(&s->cookies.v[i], m, true);
    for (uint32_t i = 0; i < s->queries.count; i++)
        all = all && m->has_query && naive_pairs(&s->queries.v[i], m->query, "&", true);
    return all && (s->sources.count == 0 || cidr_list_has(&s->sources, client));
}

static int naive_find(const struct route_settings *routes, uint32_t count, const struct request *q) {
    for (uint32_t i = 0; i < count; i++)
        if (naive_matches(&routes[i].match, &q->m, &q->client)) return (int)i;
    return -1;
}

/* --- random tables and requests --------------------------------------------------------------------------------- */

static const char *const host_words[] = {"x",     "a.x",   "b.x", "a.b.x",   "*.x",   "*.a.x",
                                         "*.b.x", "*.a.b", "b",   "*.b.a.x", "[::1]", "*.c.b.a.x"};
static const char *const asked_hosts[] = {
    "x",         "X:80",      "a.x", "A.x:8080", "b.x",      "c.b.x",   "a.b.x",  "q.a.x", "a.b",
    "q.a.b",     ".x",        "..x", "[::1]",    "[::1]:80", "b",       "",       "b.a.x", "d.b.a.x",
    "z.c.b.a.x", "c.b.a.x:1", "ax",  ":80",      "[::1]x",   "x.a.b.x", "q.b.A.X"};
static const char *const paths[] = {"/",      "/a",    "/a/", "/a/b",    "/a/b/", "/b",      "/ab",
                                    "/a/b/a", "/a//b", "//",  "/a/b/aa", "*",     "/a/b/a/", "/b/a/b/a/b"};
static const char *const methods[] = {"GET", "POST", "get"};
static const struct name_value headers[] = {{"X-A", "*"}, {"x-a", "1"}, {"X-B", "2"}, {"Cookie", "*"}, {"X-A", ""}};
static const struct name_value queries[] = {{"q", "*"}, {"q", "1"}, {"a b", "c&d"}, {"q", ""}, {"%", "%4"}};
static const char *const asked_queries[] = {
    "", "?", "?q", "?q=1", "?x=1&q=1", "?q=%31", "?a%20b=c%26d", "?q=1=1", "?%71=1&q=2", "?%=%4&%zz=1"};
static const struct name_value cookies[] = {{"c", "*"}, {"c", "1"}, {"d", "x=y"}};
static const char *const asked_cookies[] = {"c=1", "c=2; d=x=y", "C=1", "c", "d=x; c=1;", ""};

#define PICK(r, list) (list)[random_below(r, LG_COUNT(list))]

enum { TABLE_MAX = 24 };
struct table {
    struct route_settings routes[TABLE_MAX];
    const char *hosts[TABLE_MAX][3];
    struct cidr nets[2];
    uint32_t count;
};

static void random_table(struct random *r, struct table *t) {
    memset(t, 0, sizeof *t);
    t->nets[0] = cidr_make("10.0.0.0/8");
    t->nets[1] = cidr_make("2001:db8::/32");
    t->count = random_below(r, TABLE_MAX + 1);
    for (uint32_t i = 0; i < t->count; i++) {
        struct match_settings *m = &t->routes[i].match;
        m->hosts = (struct texts){t->hosts[i], random_below(r, 4)};
        for (uint32_t k = 0; k < m->hosts.count; k++) t->hosts[i][k] = PICK(r, host_words);
        if (random_once_in(r, 4)) m->path = PICK(r, paths);
        if (random_once_in(r, 2)) m->path_prefix = PICK(r, paths);
        if (random_once_in(r, 5)) m->methods = (struct texts){methods, 1 + random_below(r, 2)};
        if (random_once_in(r, 5)) m->headers = (struct name_values){&PICK(r, headers), 1};
        if (random_once_in(r, 9)) m->headers = (struct name_values){headers, 2};
        if (random_once_in(r, 5)) m->queries = (struct name_values){&PICK(r, queries), 1};
        if (random_once_in(r, 5)) m->cookies = (struct name_values){&PICK(r, cookies), 1};
        if (random_once_in(r, 5)) m->sources = (struct cidr_list){t->nets, 2};
    }
}

static void random_request(struct random *r, struct request *q, char uri[64]) {
    snprintf(uri, 64, "%s%s", PICK(r, paths), PICK(r, asked_queries));
    request_init(q, PICK(r, asked_hosts), uri);
    q->m.method_name = slice_of(PICK(r, methods));
    if (random_once_in(r, 2)) request_add(q, "x-A", random_once_in(r, 2) ? "1" : "");
    if (random_once_in(r, 2)) request_add(q, "x-b", random_once_in(r, 2) ? "1" : "2");
    if (random_once_in(r, 3)) request_add(q, "X-A", "1");
    if (random_once_in(r, 2)) request_add(q, "cookie", PICK(r, asked_cookies));
    if (random_once_in(r, 3)) request_add(q, "Cookie", PICK(r, asked_cookies));
    if (random_once_in(r, 2)) q->client = addr_make_ip(random_once_in(r, 2) ? "10.1.1.1" : "2001:db8::5", 7);
}

/* What is told of each route is what the naive matcher finds of it alone, and what the first miss says holds. */
static void check_explained(const struct router *router, const struct table *t, const struct request *q) {
    for (uint32_t i = 0; i < t->count; i++) {
        struct match_settings m = t->routes[i].match;
        struct router_miss miss = router_explain(router, i, &q->m, &q->client);
        assert_int_equal(miss.condition == ROUTER_NOTHING, naive_matches(&m, &q->m, &q->client));
        struct match_settings only = {0}; /* the condition that is told to fail fails by itself */
        if (miss.condition == ROUTER_HOST) only.hosts = m.hosts;
        if (miss.condition == ROUTER_PATH) only.path = m.path;
        if (miss.condition == ROUTER_PATH_PREFIX) only.path_prefix = m.path_prefix;
        if (miss.condition == ROUTER_METHOD) only.methods = m.methods;
        if (miss.condition == ROUTER_HEADER) only.headers = (struct name_values){&m.headers.v[miss.index], 1};
        if (miss.condition == ROUTER_QUERY) only.queries = (struct name_values){&m.queries.v[miss.index], 1};
        if (miss.condition == ROUTER_COOKIE) only.cookies = (struct name_values){&m.cookies.v[miss.index], 1};
        if (miss.condition == ROUTER_SOURCE) only.sources = m.sources;
        assert_int_equal(miss.condition == ROUTER_NOTHING, naive_matches(&only, &q->m, &q->client));
        if (miss.condition != ROUTER_HOST) { /* what comes before it holds */
            only = (struct match_settings){.hosts = m.hosts};
            if (miss.condition > ROUTER_PATH_PREFIX || miss.condition == ROUTER_NOTHING) only.path = m.path;
            if (miss.condition > ROUTER_METHOD) only.methods = m.methods;
            assert_true(naive_matches(&only, &q->m, &q->client));
        }
    }
}

static void test_random(void **state) {
    (void)state;
    struct random r = {2024};
    unsigned found = 0, none = 0, late = 0;
    for (int i = 0; i < 4000; i++) {
        static struct table t;
        random_table(&r, &t);
        struct router *router = router_new(t.routes, t.count);
        for (int k = 0; k < 25; k++) {
            struct request q;
            char uri[64];
            random_request(&r, &q, uri);
            int want = naive_find(t.routes, t.count, &q), got = router_find(router, &q.m, &q.client);
            if (got != want)
                fail_msg("table %d: %.*s %.*s%s: %d, not %d", i, SLICE_ARG(q.m.method_name), SLICE_ARG(q.m.host), uri,
                         got, want);
            check_explained(router, &t, &q);
            found += want >= 0;
            late += want > 5;
            none += want < 0;
        }
        router_free(router);
    }
    assert_true(found > 20000 && none > 20000 && late > 5000); /* the tables are worth something */
}

/* --- case by case ----------------------------------------------------------------------------------------------- */

#define HOSTS(...) .match.hosts = {(const char *const[]){__VA_ARGS__}, LG_COUNT(((const char *const[]){__VA_ARGS__}))}

static void test_hosts(void **state) {
    (void)state;
    const struct route_settings routes[] = {
        {HOSTS("a.example.com")}, {HOSTS("*.example.com", "other.org")}, {HOSTS("*.b.example.com")}, {HOSTS("[::1]")}};
    struct router *r = router_new(routes, LG_COUNT(routes));
    assert_int_equal(find(r, "a.example.com", "/"), 0);
    assert_int_equal(find(r, "A.Example.COM:8080", "/"), 0);
    assert_int_equal(find(r, "b.example.com", "/"), 1);
    assert_int_equal(find(r, "x.a.example.com", "/"), 1);
    assert_int_equal(find(r, "x.b.example.com", "/"), 1); /* the order of the file, not the narrower name */
    assert_int_equal(find(r, "other.org", "/"), 1);
    assert_int_equal(find(r, "example.com", "/"), -1);
    assert_int_equal(find(r, ".example.com", "/"), -1);
    assert_int_equal(find(r, "aexample.com", "/"), -1);
    assert_int_equal(find(r, "x.other.org", "/"), -1);
    assert_int_equal(find(r, "[::1]:443", "/"), 3);
    assert_int_equal(find(r, "", "/"), -1);
    router_free(r);
}

static void test_paths(void **state) {
    (void)state;
    const struct route_settings routes[] = {{.match.path = "/exact"},
                                            {.match.path_prefix = "/v1/"},
                                            {.match.path_prefix = "/v1"},
                                            {.match.path = "*"},
                                            {HOSTS("all"), .match.path_prefix = "/"},
                                            {.match.path = "/v2/x", .match.path_prefix = "/v2"}};
    struct router *r = router_new(routes, LG_COUNT(routes));
    assert_int_equal(find(r, "h", "/exact"), 0);
    assert_int_equal(find(r, "h", "/exact?q"), 0);
    assert_int_equal(find(r, "h", "/exact/"), -1);
    assert_int_equal(find(r, "h", "/Exact"), -1);
    assert_int_equal(find(r, "h", "/v1"), 2);
    assert_int_equal(find(r, "h", "/v1?q"), 2);
    assert_int_equal(find(r, "h", "/v1/"), 1);
    assert_int_equal(find(r, "h", "/v1/x"), 1);
    assert_int_equal(find(r, "h", "/v1x"), -1);
    assert_int_equal(find(r, "h", "/%761"), -1); /* the path is matched as it was received */
    assert_int_equal(find(r, "h", "*"), 3);
    assert_int_equal(find(r, "all", "/anything"), 4);
    assert_int_equal(find(r, "h", "/v2/x"), 5);
    assert_int_equal(find(r, "h", "/v2"), -1);
    router_free(r);
}

static void test_fields(void **state) {
    (void)state;
    const struct name_value tenant[] = {{"X-Tenant", "a"}, {"X-Mode", "*"}}, session[] = {{"sid", "42"}};
    const struct route_settings routes[] = {{.match.headers = {tenant, 2}}, {.match.cookies = {session, 1}}};
    struct router *r = router_new(routes, LG_COUNT(routes));
    struct request q;
    request_init(&q, "h", "/");
    request_add(&q, "x-tenant", "b");
    request_add(&q, "X-TENANT", "a");
    assert_int_equal(router_find(r, &q.m, &q.client), -1);
    request_add(&q, "x-mode", "");
    assert_int_equal(router_find(r, &q.m, &q.client), 0);
    q.fields[1].drop = true; /* what is not forwarded decides nothing */
    assert_int_equal(router_find(r, &q.m, &q.client), -1);
    request_add(&q, "Cookie", "sid=4; sid=42");
    assert_int_equal(router_find(r, &q.m, &q.client), 1);
    router_free(r);
}

static void test_empty(void **state) {
    (void)state;
    const struct route_settings all[1] = {{.name = "all"}};
    struct router *r = router_new(NULL, 0);
    assert_int_equal(find(r, "h", "/"), -1);
    router_free(r);
    r = router_new(all, 1);
    assert_int_equal(find(r, "h", "/x"), 0);
    assert_int_equal(find(r, "", "*"), 0);
    router_free(r);
    router_free(NULL);
}

/* --- size ------------------------------------------------------------------------------------------------------- */

enum { MANY = 10000 };

struct many {
    struct route_settings routes[MANY];
    char text[MANY][2][48];
    const char *hosts[MANY];
};

/* Routes that differ in host (exact or wildcard) and path. */
static struct router *many_new(struct many *t, uint32_t count) {
    memset(t, 0, sizeof *t);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(t->text[i][0], sizeof t->text[i][0], i % 3 ? "h%u.example.com" : "*.w%u.example.com", i);
        snprintf(t->text[i][1], sizeof t->text[i][1], "/app%u/v%u", i % 100, i);
        t->hosts[i] = t->text[i][0];
        if (i % 5) t->routes[i].match.hosts = (struct texts){&t->hosts[i], 1};
        if (i % 2) t->routes[i].match.path_prefix = t->text[i][1];
        if (i % 10 == 0) t->routes[i].match.path = t->text[i][1];
    }
    return router_new(t->routes, count);
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU time of one lookup, the best of a few rounds. */
static double cost(struct router *r, uint32_t count) {
    static struct request q[64];
    static char text[64][2][64];
    double best = 1;
    for (uint32_t i = 0; i < LG_COUNT(q); i++) {
        uint32_t k = (i * 157) % count;
        snprintf(text[i][0], sizeof text[i][0], k % 3 ? "h%u.example.com:80" : "a.b.w%u.example.com", k);
        snprintf(text[i][1], sizeof text[i][1], "/app%u/v%u/users/17?x=1", k % 100, k);
        request_init(&q[i], text[i][0], text[i][1]);
    }
    for (int round = 0; round < 7; round++) {
        double start = seconds();
        for (int i = 0; i < 6400; i++) (void)router_find(r, &q[i % 64].m, &q[i % 64].client);
        double each = (seconds() - start) / 6400;
        if (each < best) best = each;
    }
    return best;
}

static void test_ten_thousand(void **state) {
    (void)state;
    struct many *t = malloc(sizeof *t), *few = malloc(sizeof *few);
    assert_true(t && few);
    struct router *r = many_new(t, MANY), *small = many_new(few, 10);
    for (uint32_t i = 0; i < MANY; i += 37) {
        struct request q;
        char host[64], uri[64];
        snprintf(host, sizeof host, i % 3 ? "h%u.example.com" : "x.w%u.example.com", i);
        snprintf(uri, sizeof uri, "/app%u/v%u", i % 100, i);
        request_init(&q, host, uri);
        assert_int_equal(router_find(r, &q.m, &q.client), naive_find(t->routes, MANY, &q));
    }
    double many_cost = cost(r, MANY), few_cost = cost(small, 10);
    print_message("a lookup among 10: %.0f ns, among 10,000: %.0f ns\n", few_cost * 1e9, many_cost * 1e9);
    assert_true(many_cost < few_cost * 10); /* a walk over the list costs hundreds of times as much */
    router_free(r);
    router_free(small);
    free(t);
    free(few);
}

static void test_hostile(void **state) {
    (void)state;
    struct many *t = malloc(sizeof *t);
    char *path = malloc(65536), *host = malloc(65536);
    assert_true(t && path && host);
    struct router *r = many_new(t, MANY);
    for (int i = 0; i < 65535; i++) path[i] = i % 2 ? 'a' : '/', host[i] = i % 2 ? '.' : 'a';
    path[65535] = host[65535] = '\0';
    memcpy(host + 65535 - 16, ".w99.example.com", 16);
    struct request q;
    request_init(&q, host, path);
    assert_int_equal(router_find(r, &q.m, &q.client), -1);
    double start = seconds();
    for (int i = 0; i < 1000; i++) (void)router_find(r, &q.m, &q.client);
    double each = (seconds() - start) / 1000;
    print_message("32,768 segments and labels: %.0f ns\n", each * 1e9);
    assert_true(each < 1e-4);
    q.m.path = SLICE("/app99/v99/x");
    assert_int_equal(router_find(r, &q.m, &q.client), 99); /* "*.w99.example.com", however long the host */
    router_free(r);
    free(t);
    free(path);
    free(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),  cmocka_unit_test(test_hosts), cmocka_unit_test(test_paths),
        cmocka_unit_test(test_fields),  cmocka_unit_test(test_empty), cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
