/* A raw byte relay, the benchmark's floor: what moving bytes between two sockets costs when nobody looks at them.
 *
 *   relay ADDRESS:PORT TARGET:PORT        (IPv4; prints `ready ADDRESS:PORT`)
 *
 * One thread, level-triggered epoll, one connection to the target for each client. Each read goes straight into a
 * write; only what does not fit is kept, and then the source is not read until it is gone.
 *
 *   client  --read--> shared 64 KiB --write-->  target        and the same the other way;
 *                          \--> rest[], and the source stops          FIN is passed on as FIN
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER_SIZE = 64 * 1024, EVENTS_MAX = 256, BACKLOG = 65535 };

/* One of the two sockets; `rest` is what still has to be written to it. */
struct side {
    int fd;
    uint32_t watched; /* epoll events */
    struct pair *pair;
    struct side *other;
    char *rest;
    size_t rest_at, rest_len;
    bool has_ended; /* its FIN was read */
    bool is_shut;   /* FIN was sent to it */
};

struct pair {
    struct side client, target;
    bool is_connected, is_dead;
    struct pair *next_dead; /* freed at the end of the turn: the other side's event may follow */
};

static int epoll;
static struct sockaddr_in target_address;
static char buffer[BUFFER_SIZE];
static struct pair *dead;

static void watch(struct side *side, uint32_t events) {
    if (side->watched == events) {
        return;
    }
    struct epoll_event event = {.events = events, .data.ptr = side};
    epoll_ctl(epoll, side->watched == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, side->fd, &event);
    side->watched = events;
}

static void pair_close(struct pair *pair) {
    if (pair->is_dead) {
        return;
    }
    pair->is_dead = true;
    close(pair->client.fd);
    close(pair->target.fd);
    free(pair->client.rest);
    free(pair->target.rest);
    pair->next_dead = dead;
    dead = pair;
}

/* Reads from `side` unless its bytes have nowhere to go; waits for room where bytes are left. */
static void update(struct side *side) {
    bool may_read = !side->has_ended && side->other->rest_len == 0 && side->pair->is_connected;
    bool is_connecting = side == &side->pair->target && !side->pair->is_connected;
    watch(side, (may_read ? EPOLLIN : 0U) | (side->rest_len > 0 || is_connecting ? EPOLLOUT : 0U));
}

/* When all that came from `side` is written, its FIN follows. False: the pair is closed. */
static bool pass_end(struct side *side) {
    struct side *to = side->other;
    if (side->has_ended && to->rest_len == 0 && !to->is_shut) {
        shutdown(to->fd, SHUT_WR);
        to->is_shut = true;
    }
    if (side->is_shut && to->is_shut) {
        pair_close(side->pair);
        return false;
    }
    return true;
}

static bool would_block(void) {
    return errno == EAGAIN || errno == EINTR;
}

static void keep_rest(struct side *side, const char *bytes, size_t len) {
    if (!side->rest && !(side->rest = malloc(BUFFER_SIZE))) {
        abort();
    }
    memcpy(side->rest, bytes, len);
    side->rest_at = 0;
    side->rest_len = len;
}

static void on_readable(struct side *side) {
    ssize_t got = read(side->fd, buffer, sizeof(buffer));
    if (got <= 0) {
        if (got < 0 && would_block()) {
            return;
        }
        side->has_ended = true;
        if (got < 0) {
            pair_close(side->pair);
        } else if (pass_end(side)) {
            update(side);
        }
        return;
    }
    struct side *to = side->other;
    ssize_t sent = write(to->fd, buffer, (size_t)got);
    if (sent < 0 && !would_block()) {
        pair_close(side->pair);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if (sent < got) {
        keep_rest(to, buffer + sent, (size_t)(got - sent));
        update(side);
        update(to);
    }
}

static void on_writable(struct side *side) {
    ssize_t sent = write(side->fd, side->rest + side->rest_at, side->rest_len);
    if (sent < 0) {
        if (!would_block()) {
            pair_close(side->pair);
        }
        return;
    }
    side->rest_at += (size_t)sent;
    side->rest_len -= (size_t)sent;
    if (side->rest_len == 0) {
        free(side->rest);
        side->rest = NULL;
        if (!pass_end(side->other)) {
            return;
        }
        update(side);
        update(side->other);
    }
}

static void on_connected(struct pair *pair) {
    int error = 0;
    socklen_t len = sizeof(error);
    getsockopt(pair->target.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        pair_close(pair);
        return;
    }
    pair->is_connected = true;
    update(&pair->client);
    update(&pair->target);
}

static void on_event(struct side *side, uint32_t events) {
    struct pair *pair = side->pair;
    if (pair->is_dead) {
        return;
    }
    if (!pair->is_connected) {
        if (side == &pair->target) {
            on_connected(pair);
        } else if (events & (EPOLLERR | EPOLLHUP)) {
            pair_close(pair);
        }
        return;
    }
    if ((events & EPOLLOUT) && side->rest_len > 0) {
        on_writable(side);
    }
    if (pair->is_dead) {
        return;
    }
    if (side->watched & EPOLLIN) {
        on_readable(side);
    } else if (events & EPOLLERR) {
        pair_close(pair);
    }
}

static void accept_one(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    int yes = 1, target = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct pair *pair = calloc(1, sizeof(*pair));
    if (target < 0 || !pair) {
        close(fd);
        if (target >= 0) {
            close(target);
        }
        free(pair);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(target, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    pair->client = (struct side){.fd = fd, .watched = UINT32_MAX, .pair = pair, .other = &pair->target};
    pair->target = (struct side){.fd = target, .watched = UINT32_MAX, .pair = pair, .other = &pair->client};
    int error = connect(target, (struct sockaddr *)&target_address, sizeof(target_address));
    if (error < 0 && errno != EINPROGRESS) {
        pair_close(pair);
        return;
    }
    update(&pair->client);
    update(&pair->target);
}

static struct sockaddr_in parse_address(const char *text) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon && (size_t)(colon - text) < sizeof(host)) {
        snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
        address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    }
    if (!colon || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "relay: no ADDRESS:PORT: %s\n", text);
        exit(2);
    }
    return address;
}

static int open_listener(const char *text) {
    struct sockaddr_in address = parse_address(text);
    socklen_t len = sizeof(address);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0) {
        fprintf(stderr, "relay: %s: %s\n", text, strerror(errno));
        exit(1);
    }
    getsockname(fd, (struct sockaddr *)&address, &len);
    printf("ready %s:%d\n", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void on_signal(int signal) {
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fputs("usage: relay ADDRESS:PORT TARGET:PORT\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    target_address = parse_address(argv[2]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = open_listener(argv[1]);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                on_event(events[i].data.ptr, events[i].events);
            } else {
                accept_one(listener);
            }
        }
        while (dead) {
            struct pair *pair = dead;
            dead = pair->next_dead;
            free(pair);
        }
    }
}
