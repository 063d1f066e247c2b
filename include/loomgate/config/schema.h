/* schema.h: the engine of the settings tables: a row a key, from which reading, defaults, printing and documentation
 * follow.
 *
 *   table: what may stand in one map       row: one key, the type of its value, where it goes, its default, its help
 *   tables hang together by rows of type MAP and by LISTs of MAPs; the root is in src/config/tables_internal.h */
#ifndef LOOMGATE_CONFIG_SCHEMA_H
#define LOOMGATE_CONFIG_SCHEMA_H

#include "loomgate/base/map.h"
#include "loomgate/config/values.h"
#include "loomgate/config/yaml.h"

enum setting_type {
    SETTING_DURATION, /* uint64_t, microseconds */
    SETTING_SIZE,     /* uint32_t or uint64_t, bytes */
    SETTING_INTEGER,  /* uint16_t to uint64_t */
    SETTING_BOOL,     /* bool */
    SETTING_ENUM,     /* an enum; with `table`, the first of a struct: a map, whose finish sets the enum, will do too */
    SETTING_RATIO,    /* double, 0 to 1 */
    SETTING_NAME,     /* const char * */
    SETTING_TEXT,     /* const char *, no NUL inside, never empty unless ALLOW_EMPTY */
    SETTING_BYTES,    /* struct slice: any text */
    SETTING_ADDRESS,  /* struct address_setting */
    SETTING_CIDR,     /* struct cidr */
    SETTING_PAIRS,    /* struct name_values: a map of names to texts */
    SETTING_BACKEND,  /* uint32_t or int32_t: the index of a backend */
    SETTING_LIST,     /* a pointer at `offset`, a uint32_t count at `also` */
    SETTING_MAP,      /* a struct */
    SETTING_CUSTOM,   /* `parse` and `print` */
};

enum setting_flags {
    REQUIRED = 1,          /* must stand in its map */
    HTTP_ONLY = 2,         /* not on a frontend with mode: tcp */
    LATER = 4,             /* validated, then refused: its work is not built yet */
    LATER_UNLESS_ZERO = 8, /* the same but for 0, false, off and the first word of an enum */
    ONE_OR_LIST = 16,      /* a list of one item may be written as the item */
    OFF_TOO = 32,          /* a map or `off`; a bool at `also` says which (also 0: nothing stores it) */
    LISTENS = 64,          /* an address to listen on */
    ALLOW_EMPTY = 128,     /* a text may be empty */
    ORDERED = 256,         /* a list of things with an identity, whose order means something */
};

enum reload_class { RELOAD_LIVE, RELOAD_RESTART };

struct setting_word {
    const char *word;
    uint64_t value;
};

/* What a run of reading knows. */
struct loader {
    struct arena *arena; /* of the configuration */
    struct diagnostics *d;
    struct map backend_map; /* name to its index + 1 */
    const char **backend_names;
    bool *backend_used;
    uint32_t backend_count;
    struct map listeners;                    /* address, written one way, to its node */
    struct map names;                        /* of the servers or routes of what is being read, to their nodes */
    uint32_t number;                         /* of the last route, from 1 */
    const struct backend_settings *backends; /* while frontends are read */
};

struct setting;
struct settings_table;
/* The text of a NAME, TEXT, BYTES or PAIRS value (of PAIRS: the name). */
typedef bool setting_check(struct slice text, struct complaint *c);
typedef bool setting_parse_custom(struct loader *l, const struct setting *row, const struct node *value, void *base);
typedef void setting_print_custom(FILE *out, const struct setting *row, const void *base);
/* Runs after a map was read into `base`, with the map's node: cross-checks and what follows from several keys. */
typedef bool table_finish(struct loader *l, const struct settings_table *table, const struct node *map, void *base);

struct setting {
    const char *key;
    enum setting_type type;
    unsigned flags;
    size_t offset;
    size_t width; /* of what is stored; 0: nothing is (settings whose work is not built yet) */
    size_t also;
    const char *fallback; /* the default as one would write it, a LIST's with a comma between; NULL: none, the struct's
                             zero stays */
    uint64_t min, max;    /* of numbers (max 0: what the width holds), of the length of a list */
    const struct setting_word *words; /* of an ENUM (required) or INTEGER; ends with {NULL, 0} */
    const struct settings_table *table;
    const struct setting *item; /* of a LIST */
    size_t item_size;           /* of a LIST: 0: nothing is stored */
    setting_check *check;
    setting_parse_custom *parse;
    setting_print_custom *print;
    bool (*is_set)(const void *base); /* for printing; NULL: by the value */
    enum reload_class reload;
    const char *value; /* for the reference: what may be written, when type and range do not say it */
    const char *help;
};

struct settings_table {
    const char *path; /* "frontends.NAME.limits"; for the reference */
    const char *what; /* "a frontend"; for messages */
    const struct setting *rows;
    size_t count;
    const char *shorthand; /* the key that a scalar in place of the map stands for; NULL: none */
    const char *identity;  /* the key that tells the items of a list of such maps apart; NULL: none does */
    table_finish *finish;
};

#define SETTING_AT(type, member) .offset = offsetof(type, member), .width = sizeof(((type *)0)->member)
#define SETTING_LIST_AT(type, pointer, counter)                                                  \
    .offset = offsetof(type, pointer), .width = sizeof(void *), .also = offsetof(type, counter), \
    .item_size = sizeof(*((type *)0)->pointer)
#define TABLE_ROWS(array) .rows = array, .count = LG_COUNT(array)

/* The longest duration that a setting takes. */
#define DURATION_MAX (8760ULL * 3600 * 1000000)

/* Fills in the defaults of all rows below; what has none is left alone. */
void schema_set_defaults(struct loader *l, const struct settings_table *table, void *base);
/* Reads a map over what is in `base`. False when something is wrong with it; all errors are in l->d. */
bool schema_read(struct loader *l, const struct settings_table *table, const struct node *map, void *base);
/* Reads one value. `key` is the node of its key, NULL for an item of a list. */
bool setting_read(struct loader *l, const struct setting *row, const struct node *key, const struct node *value,
                  void *base);
/* The row of a key; NULL when there is none. */
const struct setting *schema_find(const struct settings_table *table, struct slice key);
/* Tells an error for each key of the map (and the maps in it) whose row has `flag`. */
bool schema_refuse_flagged(struct loader *l, const struct settings_table *table, const struct node *map,
                           enum setting_flags flag, const char *why);
/* "did you mean 'balance'?" in `out`; false when no word is near. */
bool nearest_word(struct slice word, const char *const *words, size_t count, char *out, size_t room);

/* What is below `base` as YAML. */
struct printer {
    FILE *out;
    const struct backend_settings *backends; /* for the names of SETTING_BACKEND */
    unsigned indent;                         /* spaces */
    bool is_item;                            /* the next key is a list item's first */
    unsigned skip_flags;                     /* rows with one of them are left out */
    struct arena *scratch;                   /* for printing on one line */
};
void printer_key(struct printer *p, const char *key); /* up to and with the colon */
void schema_print(struct printer *p, const struct settings_table *table, const void *base);
/* A text as a YAML scalar, quoted where it must be. */
void yaml_print_text(FILE *out, struct slice text);

/* The table and all below it, each once, as markdown. */
void schema_print_reference(const struct settings_table *table, FILE *out);

#endif
