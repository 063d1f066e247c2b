/* env.c: what a worker lends to its clients and exchanges. */
#include "loomgate/proxy/env.h"

#include <endian.h>
#include <limits.h>
#include <string.h>
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

/* Eight hexadecimal digits at once, as bytes in the order of the text (the digits of a SWAR byte: '0' + d, and 39 more
 * for those above nine). */
static char *put_hex8(char *at, uint32_t value) {
    uint64_t x = value;
    x = (x & 0xffff0000U) << 16 | (x & 0xffffU);
    x = (x & 0x0000ff000000ff00U) << 8 | (x & 0x000000ff000000ffU);
    x = (x & 0x00f000f000f000f0U) << 4 | (x & 0x000f000f000f000fU);
    uint64_t above_nine = (x + 0x0606060606060606U) >> 4 & 0x0101010101010101U;
    x = htobe64(x + 0x3030303030303030U + above_nine * 39);
    memcpy(at, &x, sizeof x);
    return at + sizeof x;
}

void env_make_id(struct env *env, char out[ENV_ID_LEN]) {
    uint64_t high = (env->loop.unix_us / 1000) << 16 | 0x7000 | (env_random(env) & 0x0fff);
    uint64_t low = (env_random(env) & 0x3fffffffffffffffU) | 0x8000000000000000U;
    char digits[32], *at = digits;
    at = put_hex8(at, (uint32_t)(high >> 32));
    at = put_hex8(at, (uint32_t)high);
    at = put_hex8(at, (uint32_t)(low >> 32));
    put_hex8(at, (uint32_t)low);
    memcpy(out, digits, 8);
    memcpy(out + 9, digits + 8, 4);
    memcpy(out + 14, digits + 12, 4);
    memcpy(out + 19, digits + 16, 4);
    memcpy(out + 24, digits + 20, 12);
    out[8] = out[13] = out[18] = out[23] = '-';
}
