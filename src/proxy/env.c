/* env.c: what a worker lends to its clients and exchanges. */
#include "loomgate/proxy/env.h"

#include <limits.h>
#include <sys/random.h>
#include <time.h>

void env_init(struct env *env, struct gate *gate) {
    loop_init(&env->loop);
    pools_init(&env->pools, &env->loop, &env->scratch);
    env->pools.malformed = &env->malformed;
    recorder_init(&env->recorder);
    taps_init(&env->taps, &env->loop);
    env->pools.recorder = &env->recorder;
    list_init(&env->live_clients);
    list_init(&env->live_exchanges);
    list_init(&env->collecting);
    list_init(&env->starved);
    list_init(&env->feed.node);
    slab_init(&env->waiters, sizeof(struct waiter), 32);
    env->fd_ceiling = INT_MAX;
    env->gate = gate;
    LG_ASSERT(getrandom(env->random, sizeof env->random, 0) == (ssize_t)sizeof env->random);
}

void env_fini(struct env *env) {
    pools_close_idle(&env->pools);
    loop_fini(&env->loop); /* empties the graveyard, into the slabs */
    pools_fini(&env->pools);
    slab_fini(&env->clients);
    slab_fini(&env->exchanges);
    slab_fini(&env->waiters);
    recorder_fini(&env->recorder);
}

struct slice env_date(struct env *env) {
    uint64_t second = env->loop.unix_us / 1000000;
    if (second != env->date_second) {
        env->date_second = second;
        time_t t = (time_t)second;
        struct tm tm;
        char text[ENV_DATE_LEN + 1];
        gmtime_r(&t, &tm);
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        memcpy(env->date, text, ENV_DATE_LEN);
    }
    return slice_from(env->date, ENV_DATE_LEN);
}

static uint64_t rotate_left(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

/* xoshiro256** (Blackman and Vigna, 2018). Not for secrets. */
uint64_t env_random(struct env *env) {
    uint64_t *s = env->random;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

void env_make_id(struct env *env, char out[ENV_ID_LEN]) {
    static const char hex[] = "0123456789abcdef";
    uint64_t high = (env->loop.unix_us / 1000) << 16 | 0x7000 | (env_random(env) & 0x0fff);
    uint64_t low = (env_random(env) & 0x3fffffffffffffffU) | 0x8000000000000000U;
    char *at = out;
    for (int nibble = 0; nibble < 32; nibble++) {
        uint64_t half = nibble < 16 ? high : low;
        if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) *at++ = '-';
        *at++ = hex[half >> (60 - 4 * (nibble & 15)) & 15];
    }
}
