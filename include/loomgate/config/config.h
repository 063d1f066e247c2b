/* config.h: all settings as plain structs: what a configuration file says, checked, defaults filled in.
 *
 * Durations are microseconds (uint64_t, suffix _us), sizes bytes, ratios 0..1. Text is NUL-terminated and lives in the
 * configuration's arena. A configuration is never changed after config_load(). */
#ifndef LOOMGATE_CONFIG_CONFIG_H
#define LOOMGATE_CONFIG_CONFIG_H

#include "loomgate/base/log.h"
#include "loomgate/base/mem.h"
#include "loomgate/base/slice.h"
#include "loomgate/config/config_files.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* An address as written, checked for its form only: names are resolved by net/addr. */
enum address_kind { ADDRESS_IP, ADDRESS_NAME, ADDRESS_ANY, ADDRESS_UNIX };
struct address_setting {
    enum address_kind kind;
    const char *text; /* as written */
    const char *host; /* IP or name without brackets; path of a UNIX socket; NULL for ADDRESS_ANY */
    uint16_t port;    /* 0 for ADDRESS_UNIX; a listener may have port 0 (any free one) */
};

/* A network: `bits` of `ip` count. IPv4 is kept as an IPv4-mapped IPv6 address (bits + 96). */
struct cidr {
    struct in6_addr ip;
    uint8_t bits;
};
struct cidr_list {
    const struct cidr *v;
    uint32_t count;
};

struct name_value { /* for header, query, cookie, headers */
    const char *name, *value;
};
struct name_values {
    const struct name_value *v;
    uint32_t count;
};
struct texts {
    const char *const *v;
    uint32_t count;
};

struct log_settings { /* global.log and frontends.X.access_log */
    bool on;
    enum log_level level; /* the process's own log only */
    enum log_target target;
    const char *path; /* of LOG_TO_FILE */
    enum log_format format;
    uint32_t queue; /* the process's own log only: records a thread */
};

/* One set for frontends, backends and routes; a route's own values are already folded over its frontend's and
 * backend's by snapshot_build (UINT64_MAX in a route: not given). */
struct timeout_settings {
    uint64_t header_us, keep_alive_us, client_us, request_us;         /* frontend */
    uint64_t connect_us, response_us, server_us, queue_us, tunnel_us; /* backend */
};
#define SETTING_UNSET UINT64_MAX

struct limit_settings {
    uint32_t header_size, header_count, uri_size;
    uint64_t body_size; /* 0: none */
};

/* What leads to another try; the well-known statuses stand for themselves: the server's own answer. */
enum retry_on {
    RETRY_ON_CONNECT_FAILED,
    RETRY_ON_CONNECT_TIMEOUT,
    RETRY_ON_CLOSED_IDLE,
    RETRY_ON_RESET_BEFORE_RESPONSE,
    RETRY_ON_RESPONSE_TIMEOUT,
    RETRY_ON_502 = 502,
    RETRY_ON_503,
    RETRY_ON_504
};
struct retry_settings {
    bool on;                /* false: `off` */
    uint32_t max;           /* further tries */
    const uint16_t *causes; /* enum retry_on */
    uint32_t cause_count;
    uint64_t backoff_base_us, backoff_max_us;
    double budget_ratio;            /* retries a request */
    uint32_t budget_min_per_second; /* that are always allowed */
    bool non_idempotent;
    uint64_t buffer;     /* of a body */
    uint64_t per_try_us; /* 0: none */
};

enum x_forwarded { X_FORWARDED_APPEND, X_FORWARDED_REPLACE, X_FORWARDED_OFF };
struct forwarded_settings {
    enum x_forwarded x_forwarded;
    struct cidr_list trusted;
};

struct request_id_settings {
    const char *header;
    bool trust;
};

struct listener_settings {
    struct address_setting address;
    uint32_t backlog;
    bool accept_proxy;
    bool defer_accept; /* of a TCP address */
};

struct match_settings { /* all given must hold; count 0 or NULL: not given */
    struct texts hosts; /* lower case; "*.example.com" is a suffix */
    const char *path, *path_prefix;
    struct texts methods;
    struct name_values headers, queries, cookies; /* value "*": any */
    struct cidr_list sources;
};

enum route_action { ROUTE_BACKEND, ROUTE_REDIRECT, ROUTE_RESPOND, ROUTE_METRICS };
struct route_settings {
    const char *name; /* "route-N" (N from 1) when not given */
    struct match_settings match;
    enum route_action action;
    uint32_t backend; /* index into config.backends */
    struct {
        const char *to;
        uint16_t status;
    } redirect;
    struct {
        uint16_t status;
        struct slice body;
        struct name_values headers;
    } respond;
    struct timeout_settings timeouts; /* SETTING_UNSET where not given */
    bool has_retry;
    struct retry_settings retry; /* with has_retry: the backend's, and over it what the route says */
};

enum frontend_mode { MODE_HTTP, MODE_TCP };
struct frontend_settings {
    const char *name;
    enum frontend_mode mode;
    const struct listener_settings *listeners;
    uint32_t listener_count;
    uint32_t max_connections; /* 0: none of its own */
    struct timeout_settings timeouts;
    struct limit_settings limits;
    struct request_id_settings request_id;
    struct forwarded_settings forwarded;
    struct log_settings access_log;
    const struct route_settings *routes;
    uint32_t route_count;
    int32_t default_backend; /* index into config.backends, -1: none */
};

