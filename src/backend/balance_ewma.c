/* balance_ewma.c: latency-aware: two drawn by weight, the one that promises the shorter wait is picked.
 *
 * The load metric is Peak EWMA as in Twitter's Finagle: an average of the latency that jumps up with a slow answer and
 * sinks with time (latency.c), times the exchanges that would then be running; here also divided by the weight. A
 * server that was never measured costs nothing while it is idle, and a penalty while its first answers are awaited. */
#include "loomgate/backend/balance_ewma.h"

#include "loomgate/base/mem.h"

#include <stdlib.h>

#include "balance_internal.h"

#define UNKNOWN_US 1e6F

struct peak_ewma {
    struct balancer balancer;
    struct draw draw;
};

static struct balancer *ewma_make(const struct balance_member *members, uint32_t count,
                                  const struct balance_settings *settings) {
    (void)settings;
    struct peak_ewma *p = xcalloc(1, sizeof *p);
    p->balancer.ops = &balance_peak_ewma;
    draw_init(&p->draw, members, count);
    return &p->balancer;
}

static void ewma_free(struct balancer *b) {
    struct peak_ewma *p = LG_CONTAINER_OF(b, struct peak_ewma, balancer);
    draw_fini(&p->draw);
    free(p);
}

static float cost_of(const struct balance_member *m, const struct pick_request *r) {
    uint32_t active = member_active(m);
    float latency = latency_at(&m->server->shared.latency, r->now_us);
    if (latency == 0 && active) latency = UNKNOWN_US;
    return latency * ((float)active + 1) / (float)member_weight(m, r);
}

static const struct balance_member *ewma_pick(struct balancer *b, const struct pick_request *r) {
    const struct peak_ewma *p = LG_CONTAINER_OF(b, struct peak_ewma, balancer);
    struct pair pair = draw_two(&p->draw, r);
    if (!pair.second) return pair.first;
    return cost_of(pair.first, r) <= cost_of(pair.second, r) ? pair.first : pair.second;
}

const struct balance_ops balance_peak_ewma = {
    .name = "peak_ewma", .wants_latency = true, .make = ewma_make, .free = ewma_free, .pick = ewma_pick};
