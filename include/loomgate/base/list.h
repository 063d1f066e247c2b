/* list.h: an intrusive doubly linked list; a node that is in no list points to itself. */
#ifndef LOOMGATE_BASE_LIST_H
#define LOOMGATE_BASE_LIST_H

#include "loomgate/base/macros.h"

#include <stdbool.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ENTRY(node, type, member) LG_CONTAINER_OF(node, type, member)
/* The body may remove `node`, not its neighbours. */
#define LIST_FOR(node, head)                                                          \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *l) {
    l->next = l->prev = l;
}

static inline bool list_is_empty(const struct list *l) {
    return l->next == l;
}

static inline void list_insert_before(struct list *place, struct list *node) {
    node->prev = place->prev;
    node->next = place;
    place->prev->next = node;
    place->prev = node;
}

static inline void list_push_back(struct list *l, struct list *node) {
    list_insert_before(l, node);
}

static inline void list_push_front(struct list *l, struct list *node) {
    list_insert_before(l->next, node);
}

static inline void list_remove(struct list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = node;
}

/* All nodes of `from` to the end of `to`, in order. */
static inline void list_move_all(struct list *to, struct list *from) {
    if (from->next == from) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    from->next = from->prev = from;
}

static inline struct list *list_first(const struct list *l) {
    return list_is_empty(l) ? NULL : l->next;
}

static inline struct list *list_last(const struct list *l) {
    return list_is_empty(l) ? NULL : l->prev;
}

#endif
