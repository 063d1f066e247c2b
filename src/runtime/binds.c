/* binds.c: the addresses that are listened on, across configurations. */
#include "loomgate/runtime/binds.h"

#include "loomgate/base/mem.h"
#include "loomgate/net/socket.h"

#include <stdlib.h>
#include <unistd.h>

struct bind {
    struct list node;
    unsigned id;
    struct addr wanted, bound; /* they differ by the port when that is 0 */
    bool any_family;
    bool is_new, is_planned; /* in the plan that was made last */
    bool is_seen;            /* by the one that is being made, or compared */
    char *path;              /* of a UNIX socket: its file is removed with it, when that is ours: */
    bool is_lent;            /* the service manager's, now and in processes to come */
    bool is_others;          /* or as long as another process serves it, too */
    int *fds;                /* its sockets, for another process; the workers close them */
    unsigned fd_count;
    char *text, *frontend; /* its address as it was written, and whose it was when it was opened */
};

void binds_init(struct binds *b) {
    *b = (struct binds){.next_id = 1};
    list_init(&b->list);
}

/* A socket's file outlives the socket; nobody answers there any more. */
static void bind_free(struct bind *bind) {
    if (bind->path && !bind->is_lent && !bind->is_others) unlink(bind->path);
    list_remove(&bind->node);
    free(bind->fds);
    free(bind->path);
    free(bind->text);
    free(bind->frontend);
    free(bind);
}

void binds_fini(struct binds *b) {
    LIST_FOR (node, &b->list) bind_free(LIST_ENTRY(node, struct bind, node));
}

static void tell_listening(const struct frontend *f, const struct bind *bind, unsigned workers) {
    char text[ADDR_TEXT_MAX];
    size_t n = addr_print(bind->path ? &bind->wanted : &bind->bound, text);
    log_info("listening", NULL, LOG_STR("frontend", f->settings->name), LOG_SLICE("address", slice_from(text, n)),
             LOG_INT("workers", workers));
}

/* Any free port is another one for each frontend. */
static bool is_free_port(const struct addr *wanted) {
    return !addr_is_unix(wanted) && addr_port(wanted) == 0;
}

/* One that is open and not yet in this plan. */
static struct bind *find_bind(struct binds *b, const struct addr *wanted, bool any_family, const char *frontend) {
    LIST_FOR (node, &b->list) {
        struct bind *bind = LIST_ENTRY(node, struct bind, node);
        if (bind->is_seen || bind->any_family != any_family || !addr_eq(&bind->wanted, wanted)) continue;
        if (!is_free_port(wanted) || strcmp(bind->frontend, frontend) == 0) return bind;
    }
    return NULL;
}

static bool is_wildcard(const struct addr *a) {
    return a->u.sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr)
                                         : a->u.sa.sa_family == AF_INET && a->u.in.sin_addr.s_addr == INADDR_ANY;
}

/* *:80 and 127.0.0.1:80, one of them open: it stays until the workers have taken up the other. */
static bool is_beside_own(const struct binds *b, const struct addr *wanted) {
    if (addr_is_unix(wanted) || is_free_port(wanted)) return false;
    LIST_FOR (node, &b->list) {
        const struct bind *bind = LIST_ENTRY(node, struct bind, node);
        if (addr_is_unix(&bind->bound) || addr_port(&bind->bound) != addr_port(wanted)) continue;
        if (is_wildcard(wanted) || is_wildcard(&bind->wanted)) return true;
    }
    return false;
}

/* Sockets that were there before the process, as they are to be now. group->count is 0 when there are none. */
static bool inherit(struct binds *b, const struct frontend *f, const struct addr *wanted,
                    const struct listener_settings *l, unsigned workers, struct listen_group *group, struct error *e) {
    *group = (struct listen_group){0};
    if (!b->inherited) return true;
    if (!listen_fds_take_group(b->inherited, wanted, l->address.kind == ADDRESS_ANY, f->settings->name, workers, group,
                               e))
        return false;
    for (unsigned i = 0; i < group->distinct; i++) listen(group->fds[i], (int)l->backlog);
    return true;
}

