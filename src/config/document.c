/* document.c: reads a configuration file and merges what it includes into one tree.
 *
 *   FILE -> text -> yaml_parse -> root --include: patterns--> files, sorted -> their frontends and backends appended */
#include "document_internal.h"

#include "loomgate/base/map.h"

#include "config_files_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FAIL(doc, place, hint, ...) diagnostics_add((doc)->d, SEVERITY_ERROR, place, hint, __VA_ARGS__)

/* --- reading ---------------------------------------------------------------------------------------------------- */

const struct source *document_read(struct diagnostics *d, const char *path) {
    struct file_text f = config_file_read(path);
    config_files_add(&d->files, path, &f);
    const struct source *source = diagnostics_add_source(d, path, f.text, f.len);
    if (!f.why) return source;
    diagnostics_add(d, SEVERITY_ERROR, (struct place){source, 0, 0}, NULL, "the file cannot be read: %s", f.why);
    return NULL;
}

static const struct node *parse_source(struct document *doc, const struct source *source) {
    struct place top = {source, 1, 1};
    size_t before = diagnostics_count(doc->d, SEVERITY_ERROR);
    const struct node *root = yaml_parse(doc->arena, doc->d, source);
    if (root && node_is_null(root)) root = NULL;
    if (!root && diagnostics_count(doc->d, SEVERITY_ERROR) == before)
        FAIL(doc, top, "begin with version: 1", "the file is empty");
    if (!root || root->kind == NODE_BAD) return NULL;
    if (root->kind == NODE_MAP) return root;
    FAIL(doc, root->place, "begin with version: 1", "a configuration is a map of keys, not %s", node_kind_name(root));
    return NULL;
}

const struct node *document_parse(struct document *doc) {
    return doc->source ? parse_source(doc, doc->source) : NULL;
}

/* --- merging ---------------------------------------------------------------------------------------------------- */

struct section { /* frontends or backends of all files */
    const char *key, *what;
    struct node *node; /* the merged map */
    struct node_entry **last;
    struct map names; /* name to the key's node */
};

static void append(struct document *doc, struct section *s, const struct node *key, const struct node *value) {
    struct node_entry *e = arena_alloc(doc->arena, sizeof *e);
    *e = (struct node_entry){NULL, key, value};
    *s->last = e;
    s->last = &e->next;
    s->node->count++;
}

static void add_section(struct document *doc, struct section *s, const struct node *from) {
    if (!from || from->kind == NODE_BAD || node_is_null(from)) return;
    if (from->kind != NODE_MAP) {
        FAIL(doc, from->place, NULL, "'%s' takes a map of names, not %s", s->key, node_kind_name(from));
        return;
    }
    for (const struct node_entry *e = from->first; e; e = e->next) {
        const struct node *first = map_put(&s->names, e->key->text, (void *)(uintptr_t)e->key);
        if (first)
            FAIL(doc, e->key->place, NULL, "the %s '%.64s' is defined twice, first at %s:%u:%u", s->what,
                 e->key->text.p, first->place.source->name, first->place.line, first->place.column);
        else
            append(doc, s, e->key, e->value);
    }
}

static void add_file(struct document *doc, struct section sections[2], const char *path, struct place from) {
    const struct source *source = document_read(doc->d, path);
    if (!source) return;
    doc->included += source->text.n;
    if (doc->included > FILES_SIZE_MAX) {
        FAIL(doc, from, NULL, "the included files have more than 16 MiB together");
        return;
    }
    const struct node *root = parse_source(doc, source);
    for (const struct node_entry *e = root ? root->first : NULL; e; e = e->next) {
        if (slice_is(e->key->text, "version")) continue;
        if (slice_is(e->key->text, sections[0].key) || slice_is(e->key->text, sections[1].key))
            add_section(doc, &sections[slice_is(e->key->text, sections[1].key)], e->value);
        else
            FAIL(doc, e->key->place, NULL, "an included file may have only 'frontends' and 'backends', not '%.60s'",
                 e->key->text.p);
    }
}

/* --- include ---------------------------------------------------------------------------------------------------- */

struct files { /* those that were read, by device and inode */
    struct {
        dev_t dev;
        ino_t ino;
    } * v;
    size_t count;
};

