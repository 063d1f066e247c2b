/* config.c: the settings themselves; they are made in document_load.c, which knows all the rest of this area. */
#include "loomgate/config/config.h"

#include <stdlib.h>

struct config *config_ref(struct config *c) {
    c->refs++;
    return c;
}

void config_free(struct config *c) {
    if (!c || c->refs--) return;
    arena_fini(&c->arena);
    free(c);
}
