/* balance_hash.c: consistent hashing with bounded loads: the same key to the same server, while it has room.
 *
 *   key x server's name -> score   the highest score wins, of those that may take the exchange and have room
 *
 * Rendezvous hashing (Thaler and Ravishankar, 1998): when a server goes, its keys alone move, spread over all others,
 * and they come back with it. With weights the score is ln(u) / weight of a number u in (0, 1] that key and name give
 * (the logarithmic method of Schindelhauer and Schomaker, 2005): each wins in proportion to its weight, and a change of
 * a weight moves no more keys than it must: a server that ramps up takes its keys back one after the other. The bound
 * is that of Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016): no server runs more
 * than ceil(factor x its share of all that run), but two at least. Every pick looks at every server, which the sum of
 * what runs needs anyway, and there is no table that a reload would move. */
#include "loomgate/backend/balance_hash.h"

#include "loomgate/base/mem.h"

#include <math.h>
#include <stdlib.h>

#include "balance_internal.h"

/* Never too much for a server: what it runs, and what has just been answered but is not counted off yet (by another
 * worker). Without it two requests in a row could go to different servers while there is nothing else to do. */
enum { ALWAYS_ROOM = 2 };

struct hash {
    struct balancer balancer;
    const struct balance_member *members;
    uint64_t *seeds; /* of the names: position and number of servers have no influence */
    uint32_t count;
    double factor;
};

/* FNV-1a (Fowler, Noll, Vo); what is made of it is mixed. */
uint64_t balance_key_add(uint64_t key, struct slice text) {
    for (size_t i = 0; i < text.n; i++) key = (key ^ (unsigned char)text.p[i]) * 0x100000001b3U;
    return key;
}

static struct balancer *hash_make(const struct balance_member *members, uint32_t count,
                                  const struct balance_settings *settings) {
    struct hash *h = xcalloc(1, sizeof *h);
    *h = (struct hash){
        .balancer = {&balance_hash}, .members = members, .count = count, .factor = settings->bounded_load};
    h->seeds = xcalloc(count, sizeof *h->seeds);
    for (uint32_t i = 0; i < count; i++)
        h->seeds[i] = mix64(balance_key_add(BALANCE_KEY, slice_of(members[i].server->name)));
    return &h->balancer;
}

static void hash_free(struct balancer *b) {
    struct hash *h = LG_CONTAINER_OF(b, struct hash, balancer);
    free(h->seeds);
    free(h);
}

/* What holds for a whole pick. */
struct field {
    double room;  /* what one unit of weight may run at most, this exchange included; 0: nobody can take it */
    bool is_even; /* all that can take it weigh the same now */
};

static struct field survey(const struct hash *h, const struct pick_request *r) {
    uint64_t running = 1, weights = 0, low = UINT32_MAX, high = 0;
    for (const struct balance_member *m = h->members; m < h->members + h->count; m++) {
        if (!member_can_take(m, r)) continue;
        uint64_t weight = member_weight(m, r);
        running += member_active(m);
        weights += weight;
        if (weight < low) low = weight;
        if (weight > high) high = weight;
    }
    double room = weights ? h->factor * (double)running / (double)weights : 0;
    return (struct field){.room = room, .is_even = low >= high};
}

struct best {
    const struct balance_member *member;
    double score; /* below 0; the highest wins */
};

static void best_add(struct best *b, const struct balance_member *m, double score) {
    if (score > b->score) *b = (struct best){m, score};
}

/* Without a key chance decides, in the same proportions. */
static const struct balance_member *hash_pick(struct balancer *b, const struct pick_request *r) {
    const struct hash *h = LG_CONTAINER_OF(b, struct hash, balancer);
    const struct field field = survey(h, r);
    if (field.room <= 0) return NULL;
    uint64_t key = mix64(r->has_key ? r->key : r->random);
    struct best best = {NULL, -INFINITY}, best_with_room = {NULL, -INFINITY};
    for (uint32_t i = 0; i < h->count; i++) {
        const struct balance_member *m = &h->members[i];
        uint32_t weight = member_weight(m, r);
        /* u - 1 orders as ln(u) does, which is enough where all weigh the same, and is never less: who does not win
         * with it is passed over, so that a few of many need a logarithm, and a look at what they do. */
        double below = -(double)(~mix64(key ^ h->seeds[i]) >> 11) * 0x1p-53, scale = field.is_even ? 1 : weight;
        if (below <= best_with_room.score * scale || !member_can_take(m, r)) continue;
        double score = field.is_even ? below : log1p(below) / scale;
        best_add(&best, m, score);
        /* active + 1 <= ceil(bound), for whole numbers; the allowance is for quotients that are no binary fractions */
        uint32_t active = member_active(m);
        if (active < ALWAYS_ROOM || active < field.room * weight - 1e-6) best_add(&best_with_room, m, score);
    }
    /* Somebody has room, unless what runs changed between the two looks. */
    return best_with_room.member ? best_with_room.member : best.member;
}

const struct balance_ops balance_hash = {
    .name = "hash", .wants_key = true, .make = hash_make, .free = hash_free, .pick = hash_pick};
