/* balance_hash.c: consistent hashing with bounded loads: the same key to the same server, while it has room.
 *
 *   key x server's name -> score   the highest score wins, of those that may take the exchange and have room
 *
 * Rendezvous hashing (Thaler and Ravishankar, 1998): when a server goes, its keys alone move, spread over all others,
 * and they come back with it. With weights the score is ln(u) / weight of a number u in (0, 1] that key and name give
 * (the logarithmic method of Schindelhauer and Schomaker, 2005): each wins in proportion to its weight, and a change of
 * a weight moves no more keys than it must. The bound is that of Mirrokni, Thorup and Zadimoghaddam, "Consistent
 * Hashing with Bounded Loads" (2016): no server runs more than ceil(factor x its share of all that run), but two at
 * least. Every pick looks at every server, which the sum of what runs needs anyway, and there is no table that a reload
 * would move. */
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
    bool is_even; /* all that take anything weigh the same */
    double factor;
};

/* FNV-1a (Fowler, Noll, Vo); what is made of it is mixed. */
uint64_t balance_key_add(uint64_t key, struct slice text) {
    for (size_t i = 0; i < text.n; i++) key = (key ^ (unsigned char)text.p[i]) * 0x100000001b3U;
    return key;
}

static bool are_even(const struct balance_member *members, uint32_t count) {
    uint32_t weight = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (weight && members[i].weight && members[i].weight != weight) return false;
        if (members[i].weight) weight = members[i].weight;
    }
    return true;
}

static struct balancer *hash_make(const struct balance_member *members, uint32_t count,
                                  const struct balance_settings *settings) {
    struct hash *h = xcalloc(1, sizeof *h);
    *h = (struct hash){.balancer = {&balance_hash},
                       .members = members,
                       .count = count,
                       .is_even = are_even(members, count),
                       .factor = settings->bounded_load};
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

/* The highest wins. With equal weights u itself does as well as its logarithm. */
static double score_of(const struct hash *h, uint32_t i, uint64_t key) {
    double u = (double)((mix64(key ^ h->seeds[i]) >> 11) + 1) * 0x1p-53;
    return h->is_even ? u : log(u) / h->members[i].weight;
}

/* What a member of weight 1 may run at most, this exchange included; not rounded. */
static double room_of_one(const struct hash *h, const struct pick_request *r) {
    uint64_t running = 1, weights = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        if (!member_can_take(&h->members[i], r)) continue;
        running += member_active(&h->members[i]);
        weights += h->members[i].weight;
    }
    return weights ? h->factor * (double)running / (double)weights : 0;
}

/* Without a key chance decides, in the same proportions. */
static const struct balance_member *hash_pick(struct balancer *b, const struct pick_request *r) {
    const struct hash *h = LG_CONTAINER_OF(b, struct hash, balancer);
    const struct balance_member *best = NULL, *best_with_room = NULL;
    uint64_t key = mix64(r->has_key ? r->key : r->random);
    double room = room_of_one(h, r), high = 0, high_with_room = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        const struct balance_member *m = &h->members[i];
        if (!member_can_take(m, r)) continue;
        double score = score_of(h, i, key);
        if (!best || score > high) {
            best = m;
            high = score;
        }
        /* active + 1 <= ceil(bound), for whole numbers */
        uint32_t active = member_active(m);
        bool has_room = active < ALWAYS_ROOM || active < room * m->weight;
        if (has_room && (!best_with_room || score > high_with_room)) {
            best_with_room = m;
            high_with_room = score;
        }
    }
    /* Somebody has room, unless what runs changed between the two passes. */
    return best_with_room ? best_with_room : best;
}

const struct balance_ops balance_hash = {
    .name = "hash", .wants_key = true, .make = hash_make, .free = hash_free, .pick = hash_pick};
