/* retry.c: the rules of another try: back-off with jitter, and the budget. */
#include "loomgate/backend/retry.h"

/* --- which, and when -------------------------------------------------------------------------------------------- */

uint64_t retry_backoff_us(const struct retry_settings *s, unsigned retries, uint64_t random) {
    uint64_t limit = s->backoff_max_us;
    if (retries < 63 && s->backoff_base_us <= limit >> retries) limit = s->backoff_base_us << retries;
    if (!s->backoff_base_us) return 0;
    /* The remainder's bias is below 2^-18 for the longest duration that the configuration takes. */
    return random % (limit + 1);
}

/* The failures that have a word of their own in `retry.on`. */
static const struct {
    enum failure failure;
    enum retry_on word;
} words[] = {
    {FAILURE_connect_failed, RETRY_ON_CONNECT_FAILED},
    {FAILURE_connect_timeout, RETRY_ON_CONNECT_TIMEOUT},
    {FAILURE_closed_idle, RETRY_ON_CLOSED_IDLE},
    {FAILURE_reset_before_response, RETRY_ON_RESET_BEFORE_RESPONSE},
    {FAILURE_response_timeout, RETRY_ON_RESPONSE_TIMEOUT},
};

static bool names_cause(const struct retry_settings *s, unsigned word) {
    for (uint32_t i = 0; i < s->cause_count; i++)
        if (s->causes[i] == word) return true;
    return false;
}

bool retry_covers(const struct retry_settings *s, enum failure f, unsigned status) {
    if (!s->on || !s->max) return false;
    if (f == FAILURE_bad_status) return status >= RETRY_ON_502 && names_cause(s, status);
    for (size_t i = 0; i < LG_COUNT(words); i++)
        if (words[i].failure == f) return names_cause(s, words[i].word);
    return false;
}

uint64_t retry_after_parse_us(struct slice value) {
    const uint64_t longest_s = 100000000; /* three years; so no product below overflows */
    uint64_t s = 0;
    if (!value.n) return 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') return 0;
        s = s * 10 + (uint64_t)(value.p[i] - '0');
        if (s > longest_s) s = longest_s;
    }
    return s * 1000000;
}

/* --- the budget ------------------------------------------------------------------------------------------------- */

/* second (24 bits) | requests (24 bits) | retries (16 bits) */
enum { RETRY_BITS = 16, REQUEST_BITS = 24, SECOND_BITS = 24 };
#define RETRIES_MAX  ((1ULL << RETRY_BITS) - 1)
#define REQUESTS_MAX ((1ULL << REQUEST_BITS) - 1)
#define SECONDS_MASK ((1ULL << SECOND_BITS) - 1)

static uint64_t slice_second(uint64_t slice) {
    return slice >> (REQUEST_BITS + RETRY_BITS);
}
static uint64_t slice_requests(uint64_t slice) {
    return slice >> RETRY_BITS & REQUESTS_MAX;
}
static uint64_t slice_retries(uint64_t slice) {
    return slice & RETRIES_MAX;
}

static uint64_t slice_fresh(uint64_t second) {
    return (second & SECONDS_MASK) << (REQUEST_BITS + RETRY_BITS);
}

/* What a slice holds of `second`: nothing when it is of another one. */
static uint64_t slice_of_second(uint64_t slice, uint64_t second) {
    return slice_second(slice) == (second & SECONDS_MASK) ? slice : slice_fresh(second);
}

void retry_budget_count(struct retry_budget *b, uint64_t now_us) {
    uint64_t second = now_us / 1000000, new;
    size_t i = second % BUDGET_SLICES;
    uint64_t old = atomic_load_explicit(&b->slices[i], memory_order_relaxed);
    do {
        new = slice_of_second(old, second);
        if (slice_requests(new) == REQUESTS_MAX) return;
        new += 1ULL << RETRY_BITS;
    } while (
        !atomic_compare_exchange_weak_explicit(&b->slices[i], &old, new, memory_order_relaxed, memory_order_relaxed));
}

/* The other slices of the window are added up first; the running one is changed by a compare and swap with the sum, so
 * workers that ask at a time cannot take the same token. */
static bool take_of_ratio(struct retry_budget *b, double ratio, uint64_t second) {
    uint64_t requests = 0, retries = 0;
    for (uint64_t i = 1; i < BUDGET_WINDOW_S && i <= second; i++) {
        uint64_t past = atomic_load_explicit(&b->slices[(second - i) % BUDGET_SLICES], memory_order_relaxed);
        past = slice_of_second(past, second - i);
        requests += slice_requests(past);
        retries += slice_retries(past);
    }
    size_t now = second % BUDGET_SLICES;
    uint64_t old = atomic_load_explicit(&b->slices[now], memory_order_relaxed), new;
    do {
        new = slice_of_second(old, second);
        double allowed = ratio * (double)(requests + slice_requests(new));
        if (slice_retries(new) == RETRIES_MAX || (double)(retries + slice_retries(new) + 1) > allowed) return false;
        new += 1;
    } while (
        !atomic_compare_exchange_weak_explicit(&b->slices[now], &old, new, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static bool take_of_floor(struct retry_budget *b, uint32_t per_second, uint64_t now_us) {
    if (!per_second) return false;
    uint64_t step = 1000000U / per_second, full = now_us > 1000000 ? now_us - 1000000 : 0;
    uint64_t old = atomic_load_explicit(&b->floor_us, memory_order_relaxed), new;
    do {
        new = (old > full ? old : full) + step;
        if (new > now_us) return false;
    } while (
        !atomic_compare_exchange_weak_explicit(&b->floor_us, &old, new, memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool retry_budget_take(struct retry_budget *b, const struct retry_settings *s, uint64_t now_us) {
    return take_of_ratio(b, s->budget_ratio, now_us / 1000000) || take_of_floor(b, s->budget_min_per_second, now_us);
}
