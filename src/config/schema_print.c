/* schema_print.c: structs back to YAML by the settings tables, so that it loads again. */
#include "schema_internal.h"

#include <inttypes.h>
#include <stdio.h>

/* --- texts ------------------------------------------------------------------------------------------------------ */

static bool is_plain_safe(struct slice s) {
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    if (s.n == 0) return false;
    for (size_t i = 0; i < s.n; i++) {
        char low = ascii_lower(s.p[i]);
        bool ok = (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9') || (i > 0 && low && strchr("_./-", low));
        if (!ok) return false;
    }
    for (size_t i = 0; i < LG_COUNT(words); i++)
        if (slice_eq_nocase(s, slice_of(words[i]))) return false;
    return true;
}

/* The code point at `p` and its bytes; the text is UTF-8, as the loader takes nothing else. */
static uint32_t decode(const unsigned char *p, size_t left, size_t *len) {
    size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 1;
    uint32_t code = n == 1 ? *p : *p & (0x7fU >> n);
    if (n > left) n = left;
    for (size_t i = 1; i < n; i++) code = code << 6 | (p[i] & 0x3fU);
    *len = n;
    return code;
}

/* What YAML does not take as it is inside double quotes, or would fold. */
static bool must_escape(uint32_t code) {
    bool is_control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    return is_control || code == 0x2028 || code == 0x2029 || code == 0xfeff || code == 0xfffe || code == 0xffff;
}

void yaml_print_text(FILE *out, struct slice text) {
    if (is_plain_safe(text)) {
        fwrite(text.p, 1, text.n, out);
        return;
    }
    size_t len;
    fputc('"', out);
    for (size_t i = 0; i < text.n; i += len) {
        uint32_t code = decode((const unsigned char *)text.p + i, text.n - i, &len);
        if (code == '"' || code == '\\')
            fprintf(out, "\\%c", (char)code);
        else if (code == '$')
            fputs("$$", out);
        else if (code == '\n')
            fputs("\\n", out);
        else if (must_escape(code))
            fprintf(out, "\\u%04x", code);
        else
            fwrite(text.p + i, 1, len, out);
    }
    fputc('"', out);
}

/* --- what is set ------------------------------------------------------------------------------------------------ */

const void *setting_at(const struct setting *row, const void *base) {
    return (const char *)base + row->offset;
}

uint64_t setting_number(const struct setting *row, const void *base) {
    uint8_t one;
    uint16_t two;
    uint32_t four;
    uint64_t eight;
    switch (row->width) {
    case 1:
        return memcpy(&one, setting_at(row, base), 1), one;
    case 2:
        return memcpy(&two, setting_at(row, base), 2), two;
    case 4:
        return memcpy(&four, setting_at(row, base), 4), four;
    default:
        return memcpy(&eight, setting_at(row, base), 8), eight;
    }
}

const char *setting_text(const struct setting *row, const void *base) {
    const char *text;
    memcpy(&text, setting_at(row, base), sizeof text);
    return text;
}

uint32_t setting_count(const struct setting *row, const void *base) {
    uint32_t count;
    memcpy(&count, (const char *)base + row->also, sizeof count);
    return count;
}

bool setting_is_off(const struct setting *row, const void *base) {
    bool is_on = true;
    if (row->flags & OFF_TOO) memcpy(&is_on, (const char *)base + row->also, sizeof is_on);
    return !is_on;
}

static bool has_any_set(const struct printer *p, const struct settings_table *table, const void *base) {
    for (size_t i = 0; i < table->count; i++)
        if (setting_is_set(p, &table->rows[i], base)) return true;
    return false;
}

/* Whether there is something to print for a row. */
bool setting_is_set(const struct printer *p, const struct setting *row, const void *base) {
    if (row->width == 0 || row->flags & (p->skip_flags | LATER)) return false;
    if (row->is_set) return row->is_set(base);
    switch (row->type) {
    case SETTING_NAME:
    case SETTING_TEXT:
        return setting_text(row, base) != NULL;
    case SETTING_BYTES:
        return ((const struct slice *)setting_at(row, base))->n > 0;
    case SETTING_ADDRESS:
        return ((const struct address_setting *)setting_at(row, base))->text != NULL;
    case SETTING_PAIRS:
        return ((const struct name_values *)setting_at(row, base))->count > 0;
    case SETTING_LIST:
        return setting_count(row, base) > 0 || row->fallback;
    case SETTING_DURATION:
        return setting_number(row, base) != SETTING_UNSET;
    case SETTING_MAP:
        return setting_is_off(row, base) || has_any_set(p, row->table, setting_at(row, base));
    default:
        return true;
    }
}

/* --- printing --------------------------------------------------------------------------------------------------- */

void printer_key(struct printer *p, const char *key) {
    unsigned spaces = p->is_item ? p->indent - 2 : p->indent;
    fprintf(p->out, "%*s%s", (int)spaces, "", p->is_item ? "- " : "");
    p->is_item = false;
    yaml_print_text(p->out, slice_of(key));
    fputc(':', p->out);
}

/* The value of an enum may be none of its words: a map stands there. */
bool setting_is_map(const struct setting *row, const void *base) {
    if (row->type == SETTING_MAP) return true;
    if (row->type != SETTING_ENUM || !row->table) return false;
    for (const struct setting_word *w = row->words; w->word; w++)
        if (w->value == setting_number(row, base)) return false;
    return true;
}

static void print_word(FILE *out, const struct setting *row, uint64_t number) {
    const struct setting_word *w = row->words;
    while (w->word && w->value != number) w++;
    fputs(w->word ? w->word : "?", out);
}

/* As a percentage, without zeros at its end. */
static void print_ratio(FILE *out, const struct setting *row, const void *base) {
    double ratio;
    char text[40];
    memcpy(&ratio, setting_at(row, base), sizeof ratio);
    size_t n = (size_t)snprintf(text, sizeof text, "%.7f", ratio * 100);
    while (text[n - 1] == '0') n--;
    if (text[n - 1] == '.') n--;
    fprintf(out, "%.*s%%", (int)n, text);
}

void setting_print(struct printer *p, const struct setting *row, const void *base) {
    char text[VALUE_TEXT_MAX];
    if (row->type == SETTING_TEXT || row->type == SETTING_NAME) {
        yaml_print_text(p->out, slice_of(setting_text(row, base)));
    } else if (row->type == SETTING_BYTES) {
        yaml_print_text(p->out, *(const struct slice *)setting_at(row, base));
    } else if (row->type == SETTING_ADDRESS) {
        yaml_print_text(p->out, slice_of(((const struct address_setting *)setting_at(row, base))->text));
    } else if (row->type == SETTING_CIDR) {
        cidr_print(setting_at(row, base), text);
        yaml_print_text(p->out, slice_of(text));
    } else if (row->type == SETTING_BACKEND) {
        yaml_print_text(p->out, slice_of(p->backends[setting_number(row, base)].name));
    } else if (row->type == SETTING_CUSTOM) {
        row->print(p->out, row, base);
    } else if (row->type == SETTING_RATIO) {
        print_ratio(p->out, row, base);
    } else if (row->type == SETTING_BOOL) {
        fputs(setting_number(row, base) ? "true" : "false", p->out);
    } else if (row->type == SETTING_ENUM) {
        print_word(p->out, row, setting_number(row, base));
    } else {
        number_print(row, setting_number(row, base), text);
        fputs(text, p->out);
    }
}

static void print_pairs(struct printer *p, const struct name_values *pairs) {
    fputc('\n', p->out);
    p->indent += 2;
    for (uint32_t i = 0; i < pairs->count; i++) {
        printer_key(p, pairs->v[i].name);
        fputc(' ', p->out);
        yaml_print_text(p->out, slice_of(pairs->v[i].value));
        fputc('\n', p->out);
    }
    p->indent -= 2;
}

static void print_list(struct printer *p, const struct setting *row, const void *base) {
    const char *items = setting_text(row, base);
    uint32_t count = setting_count(row, base);
    fputs(count ? "\n" : " []\n", p->out);
    for (uint32_t i = 0; i < count; i++) {
        const void *item = items + i * row->item_size;
        if (row->item->type == SETTING_MAP) {
            p->indent += 4;
            p->is_item = true;
            schema_print(p, row->item->table, item);
            p->indent -= 4;
            continue;
        }
        fprintf(p->out, "%*s- ", (int)p->indent + 2, "");
        setting_print(p, row->item, item);
        fputc('\n', p->out);
    }
}

static void print_map(struct printer *p, const struct setting *row, const void *base) {
    if (setting_is_off(row, base)) {
        fputs(" off\n", p->out);
        return;
    }
    fputc('\n', p->out);
    p->indent += 2;
    schema_print(p, row->table, setting_at(row, base));
    p->indent -= 2;
}

void schema_print(struct printer *p, const struct settings_table *table, const void *base) {
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];
        if (!setting_is_set(p, row, base)) continue;
        printer_key(p, row->key);
        if (row->type == SETTING_PAIRS) {
            print_pairs(p, setting_at(row, base));
        } else if (row->type == SETTING_LIST) {
            print_list(p, row, base);
        } else if (setting_is_map(row, base)) {
            print_map(p, row, base);
        } else {
            fputc(' ', p->out);
            setting_print(p, row, base);
            fputc('\n', p->out);
        }
    }
}
