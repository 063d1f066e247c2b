/* server_state.c: what is known of a server as facts, for the process that takes over. */
#include "loomgate/backend/server.h"

static const char *const health_names[] = {[SERVER_UP] = "up", [SERVER_DOWN] = "down"};

/* --- printing --------------------------------------------------------------------------------------------------- */

static void print_ago(FILE *out, const char *key, uint64_t then_us, uint64_t now_us) {
    if (then_us) facts_number(out, key, now_us > then_us ? now_us - then_us : 0);
}

static void print_health(const struct health_state *h, uint64_t now_us, FILE *out) {
    if (!h->checked) return;
    facts_text(out, "health", health_names[h->found]);
    facts_number(out, "checks", h->checks);
    facts_number(out, "checks_failed", h->failed);
    facts_number(out, "check_streak", h->streak);
    print_ago(out, "health_since_us", h->since_us, now_us);
    if (!h->last_us) return;
    print_ago(out, "check_us", h->last_us, now_us);
    facts_number(out, "check_took_us", h->latency_us);
    facts_number(out, "check_passed", h->last_passed);
    facts_number(out, "check_status", h->last_status);
    facts_text(out, "check_reason", h->reason);
}

static void print_ramp(uint64_t ramp, uint64_t now_us, FILE *out) {
    if (!ramp || server_ramp_share(ramp, now_us) == SHARE_ONE) return;
    print_ago(out, "ramp_us", (ramp >> RAMP_LENGTH_BITS) * 1000, now_us);
    facts_number(out, "ramp_length_us", (ramp & ((1U << RAMP_LENGTH_BITS) - 1)) * 1000);
}

void server_print(const struct server *s, const struct breaker_settings *breaker, uint64_t now_us, FILE *out) {
    char address[ADDR_TEXT_MAX];
    uint64_t latency_us = (uint64_t)latency_at(&s->shared.latency, now_us);
    addr_print(&s->addr, address);
    facts_begin(out, "server");
    facts_text(out, "backend", s->backend);
    facts_text(out, "name", s->name);
    facts_text(out, "address", address);
    print_health(&s->health, now_us, out);
    breaker_print(&s->shared.breaker, &s->shared.window, breaker, now_us, out);
    if (latency_us) facts_number(out, "latency_us", latency_us);
    print_ramp(atomic_load_explicit(&s->shared.ramp, memory_order_relaxed), now_us, out);
    facts_end(out);
}

/* --- taking ----------------------------------------------------------------------------------------------------- */

static void take_ago(const struct facts *f, const char *key, uint64_t now_us, uint64_t *then_us) {
    uint64_t ago_us;
    if (facts_find_number(f, key, now_us - 1, &ago_us)) *then_us = now_us - ago_us;
}

static void take_found(struct server *s, const char *found) {
    for (uint8_t i = 0; found && i < LG_COUNT(health_names); i++) {
        if (strcmp(found, health_names[i]) != 0) continue;
        s->health.found = i;
        if (!s->health.pinned) atomic_store_explicit(&s->shared.health, i, memory_order_relaxed);
    }
}

/* Of a server that is not checked any more nothing is known. */
static void take_health(struct server *s, uint64_t now_us, const struct facts *f) {
    struct health_state *h = &s->health;
    uint64_t number = 0;
    const char *reason = facts_find(f, "check_reason");
    if (!h->checked) return;
    take_found(s, facts_find(f, "health"));
    facts_find_number(f, "checks", UINT64_MAX, &h->checks);
    facts_find_number(f, "checks_failed", UINT64_MAX, &h->failed);
    if (facts_find_number(f, "check_streak", UINT32_MAX, &number)) h->streak = (uint32_t)number;
    take_ago(f, "health_since_us", now_us, &h->since_us);
    take_ago(f, "check_us", now_us, &h->last_us);
    facts_find_number(f, "check_took_us", UINT64_MAX, &h->latency_us);
    if (facts_find_number(f, "check_passed", 1, &number)) h->last_passed = number != 0;
    if (facts_find_number(f, "check_status", UINT16_MAX, &number)) h->last_status = (uint16_t)number;
    if (reason) snprintf(h->reason, sizeof h->reason, "%s", reason);
}

static void take_ramp(struct server *s, uint64_t now_us, const struct facts *f) {
    uint64_t start_us = 0, length_us;
    take_ago(f, "ramp_us", now_us, &start_us);
    if (start_us && facts_find_number(f, "ramp_length_us", UINT64_MAX, &length_us))
        server_begin_ramp(s, start_us, length_us);
}

bool server_take(struct server *s, const struct breaker_settings *breaker, uint64_t now_us, const struct facts *f) {
    char own[ADDR_TEXT_MAX];
    const char *address = facts_find(f, "address");
    uint64_t latency_us;
    addr_print(&s->addr, own);
    if (!address || strcmp(address, own) != 0) return false;
    take_health(s, now_us, f);
    breaker_take(&s->shared.breaker, &s->shared.window, breaker, now_us, f);
    if (facts_find_number(f, "latency_us", UINT32_MAX, &latency_us))
        latency_add(&s->shared.latency, now_us, latency_us);
    take_ramp(s, now_us, f);
    return true;
}
