/* connect.c: a fresh connection to a server: socket, connect timeout, PROXY header. */
#include "loomgate/backend/connect.h"

#include "loomgate/net/proxy_protocol.h"

#include <errno.h>

static void finish(struct connect *k, enum failure f) {
    if (k->conn) conn_close(k->conn, CONN_CLOSE_NOW);
    k->conn = NULL;
    k->events->on_connect_failed(k, f);
}

static void send_proxy_header(struct connect *k) {
    char header[PROXY_HEADER_MAX];
    size_t n = k->send_proxy == SEND_PROXY_V1 ? proxy_print_v1(header, k->client, k->local)
                                              : proxy_print_v2(header, k->client, k->local);
    const struct iovec iov = {header, n};
    conn_write(k->conn, &iov, 1, true);
}

static void on_open(struct conn *c) {
    struct connect *k = c->owner;
    if (k->send_proxy != SEND_PROXY_OFF) send_proxy_header(k);
    k->conn = NULL;
    k->events->on_connected(k, c);
}

static void on_error(struct conn *c, int error_number) {
    struct connect *k = c->owner;
    k->error_number = error_number;
    finish(k, error_number == ETIMEDOUT ? FAILURE_connect_timeout : FAILURE_connect_failed);
}

static void on_timeout(struct conn *c) {
    struct connect *k = c->owner;
    k->error_number = ETIMEDOUT;
    finish(k, FAILURE_connect_timeout);
}

static const struct conn_events connect_conn_events = {
    .on_open = on_open, .on_error = on_error, .on_timeout = on_timeout};

static void on_failed_at_once(struct task *task) {
    finish(LG_CONTAINER_OF(task, struct connect, failed), FAILURE_connect_failed);
}

void connect_init(struct connect *k, struct loop *loop, const struct connect_events *events) {
    *k = (struct connect){.events = events, .loop = loop};
    task_init(&k->failed, on_failed_at_once);
}

bool connect_is_shortage(int error_number) {
    return error_number == EMFILE || error_number == ENFILE || error_number == ENOBUFS || error_number == ENOMEM;
}

bool connect_start(struct connect *k, const struct server *server, uint64_t timeout_us) {
    LG_ASSERT(!k->conn);
    k->error_number = 0;
    k->conn = conn_connect(k->loop, &server->addr, &connect_conn_events, k);
    if (k->conn) {
        conn_set_timeout(k->conn, timeout_us, false);
        return true;
    }
    k->error_number = errno;
    if (connect_is_shortage(k->error_number)) return false;
    loop_defer(k->loop, &k->failed);
    return true;
}

void connect_cancel(struct connect *k) {
    task_cancel(&k->failed);
    if (k->conn) conn_close(k->conn, CONN_CLOSE_NOW);
    k->conn = NULL;
}