enum send_proxy { SEND_PROXY_OFF, SEND_PROXY_V1, SEND_PROXY_V2 };
struct server_settings {
    const char *name;
    struct address_setting address;
    uint32_t weight;          /* 0 to 256 */
    uint32_t max_connections; /* exchanges at a time; 0: no limit */
    bool backup, maint;
    enum send_proxy send_proxy;
};

enum balance_kind {
    BALANCE_ROUND_ROBIN,
    BALANCE_LEAST_REQUESTS,
    BALANCE_RANDOM_TWO,
    BALANCE_PEAK_EWMA,
    BALANCE_FIRST,
    BALANCE_HASH
};
enum hash_key { HASH_SOURCE, HASH_HOST, HASH_PATH, HASH_URI, HASH_HEADER, HASH_COOKIE, HASH_QUERY };
struct balance_settings {
    enum balance_kind kind;
    /* of BALANCE_HASH */
    const char *key_text, *bound_text; /* as written */
    enum hash_key key;
    const char *key_name; /* of a header, cookie or part of the query */
    double bounded_load;  /* 1 to 100 */
};
enum health_kind { HEALTH_OFF, HEALTH_HTTP, HEALTH_TCP };
struct health_settings {
    bool on;
    enum health_kind kind;            /* HEALTH_OFF: `off` */
    const char *path, *method, *host; /* of HEALTH_HTTP; host NULL: the server's address */
    const char *expect_status;        /* "200-399", "200,204": see status_list_has() */
    struct slice send, expect;        /* of HEALTH_TCP; empty: nothing is sent, nothing awaited */
    uint64_t interval_us, timeout_us, fast_interval_us;
    uint32_t rise, fall;
    double jitter;    /* 0 to 1 */
    bool starts_down; /* initial: down */
};
struct breaker_settings {
    bool on;           /* false: `off` */
    double error_rate; /* 0 to 1 */
    uint64_t window_us, open_us, max_open_us, ramp_us;
    uint32_t min_requests;
    uint32_t probes; /* 1 to 100 */
    bool observe;    /* only tell */
};
struct pool_settings {
    uint32_t max_idle;
    uint64_t idle_timeout_us; /* 0: for ever */
    uint64_t max_requests;    /* 0: any number */
};
struct backend_settings {
    const char *name;
    struct balance_settings balance;
    const struct server_settings *servers;
    uint32_t server_count;
    struct timeout_settings timeouts;
    struct pool_settings pool;
    struct retry_settings retry;
    struct health_settings health;
    struct breaker_settings breaker;
    uint32_t queue_max;        /* requests that wait for a server; 0: none does */
    uint64_t slow_start_us;    /* 0: at once */
    uint64_t drain_timeout_us; /* 0: for ever */
};

/* What commands a control socket takes; each level has those below it, too. */
enum control_level { CONTROL_USER, CONTROL_OPERATOR, CONTROL_ADMIN };
struct control_settings {
    const char *socket;        /* its path */
    const char *mode;          /* octal */
    const char *owner, *group; /* a name or a number; NULL: as it comes */
    enum control_level level;
};

enum { TELEMETRY_WINDOWS_MAX = 8 };

struct global_settings {
    uint32_t workers; /* resolved: auto is already a number */
    uint32_t max_connections;
    uint32_t spin;                     /* looks for events before a worker sleeps: net/spin.h */
    const char *user, *group, *chroot; /* NULL: not given */
    struct log_settings log;
    uint64_t shutdown_grace_us;
    const uint64_t *windows_us; /* of telemetry: ascending, at least 1 s each */
    uint32_t window_count;      /* 1 to TELEMETRY_WINDOWS_MAX */
    bool reload_watch;          /* reload by itself when the file changes */
    const struct control_settings *controls;
    uint32_t control_count;
};

struct config {
    struct arena arena;
    unsigned refs;             /* beside the first one */
    struct config_files files; /* that it was read from; none when it was not */
    struct global_settings global;
    const struct frontend_settings *frontends;
    uint32_t frontend_count;
    const struct backend_settings *backends;
    uint32_t backend_count;
};

struct diagnostics; /* config/diagnose.h */

/* One `-D global.workers=1`. */
struct config_override {
    const char *key, *value;
};

/* Reads, checks and completes a file and what it includes. NULL when there is an error; errors and warnings, and which
 * files were looked at (`files`), are in `d` either way. */
struct config *config_load(const char *path, const struct config_override *overrides, size_t override_count,
                           struct diagnostics *d);
/* The same from memory; `name` is what errors call it. `include` is refused: there is no place to start from. */
struct config *config_parse(const char *name, struct slice text, const struct config_override *overrides,
                            size_t override_count, struct diagnostics *d);
/* One more who will call config_free(). Control thread. */
struct config *config_ref(struct config *c);
/* Gives a reference back; the last one frees it. */
void config_free(struct config *c);

/* The configuration as YAML, defaults filled in; it loads again. */
void config_print(const struct config *c, FILE *out);
/* All settings as markdown tables, for doc/configuration.md and `loomgate --print-settings`. */
void config_print_reference(FILE *out);

#endif