static bool is_new_file(struct files *files, const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) return true; /* reading will say why */
    for (size_t i = 0; i < files->count; i++)
        if (files->v[i].dev == st.st_dev && files->v[i].ino == st.st_ino) return false;
    files->v = xrealloc(files->v, (files->count + 1) * sizeof *files->v);
    files->v[files->count].dev = st.st_dev;
    files->v[files->count++].ino = st.st_ino;
    return true;
}

/* A pattern is relative to the directory of the main file. */
static char *full_pattern(const struct document *doc, struct slice pattern) {
    const char *slash = strrchr(doc->path, '/');
    size_t dir = pattern.p[0] == '/' || !slash ? 0 : (size_t)(slash - doc->path) + 1;
    char *full = xmalloc(dir + pattern.n + 1);
    memcpy(full, doc->path, dir);
    memcpy(full + dir, pattern.p, pattern.n + 1);
    return full;
}

static void include_pattern(struct document *doc, struct section sections[2], struct files *files,
                            const struct node *pattern) {
    enum { FILES_MAX = 1000 };
    if (pattern->kind == NODE_BAD) return;
    if (pattern->kind != NODE_SCALAR || pattern->text.n == 0 || strlen(pattern->text.p) != pattern->text.n) {
        FAIL(doc, pattern->place, "write include: conf.d/*.yaml", "'include' takes a path or a list of paths");
        return;
    }
    char *full = full_pattern(doc, pattern->text);
    glob_t found;
    int rc = config_files_glob(full, &found);
    if (rc == GLOB_NOMATCH && !strpbrk(full, "*?["))
        FAIL(doc, pattern->place, NULL, "there is no file '%.200s'", full);
    else if (rc != 0 && rc != GLOB_NOMATCH)
        FAIL(doc, pattern->place, NULL, "'%.200s' cannot be looked up: %s", full, strerror(errno));
    config_files_add_pattern(&doc->d->files, full, &found);
    if (found.gl_pathc > FILES_MAX)
        FAIL(doc, pattern->place, NULL, "'%.200s' means more than %d files", full, FILES_MAX);
    for (size_t i = 0; i < found.gl_pathc && i < FILES_MAX; i++) {
        if (is_new_file(files, found.gl_pathv[i]))
            add_file(doc, sections, found.gl_pathv[i], pattern->place);
        else
            FAIL(doc, pattern->place, NULL, "'%.200s' would be included twice, or is this file itself",
                 found.gl_pathv[i]);
    }
    globfree(&found);
    free(full);
}

static void include_all(struct document *doc, struct section sections[2], const struct node *include) {
    struct files files = {0};
    if (!doc->path) {
        FAIL(doc, include->place, NULL, "'include' needs a file to start from");
        return;
    }
    is_new_file(&files, doc->path);
    if (include->kind == NODE_LIST)
        for (const struct node_entry *e = include->first; e; e = e->next)
            include_pattern(doc, sections, &files, e->value);
    else
        include_pattern(doc, sections, &files, include);
    free(files.v);
}

static struct node *new_map(struct document *doc, struct place place) {
    struct node *n = arena_calloc(doc->arena, sizeof *n);
    n->kind = NODE_MAP;
    n->place = place;
    return n;
}

/* The root with the merged sections in place of its own. */
static const struct node *replace_sections(struct document *doc, const struct node *root, struct section sections[2]) {
    struct section all = {.node = new_map(doc, root->place)};
    all.last = &all.node->first;
    for (const struct node_entry *e = root->first; e; e = e->next) {
        bool is_section = slice_is(e->key->text, sections[0].key) || slice_is(e->key->text, sections[1].key);
        if (!is_section) append(doc, &all, e->key, e->value);
    }
    for (size_t i = 0; i < 2; i++)
        append(doc, &all, node_new_scalar(doc->arena, root->place, slice_of(sections[i].key)), sections[i].node);
    return all.node;
}

const struct node *document_include(struct document *doc, const struct node *root) {
    struct section sections[2] = {{.key = "frontends", .what = "frontend"}, {.key = "backends", .what = "backend"}};
    const struct node *include = node_find(root, "include");
    for (size_t i = 0; i < 2; i++) {
        struct section *s = &sections[i];
        s->node = new_map(doc, root->place);
        s->last = &s->node->first;
        map_init(&s->names);
        add_section(doc, s, node_find(root, s->key));
    }
    if (include && include->kind != NODE_BAD) include_all(doc, sections, include);
    root = replace_sections(doc, root, sections);
    for (size_t i = 0; i < 2; i++) map_fini(&sections[i].names);
    return root;
}