static bool open_group(struct binds *b, const struct frontend *f, const struct addr *wanted,
                       const struct listener_settings *l, unsigned workers, struct listen_group *g, struct error *e) {
    bool any_family = l->address.kind == ADDRESS_ANY;
    if (!inherit(b, f, wanted, l, workers, g, e)) return false;
    if (g->count) return true;
    *g = (struct listen_group){
        .fds = xcalloc(workers, sizeof *g->fds), .count = workers, .distinct = addr_is_unix(wanted) ? 1 : workers};
    if ((is_beside_own(b, wanted) ? socket_listen_beside : socket_listen)(wanted, any_family, l->backlog, workers,
                                                                          g->fds, e))
        return true;
    free(g->fds);
    return false;
}

static struct bind *open_bind(struct binds *b, const struct frontend *f, const struct addr *wanted,
                              const struct listener_settings *l, unsigned workers, struct listen_group *g,
                              struct error *e) {
    if (!open_group(b, f, wanted, l, workers, g, e)) return NULL;
    struct bind *bind = xcalloc(1, sizeof *bind);
    *bind = (struct bind){.id = b->next_id++,
                          .wanted = *wanted,
                          .any_family = l->address.kind == ADDRESS_ANY,
                          .is_new = true,
                          .is_lent = g->is_lent,
                          .is_others = g->is_inherited,
                          .fd_count = g->distinct};
    if (!socket_local_addr(g->fds[0], &bind->bound)) bind->bound = *wanted;
    bind->fds = memcpy(xcalloc(g->distinct, sizeof *g->fds), g->fds, g->distinct * sizeof *g->fds);
    bind->text = xstrdup(l->address.text);
    bind->frontend = xstrdup(f->settings->name);
    if (addr_is_unix(wanted)) bind->path = xstrdup(l->address.host);
    list_push_back(&b->list, &bind->node);
    return bind;
}

static bool plan_listener(struct binds *b, struct frontend *f, uint32_t index, unsigned workers, struct order *o,
                          struct bind_changes *changes, struct error *e) {
    const struct listener_settings *l = &f->settings->listeners[index];
    struct addr wanted;
    if (!addr_resolve(&wanted, &l->address, e)) return error_set(e, "frontend '%s': %s", f->settings->name, e->text);
    struct bind *bind = find_bind(b, &wanted, l->address.kind == ADDRESS_ANY, f->settings->name);
    struct listen_group g = {0};
    if (bind) {
        changes->kept++;
    } else {
        bind = open_bind(b, f, &wanted, l, workers, &g, e);
        if (!bind) return error_set(e, "frontend '%s': %s", f->settings->name, e->text);
        changes->opened++;
    }
    bind->is_seen = true;
    f->ports[index] = addr_port(&bind->bound);
    o->listeners[o->listener_count++] = (struct order_listener){bind->id, f, l, f->ports[index], g.fds, g.count};
    return true;
}

static void end_plan(struct binds *b, const struct order *o, unsigned workers) {
    unsigned i = 0;
    LIST_FOR (node, &b->list) {
        struct bind *bind = LIST_ENTRY(node, struct bind, node);
        bind->is_planned = bind->is_seen;
        if (!bind->is_new) continue;
        while (o->listeners[i].bind != bind->id) i++; /* both are sorted by it */
        tell_listening(o->listeners[i].frontend, bind, workers);
    }
}

static int by_bind(const void *one, const void *other) {
    const struct order_listener *a = one, *b = other;
    return (a->bind > b->bind) - (a->bind < b->bind);
}

static void begin_plan(struct binds *b) {
    LIST_FOR (node, &b->list) LIST_ENTRY(node, struct bind, node)->is_seen = false;
}

