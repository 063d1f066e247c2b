/* yaml_internal.h: what the reading of YAML text is made of: the text's check, the builder, ${NAME}. */
#ifndef LOOMGATE_CONFIG_YAML_INTERNAL_H
#define LOOMGATE_CONFIG_YAML_INTERNAL_H

#include "loomgate/config/yaml.h"

struct yaml_budget {
    size_t aliases;     /* bytes of nodes that aliases and merges have added */
    size_t environment; /* bytes that ${...} has added */
};

/* Whether the text is UTF-8 without control characters, and nothing that libyaml is slow on. Tells the first flaw. */
bool yaml_text_is_sound(struct diagnostics *d, const struct source *source);

/* The same for what does not come from a file. */
bool yaml_is_text(struct slice text);

/* Fills in ${NAME}, ${NAME:-default} and $$. False after an error, which is told at `place`. */
bool yaml_substitute(struct arena *a, struct diagnostics *d, struct place place, struct slice text,
                     struct yaml_budget *budget, struct slice *out);

#endif
