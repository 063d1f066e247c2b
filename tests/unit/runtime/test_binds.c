/* test_binds.c: sockets across configurations: kept by their address, opened, given up, and nothing when one fails. */
#include "loomgate/runtime/binds.h"

#include "../../support/addr_make.h"
#include "../../support/config_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 2, FDS_MAX = 32 };

static struct binds binds;
static struct registry registry;
static struct snapshot *snapshots[8];
static unsigned snapshot_count;
static int fds[FDS_MAX]; /* what workers would have taken over */
static unsigned fd_count;
static struct bind_changes changes;
static char dir[32], path[64], told[512];

static int set_up(void **state) {
    (void)state;
    log_set_level(LEVEL_ERROR);
    binds_init(&binds);
    registry_init(&registry);
    snapshot_count = fd_count = 0;
    strcpy(dir, "/tmp/lg-binds-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    while (fd_count) close(fds[--fd_count]);
    binds_fini(&binds);
    while (snapshot_count) snapshot_free(snapshots[--snapshot_count], &registry);
    registry_fini(&registry);
    assert_int_equal(rmdir(dir), 0); /* the socket's file has gone with it */
    return 0;
}

/* Frontends "f0", "f1", ... with an address each. */
static struct snapshot *make(const struct addr *at, unsigned count) {
    static const char *const names[] = {"f0", "f1", "f2"};
    struct config *c = config_make();
    struct error e;
    for (unsigned i = 0; i < count; i++) {
        struct frontend_settings *f = config_add_frontend(c, names[i]);
        struct listener_settings *l = arena_calloc(&c->arena, sizeof *l);
        *l = (struct listener_settings){.address = address_make(&c->arena, &at[i]), .backlog = 8};
        f->listeners = l;
        f->listener_count = 1;
    }
    struct snapshot *s = snapshots[snapshot_count++] = snapshot_build(c, &registry, &e);
    assert_non_null(s);
    return s;
}

static bool plan(const struct snapshot *s, struct order *o, struct error *e) {
    *o = (struct order){0};
    return binds_plan(&binds, s, WORKERS, o, &changes, e);
}

static void take_over(const struct order *o) {
    for (unsigned i = 0; i < o->listener_count; i++)
        for (unsigned w = 0; o->listeners[i].fds && w < WORKERS; w++) fds[fd_count++] = o->listeners[i].fds[w];
}

/* Ports of the frontends in order; workers take up all of it. */
static void apply(const struct addr *at, unsigned count, uint16_t *ports) {
    struct order o;
    struct error e;
    if (!plan(make(at, count), &o, &e)) fail_msg("%s", e.text);
    assert_int_equal(o.listener_count, count);
    for (unsigned i = 0; i < count; i++) ports[i] = o.listeners[i].port;
    take_over(&o);
    binds_keep(&binds);
    order_fini(&o);
}

#define ASSERT_CHANGES(k, o, c) assert_true(changes.kept == (k) && changes.opened == (o) && changes.closed == (c))

static void an_address_is_kept(void **state) {
    struct addr any = addr_make_ip("127.0.0.1", 0), at[2];
    uint16_t first[2], again[2];
    (void)state;
    apply(&any, 1, first);
    ASSERT_CHANGES(0, 1, 0);
    assert_int_equal(fd_count, WORKERS);
    apply(&any, 1, again);
    ASSERT_CHANGES(1, 0, 0);
    assert_true(first[0] && first[0] == again[0] && fd_count == WORKERS);
    at[0] = any;
    at[1] = addr_make_unix(path);
    apply(at, 2, again);
    ASSERT_CHANGES(1, 1, 0);
    assert_int_equal(again[0], first[0]);
    assert_int_equal(access(path, F_OK), 0);
    apply(&at[0], 1, again);
    ASSERT_CHANGES(1, 0, 1);
    assert_int_equal(access(path, F_OK), -1);
}

/* Two of the same words are two sockets; who goes does not give its own to the other. */
static void any_port_is_each_frontends_own(void **state) {
    const struct addr at[] = {addr_make_ip("127.0.0.1", 0), addr_make_ip("127.0.0.1", 0)};
    uint16_t ports[2], one[2];
    (void)state;
    apply(at, 2, ports);
    assert_int_not_equal(ports[0], ports[1]);
    apply(at, 1, one);
    ASSERT_CHANGES(1, 0, 1);
    assert_int_equal(one[0], ports[0]);
}

static void a_failure_opens_nothing(void **state) {
    struct addr at[3] = {addr_make_ip("127.0.0.1", 0), addr_make_unix(path), addr_make_unix("/no/such/folder/s")};
    uint16_t ports[3], again[3];
    struct order o;
    struct error e;
    (void)state;
    apply(at, 1, ports);
    assert_false(plan(make(at, 3), &o, &e));
    assert_non_null(strstr(e.text, "frontend 'f2': cannot listen on"));
    assert_int_equal(fd_count, WORKERS);
    assert_int_equal(access(path, F_OK), -1);
    apply(at, 1, again);
    ASSERT_CHANGES(1, 0, 0);
    assert_int_equal(again[0], ports[0]);
}

static void tell(void *arg, enum bind_fate fate, const char *address, const char *frontend) {
    static const char *const words[] = {[BIND_KEPT] = "kept", [BIND_OPENED] = "opened", [BIND_CLOSED] = "closed"};
    size_t n = strlen(told);
    assert_null(arg);
    snprintf(told + n, sizeof told - n, "%s %s %s; ", words[fate], strstr(address, "unix:") ? "unix" : address,
             frontend);
}

/* Also while an order is under way. */
static void comparing_changes_nothing(void **state) {
    struct addr at[2] = {addr_make_ip("127.0.0.1", 0), addr_make_unix(path)};
    struct order o;
    struct error e;
    (void)state;
    assert_true(plan(make(at, 2), &o, &e));
    take_over(&o);
    struct snapshot *other = make(&at[1], 1); /* f0 has the path now, f1 nothing */
    told[0] = '\0';
    binds_compare(&binds, other->config, tell, NULL);
    assert_string_equal(told, "kept unix f0; closed 127.0.0.1:0 f0; ");
    binds_keep(&binds);
    order_fini(&o);
    assert_int_equal(access(path, F_OK), 0);
    told[0] = '\0';
    binds_compare(&binds, snapshots[0]->config, tell, NULL);
    assert_string_equal(told, "kept 127.0.0.1:0 f0; kept unix f1; ");
}

/* *:PORT beside 127.0.0.1:PORT. */
static void wider_and_narrower_go_together(void **state) {
    struct addr narrow = addr_make_ip("127.0.0.1", 0), wide;
    uint16_t port, again;
    (void)state;
    apply(&narrow, 1, &port);
    wide = addr_make_ip("0.0.0.0", port);
    apply(&wide, 1, &again);
    ASSERT_CHANGES(0, 1, 1);
    assert_int_equal(again, port);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_address_is_kept),        TEST(any_port_is_each_frontends_own), TEST(a_failure_opens_nothing),
        TEST(comparing_changes_nothing), TEST(wider_and_narrower_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
