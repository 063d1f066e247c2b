/* view_internal.h: what the two renderings of a view share. */
#ifndef LOOMGATE_CONTROL_VIEW_INTERNAL_H
#define LOOMGATE_CONTROL_VIEW_INTERNAL_H

#include "loomgate/base/macros.h"
#include "loomgate/control/view.h"

static inline bool view_is_value(const struct view_node *n) {
    return n->kind != VIEW_OBJECT && n->kind != VIEW_LIST && n->kind != VIEW_LINES;
}

#endif