bool binds_plan(struct binds *b, const struct snapshot *s, unsigned workers, struct order *o,
                struct bind_changes *changes, struct error *e) {
    unsigned count = 0;
    bool ok = true;
    *changes = (struct bind_changes){0};
    for (uint32_t i = 0; i < s->frontend_count; i++) count += s->frontends[i].settings->listener_count;
    o->listeners = xcalloc(count, sizeof *o->listeners);
    o->listener_count = 0;
    o->workers = workers;
    begin_plan(b);
    for (uint32_t i = 0; ok && i < s->frontend_count; i++) {
        struct frontend *f = &s->frontends[i];
        for (uint32_t k = 0; ok && k < f->settings->listener_count; k++)
            ok = plan_listener(b, f, k, workers, o, changes, e);
    }
    qsort(o->listeners, o->listener_count, sizeof *o->listeners, by_bind);
    LIST_FOR (node, &b->list) changes->closed += !LIST_ENTRY(node, struct bind, node)->is_seen;
    if (ok)
        end_plan(b, o, workers);
    else
        binds_undo(b, o);
    return ok;
}

void binds_undo(struct binds *b, struct order *o) {
    for (unsigned i = 0; i < o->listener_count; i++)
        for (unsigned k = 0; o->listeners[i].fds && k < o->listeners[i].fd_count; k++) close(o->listeners[i].fds[k]);
    LIST_FOR (node, &b->list) {
        struct bind *bind = LIST_ENTRY(node, struct bind, node);
        if (bind->is_new) bind_free(bind);
    }
    order_fini(o);
}

void binds_keep(struct binds *b) {
    LIST_FOR (node, &b->list) {
        struct bind *bind = LIST_ENTRY(node, struct bind, node);
        bind->is_new = false;
        if (!bind->is_planned) bind_free(bind);
    }
}

/* --- between processes ------------------------------------------------------------------------------------------ */

void binds_bequeath(const struct binds *b, bind_heir *each, void *arg) {
    char name[LISTEN_NAME_MAX];
    LIST_FOR (node, &b->list) {
        const struct bind *bind = LIST_ENTRY(node, struct bind, node);
        listen_fds_name(name, bind->frontend, bind->is_lent);
        for (unsigned i = 0; i < bind->fd_count; i++) each(arg, bind->fds[i], name);
    }
}

void binds_share_files(struct binds *b, bool with_others) {
    LIST_FOR (node, &b->list) LIST_ENTRY(node, struct bind, node)->is_others = with_others;
}

/* --- comparing -------------------------------------------------------------------------------------------------- */

static void compare_listener(struct binds *b, const struct frontend_settings *f, const struct listener_settings *l,
                             bind_each *each, void *arg) {
    struct addr wanted;
    struct error e;
    struct bind *bind = NULL;
    if (addr_resolve(&wanted, &l->address, &e)) bind = find_bind(b, &wanted, l->address.kind == ADDRESS_ANY, f->name);
    if (bind) bind->is_seen = true;
    each(arg, bind ? BIND_KEPT : BIND_OPENED, l->address.text, f->name);
}

void binds_compare(struct binds *b, const struct config *after, bind_each *each, void *arg) {
    begin_plan(b);
    for (uint32_t i = 0; i < after->frontend_count; i++)
        for (uint32_t k = 0; k < after->frontends[i].listener_count; k++)
            compare_listener(b, &after->frontends[i], &after->frontends[i].listeners[k], each, arg);
    LIST_FOR (node, &b->list) {
        const struct bind *bind = LIST_ENTRY(node, struct bind, node);
        if (!bind->is_seen) each(arg, BIND_CLOSED, bind->text, bind->frontend);
    }
}

void order_fini(struct order *o) {
    for (unsigned i = 0; i < o->listener_count; i++) free(o->listeners[i].fds);
    free(o->listeners);
    o->listeners = NULL;
    o->listener_count = 0;
}
