/* document_load.c: what config.h declares: a document to checked settings, and settings back to YAML.
 *
 *   document_parse -> document_include -> document_override -> schema_read of the root (global, defaults)
 *     -> names of the backends -> each backend -> each frontend -> what nobody uses -> struct config */
#include "loomgate/config/config.h"

#include "crosscheck_internal.h"
#include "document_internal.h"
#include "schema_internal.h"
#include "tables_internal.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

struct reader {
    struct loader l;
    struct config *config;
    struct root_settings root;
};

/* --- frontends and backends ------------------------------------------------------------------------------------- */

/* Reads the body of one. Errors about all of it stand at its name. */
static bool read_body(struct reader *r, const struct settings_table *table, const struct node_entry *e, void *base) {
    struct complaint c;
    struct diagnostics *d = r->l.d;
    if (!name_check(e->key->text, &c))
        return diagnostics_add(d, SEVERITY_ERROR, e->key->place, c.hint, "the name of %s: %s", table->what, c.text);
    if (e->value->kind == NODE_BAD) return false;
    if (e->value->kind != NODE_MAP && !node_is_null(e->value))
        return diagnostics_add(d, SEVERITY_ERROR, e->value->place, NULL, "%s is a map of keys, not %s", table->what,
                               node_kind_name(e->value));
    struct node body = *e->value;
    body.place = e->key->place;
    crosscheck_start(&r->l);
    return schema_read(&r->l, table, &body, base);
}

static const struct node *get_section(const struct node *root, const char *key) {
    const struct node *section = node_find(root, key);
    LG_ASSERT(section && section->kind == NODE_MAP); /* document_include made it */
    return section;
}

static void read_backends(struct reader *r, const struct node *section) {
    struct arena *a = r->l.arena;
    struct backend_settings *v = arena_alloc(a, (section->count + 1) * sizeof *v);
    uint32_t i = 0;
    r->l.backend_names = arena_alloc(a, (section->count + 1) * sizeof *r->l.backend_names);
    r->l.backend_used = arena_calloc(a, section->count + 1);
    r->l.backend_count = section->count;
    for (const struct node_entry *e = section->first; e; e = e->next, i++) {
        v[i] = r->root.defaults.backend;
        v[i].name = r->l.backend_names[i] = arena_strndup(a, e->key->text.p, e->key->text.n);
        map_put(&r->l.backend_map, slice_of(v[i].name), (void *)(uintptr_t)(i + 1));
        read_body(r, &table_backend, e, &v[i]);
    }
    r->config->backends = r->l.backends = v;
    r->config->backend_count = section->count;
}

static void read_frontends(struct reader *r, const struct node *section) {
    struct arena *a = r->l.arena;
    struct frontend_settings *v = arena_alloc(a, (section->count + 1) * sizeof *v);
    uint32_t i = 0;
    for (const struct node_entry *e = section->first; e; e = e->next, i++) {
        v[i] = r->root.defaults.frontend;
        v[i].name = arena_strndup(a, e->key->text.p, e->key->text.n);
        read_body(r, &table_frontend, e, &v[i]);
        if (v[i].max_connections > r->config->global.max_connections)
            diagnostics_add(r->l.d, SEVERITY_WARNING, e->key->place, NULL,
                            "'max_connections' is larger here than in global, which ends it");
    }
    r->config->frontends = v;
    r->config->frontend_count = section->count;
}

