/* spin.c: whether a loop looks for events once more before it sleeps. */
#include "loomgate/net/spin.h"

/* What the first look finds, a sleep would have found as well: it was there. */
static bool was_worth_it(const struct spin *s) {
    return s->left && s->left < s->most;
}

static void spin_begin(struct spin *s) {
    if (was_worth_it(s)) s->trust = (uint8_t)(s->trust < SPIN_TRUST_MAX ? s->trust + SPIN_WORTH : SPIN_TRUST_MAX);
    bool tries = s->most && (s->trust || ++s->passed % SPIN_TRIAL == 0);
    s->left = tries ? s->most : 0;
}

bool spin_again(struct spin *s, bool served) {
    if (served) {
        spin_begin(s);
        return s->left > 0;
    }
    if (!s->left) return false;
    if (--s->left) return true;
    if (s->trust) s->trust--;
    return false;
}
