/* view.c: the tree of an answer, and its rendering as JSON (cJSON only here). */
#include "view_internal.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "loomgate/base/log.h"

/* --- the tree --------------------------------------------------------------------------------------------------- */

void view_init(struct view *v) {
    arena_init(&v->arena, NULL, 0);
    v->root = (struct view_node){.arena = &v->arena, .kind = VIEW_OBJECT};
}

void view_fini(struct view *v) {
    arena_fini(&v->arena);
}

struct view_node *view_begin_list(struct view *v) {
    LG_ASSERT(!v->root.first);
    v->root.kind = VIEW_LIST;
    return &v->root;
}

static struct view_node *add(struct view_node *in, const char *name, enum view_kind kind) {
    LG_ASSERT(in->kind == (name ? VIEW_OBJECT : VIEW_LIST));
    struct view_node *n = arena_calloc(in->arena, sizeof *n);
    n->arena = in->arena;
    n->name = name;
    n->kind = kind;
    if (in->last)
        in->last->next = n;
    else
        in->first = n;
    in->last = n;
    in->count++;
    return n;
}

struct view_node *view_object(struct view_node *in, const char *name) {
    return add(in, name, VIEW_OBJECT);
}

struct view_node *view_list(struct view_node *in, const char *name) {
    return add(in, name, VIEW_LIST);
}

static void add_text(struct view_node *in, const char *name, enum view_kind kind, struct slice text) {
    struct view_node *n = add(in, name, kind);
    n->u.text = slice_from(arena_strndup(in->arena, text.n ? text.p : "", text.n), text.n);
}

void view_slice(struct view_node *in, const char *name, struct slice text) {
    add_text(in, name, VIEW_TEXT, text);
}

void view_text(struct view_node *in, const char *name, const char *text) {
    if (text)
        view_slice(in, name, slice_of(text));
    else
        view_null(in, name);
}

void view_printf(struct view_node *in, const char *name, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    view_text(in, name, text);
}

void view_lines(struct view_node *in, const char *name, struct slice text) {
    add_text(in, name, VIEW_LINES, text);
}

static void add_number(struct view_node *in, const char *name, enum view_kind kind, uint64_t number) {
    add(in, name, kind)->u.number = number;
}

void view_number(struct view_node *in, const char *name, uint64_t number) {
    add_number(in, name, VIEW_NUMBER, number);
}

void view_signed(struct view_node *in, const char *name, int64_t number) {
    add_number(in, name, VIEW_SIGNED, (uint64_t)number);
}

void view_real(struct view_node *in, const char *name, double number) {
    add(in, name, VIEW_REAL)->u.real = number;
}

void view_ratio(struct view_node *in, const char *name, double ratio) {
    add(in, name, VIEW_RATIO)->u.real = ratio;
}

void view_duration(struct view_node *in, const char *name, uint64_t us) {
    add_number(in, name, VIEW_DURATION, us);
}

void view_bytes(struct view_node *in, const char *name, uint64_t bytes) {
    add_number(in, name, VIEW_BYTES, bytes);
}

void view_time(struct view_node *in, const char *name, uint64_t unix_us) {
    add_number(in, name, VIEW_TIME, unix_us);
}

void view_bool(struct view_node *in, const char *name, bool is) {
    add_number(in, name, VIEW_BOOL, is);
}

void view_null(struct view_node *in, const char *name) {
    add(in, name, VIEW_NULL);
}

void view_graft(struct view_node *in, const char *name, const struct view_node *node) {
    struct view_node *n = add(in, name, node->kind);
    n->first = node->first;
    n->last = node->last;
    n->count = node->count;
    n->u = node->u;
}

/* --- JSON ------------------------------------------------------------------------------------------------------- */

/* Up to six decimals, none that say nothing. */
static void print_decimal(char out[VIEW_VALUE_MAX], double number) {
    size_t n = (size_t)snprintf(out, VIEW_VALUE_MAX, "%.6f", number);
    if (n >= VIEW_VALUE_MAX) n = (size_t)snprintf(out, VIEW_VALUE_MAX, "%.17g", number);
    if (!memchr(out, '.', n) || memchr(out, 'e', n)) return;
    while (out[n - 1] == '0') n--;
    if (out[n - 1] == '.') n--;
    out[n] = '\0';
}

static cJSON *json_real(double number) {
    char digits[VIEW_VALUE_MAX];
    if (!isfinite(number)) return cJSON_CreateNull();
    print_decimal(digits, number);
    return cJSON_CreateRaw(digits);
}

/* Whole, as no double could be. */
static cJSON *json_whole(uint64_t number) {
    char digits[VIEW_VALUE_MAX];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    return cJSON_CreateRaw(digits);
}

static cJSON *json_signed(int64_t number) {
    char digits[VIEW_VALUE_MAX];
    snprintf(digits, sizeof digits, "%" PRId64, number);
    return cJSON_CreateRaw(digits);
}

/* Escaped by the log's rules: a control character or a byte that is not UTF-8 becomes \u00XX. */
static cJSON *json_text(struct slice text) {
    size_t room = text.n * 6 + 3;
    char *quoted = xmalloc(room), *end = quoted;
    *end++ = '"';
    end = log_escape_json(end, quoted + room - 2, text);
    *end++ = '"';
    *end = '\0';
    cJSON *item = cJSON_CreateRaw(quoted);
    free(quoted);
    return item;
}

static cJSON *json_time(uint64_t unix_us) {
    char quoted[27] = "\"";
    log_time(quoted + 1, unix_us);
    quoted[25] = '"';
    quoted[26] = '\0';
    return cJSON_CreateRaw(quoted);
}

static cJSON *json_value(const struct view_node *n) {
    switch (n->kind) {
    case VIEW_TEXT:
    case VIEW_LINES:
        return json_text(n->u.text);
    case VIEW_NUMBER:
    case VIEW_BYTES:
        return json_whole(n->u.number);
    case VIEW_SIGNED:
        return json_signed((int64_t)n->u.number);
    case VIEW_REAL:
    case VIEW_RATIO:
        return json_real(n->u.real);
    case VIEW_DURATION:
        return json_real((double)n->u.number / 1e6);
    case VIEW_TIME:
        return json_time(n->u.number);
    case VIEW_BOOL:
        return cJSON_CreateBool(n->u.number != 0);
    case VIEW_OBJECT:
        return cJSON_CreateObject();
    case VIEW_LIST:
        return cJSON_CreateArray();
    default:
        return cJSON_CreateNull();
    }
}

static cJSON *json_tree(const struct view_node *node) {
    cJSON *item = json_value(node);
    LG_ASSERT(item != NULL);
    for (const struct view_node *n = node->first; n; n = n->next) {
        if (n->name)
            cJSON_AddItemToObject(item, n->name, json_tree(n));
        else
            cJSON_AddItemToArray(item, json_tree(n));
    }
    return item;
}

void view_print_json(const struct view_node *node, FILE *out) {
    cJSON *tree = json_tree(node);
    char *text = cJSON_PrintUnformatted(tree);
    LG_ASSERT(text != NULL);
    fputs(text, out);
    cJSON_free(text);
    cJSON_Delete(tree);
}
