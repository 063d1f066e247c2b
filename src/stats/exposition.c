/* exposition.c: metrics as text, in Prometheus' exposition format 0.0.4. Numbers are printed by hand: a thousand
 * servers are some ninety thousand lines. */
#include "loomgate/stats/exposition.h"

#include "loomgate/base/macros.h"
#include "loomgate/base/mem.h"

enum {
    NUMBER_MAX = 32,
    /* No line but HELP is longer: name, suffix, labels, le, number. */
    LINE_MAX_HERE = EXPOSITION_NAME_MAX + EXPOSITION_LABELS_MAX + 2 * NUMBER_MAX + 32,
};

/* --- life ------------------------------------------------------------------------------------------------------- */

struct exposition *exposition_new(void) {
    struct exposition *e = xcalloc(1, sizeof *e);
    atomic_init(&e->refs, 1);
    return e;
}

void exposition_ref(struct exposition *e) {
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

/* Who frees it must see that all others have done with it. */
void exposition_unref(struct exposition *e) {
    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1) return;
    for (struct exposition_piece *p = e->first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(e);
}

/* --- text ------------------------------------------------------------------------------------------------------- */

/* Room for `size` bytes in one piece, taken by commit(). */
static char *reserve(struct exposition *e, size_t size) {
    LG_ASSERT(size <= EXPOSITION_PIECE);
    struct exposition_piece *p = e->last;
    if (!p || EXPOSITION_PIECE - p->size < size) {
        p = xmalloc(sizeof *p);
        p->next = NULL;
        p->size = 0;
        *(e->last ? &e->last->next : &e->first) = p;
        e->last = p;
    }
    return p->text + p->size;
}

static void commit(struct exposition *e, const char *end) {
    struct exposition_piece *p = e->last;
    size_t n = (size_t)(end - (p->text + p->size));
    p->size += (uint32_t)n;
    e->bytes += n;
}

static char *copy(char *to, struct slice s) {
    memcpy(to, s.p, s.n);
    return to + s.n;
}

/* Of a help text quotes stay as they are. */
static char *escape(char *to, const char *text, bool is_label) {
    for (; *text; text++) {
        char c = *text;
        if (c == '\\' || c == '\n' || (is_label && c == '"')) *to++ = '\\';
        *to++ = (char)(c == '\n' ? 'n' : c);
    }
    return to;
}

static char *print_number(char *to, uint64_t value) {
    char digits[20];
    size_t n = 0;
    do digits[sizeof digits - ++n] = (char)('0' + value % 10);
    while ((value /= 10));
    return copy(to, slice_from(digits + sizeof digits - n, n));
}

/* Without zeros at its end. */
static char *print_millionths(char *to, uint64_t value) {
    unsigned rest = (unsigned)(value % 1000000);
    to = print_number(to, value / 1000000);
    if (!rest) return to;
    *to++ = '.';
    for (unsigned unit = 100000; rest; unit /= 10) {
        *to++ = (char)('0' + rest / unit);
        rest %= unit;
    }
    return to;
}

/* --- families --------------------------------------------------------------------------------------------------- */

void exposition_label(struct exposition_labels *l, const char *name, const char *value) {
    LG_ASSERT(l->n + strlen(name) + 2 * strlen(value) + sizeof ",=\"\"" <= sizeof l->text);
    char *to = l->text + l->n;
    if (l->n) *to++ = ',';
    to = copy(to, slice_of(name));
    to = copy(to, SLICE("=\""));
    to = escape(to, value, true);
    *to++ = '"';
    l->n = (size_t)(to - l->text);
}

void exposition_family(struct exposition *e, const char *prefix, const char *name, const char *help,
                       enum exposition_type type) {
    struct slice parts[] = {SLICE("loomgate_"), slice_of(prefix), slice_of(name)};
    LG_ASSERT(parts[0].n + parts[1].n + parts[2].n < sizeof e->family.name);
    char *to = e->family.name;
    for (size_t i = 0; i < LG_COUNT(parts); i++) to = copy(to, parts[i]);
    *to = '\0';
    e->family.help = help;
    e->family.type = type;
    e->family.is_told = false;
}

static void tell_family(struct exposition *e) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    struct slice name = slice_of(e->family.name);
    if (e->family.is_told) return;
    e->family.is_told = true;
    char *to = reserve(e, 2 * (name.n + strlen(e->family.help)) + LINE_MAX_HERE);
    to = copy(to, SLICE("# HELP "));
    to = copy(to, name);
    *to++ = ' ';
    to = escape(to, e->family.help, false);
    to = copy(to, SLICE("\n# TYPE "));
    to = copy(to, name);
    *to++ = ' ';
    to = copy(to, slice_of(types[e->family.type]));
    *to++ = '\n';
    commit(e, to);
}

/* --- samples ---------------------------------------------------------------------------------------------------- */

/* A line up to its number. */
static char *begin_line(struct exposition *e, struct slice suffix, const struct exposition_labels *l) {
    tell_family(e);
    char *to = copy(reserve(e, LINE_MAX_HERE), slice_of(e->family.name));
    to = copy(to, suffix);
    if (l->n) {
        *to++ = '{';
        to = copy(to, slice_from(l->text, l->n));
        *to++ = '}';
    }
    *to++ = ' ';
    return to;
}

static void end_line(struct exposition *e, char *to) {
    *to++ = '\n';
    commit(e, to);
}

void exposition_put(struct exposition *e, const struct exposition_labels *l, uint64_t value) {
    end_line(e, print_number(begin_line(e, SLICE(""), l), value));
}

void exposition_put_millionths(struct exposition *e, const struct exposition_labels *l, uint64_t value) {
    end_line(e, print_millionths(begin_line(e, SLICE(""), l), value));
}

static void put_buckets(struct exposition *e, const struct exposition_labels *l, const struct exposition_histogram *h) {
    char head[LINE_MAX_HERE], *to = copy(head, slice_of(e->family.name));
    to = copy(to, SLICE("_bucket{"));
    to = copy(to, slice_from(l->text, l->n));
    if (l->n) *to++ = ',';
    to = copy(to, SLICE("le=\""));
    struct slice all = slice_from(head, (size_t)(to - head));
    for (unsigned i = 0; i <= h->buckets; i++) {
        bool is_last = i == h->buckets;
        to = copy(reserve(e, LINE_MAX_HERE), all);
        to = is_last ? copy(to, SLICE("+Inf")) : print_millionths(to, h->limits_us[i]);
        to = copy(to, SLICE("\"} "));
        end_line(e, print_number(to, is_last ? h->count : h->below[i]));
    }
}

void exposition_put_histogram(struct exposition *e, const struct exposition_labels *l,
                              const struct exposition_histogram *h) {
    tell_family(e);
    put_buckets(e, l, h);
    end_line(e, print_millionths(begin_line(e, SLICE("_sum"), l), h->sum_us));
    end_line(e, print_number(begin_line(e, SLICE("_count"), l), h->count));
}