static void warn_of_unused(struct reader *r, const struct node *frontends, const struct node *backends) {
    uint32_t i = 0;
    if (!frontends->count)
        diagnostics_add(r->l.d, SEVERITY_WARNING, frontends->place, NULL, "there are no frontends: nobody can connect");
    for (const struct node_entry *e = backends->first; e; e = e->next, i++)
        if (!r->l.backend_used[i])
            diagnostics_add(r->l.d, SEVERITY_WARNING, e->key->place, NULL, "nobody uses the backend '%s'",
                            r->l.backend_names[i]);
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static uint32_t count_cpus(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return (uint32_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set has room for */
    return online > 0 ? (uint32_t)online : 1;
}

static void read_root(struct reader *r, const struct node *root) {
    struct root_settings *s = &r->root;
    root_set_defaults(&r->l, s);
    schema_read(&r->l, &table_root, root, s);
    if (s->global.workers == 0) s->global.workers = count_cpus();
    r->config->global = s->global;
}

static void read_all(struct reader *r, const struct node *root, size_t before) {
    const struct node *frontends = get_section(root, "frontends"), *backends = get_section(root, "backends");
    read_root(r, root);
    read_backends(r, backends);
    read_frontends(r, frontends);
    /* After an error it may be the error's fault. */
    if (diagnostics_count(r->l.d, SEVERITY_ERROR) == before) warn_of_unused(r, frontends, backends);
}

static struct config *load(struct document *doc, const struct config_override *overrides, size_t override_count) {
    size_t before = diagnostics_count(doc->d, SEVERITY_ERROR);
    const struct node *root = document_parse(doc);
    if (!root) return NULL;
    root = document_include(doc, root);
    for (size_t i = 0; i < override_count; i++) root = document_override(doc, root, &overrides[i]);
    struct config *config = xcalloc(1, sizeof *config);
    arena_init(&config->arena, NULL, 0);
    struct reader r = {.l = {.arena = &config->arena, .d = doc->d}, .config = config};
    map_init(&r.l.backend_map);
    map_init(&r.l.listeners);
    map_init(&r.l.names);
    read_all(&r, root, before);
    config_files_copy(&config->files, &doc->d->files, &config->arena);
    map_fini(&r.l.backend_map);
    map_fini(&r.l.listeners);
    map_fini(&r.l.names);
    if (diagnostics_count(doc->d, SEVERITY_ERROR) == before) return config;
    config_free(config);
    return NULL;
}

struct config *config_load(const char *path, const struct config_override *overrides, size_t override_count,
                           struct diagnostics *d) {
    struct arena tree;
    arena_init(&tree, NULL, 0);
    struct document doc = {.arena = &tree, .d = d, .path = path};
    config_files_init(&d->files, &d->arena);
    doc.source = document_read(d, path);
    struct config *config = doc.source ? load(&doc, overrides, override_count) : NULL;
    arena_fini(&tree);
    return config;
}

struct config *config_parse(const char *name, struct slice text, const struct config_override *overrides,
                            size_t override_count, struct diagnostics *d) {
    struct arena tree;
    arena_init(&tree, NULL, 0);
    char *copy = xmalloc(text.n);
    if (text.n) memcpy(copy, text.p, text.n);
    struct document doc = {.arena = &tree, .d = d};
    config_files_init(&d->files, &d->arena);
    doc.source = diagnostics_add_source(d, name, copy, text.n);
    struct config *config = load(&doc, overrides, override_count);
    arena_fini(&tree);
    return config;
}

/* --- printing --------------------------------------------------------------------------------------------------- */

void config_print(const struct config *c, FILE *out) {
    struct printer p = {.out = out, .backends = c->backends, .indent = 2};
    fprintf(out, "version: 1\nglobal:\n");
    schema_print(&p, &table_global, &c->global);
    fprintf(out, "frontends:\n");
    for (uint32_t i = 0; i < c->frontend_count; i++) {
        const struct frontend_settings *f = &c->frontends[i];
        p.indent = 2;
        p.skip_flags = f->mode == MODE_TCP ? HTTP_ONLY : 0;
        printer_key(&p, f->name);
        fputc('\n', out);
        p.indent = 4;
        schema_print(&p, &table_frontend, f);
    }
    fprintf(out, "backends:\n");
    p.skip_flags = 0;
    for (uint32_t i = 0; i < c->backend_count; i++) {
        p.indent = 2;
        printer_key(&p, c->backends[i].name);
        fputc('\n', out);
        p.indent = 4;
        schema_print(&p, &table_backend, &c->backends[i]);
    }
}

void config_print_reference(FILE *out) {
    schema_print_reference(&table_root, out);
}
