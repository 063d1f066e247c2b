/* A load of constant rate: what a request takes counts from when it should have been sent, not from when it could be.
 *
 *   pace [-c CONNECTIONS] [-r RATE | -f UNDER_WAY] [-s SECONDS] [-w WARM_SECONDS] [-k] ADDRESS:PORT PATH
 *
 * Request n is due at start + n / RATE. It goes out on the connection that is idle for longest; when none is idle it
 * waits, and its time runs. So a moment in which nothing is answered hits all requests that were due meanwhile, as it
 * would hit users, and not only the few that were under way (that omission makes percentiles of closed loops too good).
 *
 *   due: 0 1 2 3 4 5 6 7 ...            idle (oldest first) -> send -> in flight -> answered -> idle
 *              ^ next                        latency of n = answered - due of n
 *
 * With -f it sends as fast as it goes, so many requests at a time, over all connections in turn; a request is due when
 * it is sent. Answers must have a Content-Length. Requests due in the first WARM_SECONDS do not count. With -k it
 * prints `counting` before the first one that does, and keeps its connections until standard input ends, so that who
 * started it can tell what the requests alone have cost.
 *
 * Prints JSON; microseconds. Percentiles are exact, by rank: all latencies are kept. What is not answered DRAIN_SECONDS
 * after the last one was due, a status of 400 or more, and a connection that ends under way are failures; `queued` are
 * those that found no idle connection when they were due. IPv4.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 4096, BUFFER_SIZE = 64 * 1024, EVENTS_MAX = 256, DRAIN_SECONDS = 10, REQUESTS_MAX = 100000000 };
enum { NS_PER_SECOND = 1000000000, RATE_MAX = 1000000 };

struct connection {
    int fd; /* -1: could not be opened again */
    bool is_busy, has_head, is_refusal;
    uint64_t due_ns; /* of the request under way */
    uint64_t idle_since_ns;
    uint64_t body_left;
    size_t head_len;
    char head[HEAD_MAX + 1];
    struct connection *next_idle;
};

static struct {
    unsigned rate, connections, under_way, seconds, warm_seconds; /* under_way: 0: a rate */
    bool keeps;
    struct sockaddr_in address;
    char request[2048];
    size_t request_len;
} option = {.rate = 100, .connections = 1, .seconds = 1};

static int epoll;
static struct connection *first_idle, **last_idle = &first_idle;
static unsigned alive;
static uint64_t start_ns, counting_ns, end_ns; /* counting_ns: what is due before does not count */
static uint64_t next, settled, total;          /* requests: to be sent next, that have ended, that will be sent */
static uint64_t *latencies;
static uint64_t counted, answered, queued; /* of those that count: sent, answered, waited for a connection */

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "pace: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t due_ns(uint64_t number) {
    return start_ns + (uint64_t)((double)number / option.rate * NS_PER_SECOND);
}

static void put_idle(struct connection *c) {
    c->is_busy = false;
    c->idle_since_ns = now_ns();
    c->next_idle = NULL;
    *last_idle = c;
    last_idle = &c->next_idle;
}

static struct connection *take_idle(void) {
    struct connection *c = first_idle;
    if (c && !(first_idle = c->next_idle)) {
        last_idle = &first_idle;
    }
    return c;
}

/* False when nobody accepts. */
static bool open_connection(struct connection *c) {
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        fail("socket");
    }
    if (connect(c->fd, (struct sockaddr *)&option.address, sizeof(option.address)) < 0) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    return true;
}

static void open_again(struct connection *c) {
    close(c->fd);
    if (!open_connection(c)) {
        alive--;
    }
}

/* The request under way has ended; `is_good`: by an answer. */
static void settle(struct connection *c, bool is_good) {
    settled++;
    if (is_good && c->due_ns >= counting_ns) {
        latencies[answered++] = now_ns() - c->due_ns;
    }
}

static void end_connection(struct connection *c) {
    bool was_busy = c->is_busy;
    if (was_busy) {
        settle(c, false);
    }
    open_again(c);
    if (was_busy) {
        put_idle(c);
    }
}

static void send_next(struct connection *c, uint64_t due) {
    if (due >= counting_ns) {
        if (counted++ == 0 && option.keeps) {
            puts("counting");
            fflush(stdout);
        }
        queued += c->idle_since_ns > due;
    }
    c->is_busy = true;
    c->has_head = false;
    c->head_len = 0;
    c->due_ns = due;
    next++;
    if (send(c->fd, option.request, option.request_len, MSG_NOSIGNAL) != (ssize_t)option.request_len) {
        end_connection(c);
    }
}

static bool is_next_due(uint64_t now) {
    return next < total && (option.under_way ? next - settled < option.under_way : due_ns(next) <= now);
}

static void send_due(uint64_t now) {
    struct connection *c;
    while (alive > 0 && is_next_due(now) && (c = take_idle()) != NULL) {
        if (c->fd >= 0) {
            send_next(c, option.under_way ? now : due_ns(next));
        }
    }
}

/* Reads status and length of a whole head. False: it is no answer that can be measured. */
static bool read_head(struct connection *c) {
    if (strncmp(c->head, "HTTP/1.1 ", 9) != 0) {
        return false;
    }
    unsigned long status = strtoul(c->head + 9, NULL, 10);
    const char *line = c->head;
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            c->body_left = strtoull(line + 15, NULL, 10);
            c->is_refusal = status < 200 || status >= 400;
            return true;
        }
    }
    return false;
}

/* Takes the bytes of a head; returns how many belong to it, or -1 when there is no end to it. */
static ssize_t take_head(struct connection *c, const char *bytes, size_t len) {
    size_t before = c->head_len, room = HEAD_MAX - before, part = len < room ? len : room;
    memcpy(c->head + before, bytes, part);
    c->head_len += part;
    c->head[c->head_len] = '\0';
    const char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        return part < len ? -1 : (ssize_t)len;
    }
    c->has_head = read_head(c);
    return c->has_head ? (ssize_t)((size_t)(end + 4 - c->head) - before) : -1;
}

static void on_readable(struct connection *c) {
    static char buffer[BUFFER_SIZE];
    ssize_t got = recv(c->fd, buffer, sizeof(buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    size_t left = got > 0 ? (size_t)got : 0;
    if (left == 0 || !c->is_busy) {
        end_connection(c);
        return;
    }
    if (!c->has_head) {
        ssize_t part = take_head(c, buffer, left);
        if (part < 0) {
            end_connection(c);
            return;
        }
        left -= (size_t)part;
    }
    if (c->has_head) {
        c->body_left -= left < c->body_left ? left : c->body_left;
        if (c->body_left == 0) {
            settle(c, !c->is_refusal);
            put_idle(c);
        }
    }
}

static void wait_for_events(uint64_t until) {
    uint64_t now = now_ns(), left = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = (time_t)(left / NS_PER_SECOND), .tv_nsec = (long)(left % NS_PER_SECOND)};
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_pwait2(epoll, events, EVENTS_MAX, &timeout, NULL);
    if (count < 0 && errno != EINTR) {
        fail("epoll_pwait2");
    }
    for (int i = 0; i < count; i++) {
        on_readable(events[i].data.ptr);
    }
}

static void run(void) {
    uint64_t given_up_ns = end_ns + (uint64_t)DRAIN_SECONDS * NS_PER_SECOND, now;
    while (settled < total && alive > 0 && (now = now_ns()) < given_up_ns) {
        if (option.under_way && now >= end_ns && total > next) {
            total = next; /* the rest is not sent; those under way are waited for */
            continue;
        }
        send_due(now);
        bool is_waiting = first_idle && next < total && !option.under_way;
        wait_for_events(is_waiting ? due_ns(next) : now < end_ns ? end_ns : given_up_ns);
    }
}

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Microseconds; of none 0. */
static double percentile(double share) {
    if (answered == 0) {
        return 0;
    }
    uint64_t rank = (uint64_t)(share * (double)answered);
    rank += (double)rank < share * (double)answered;
    return (double)latencies[rank > 0 ? rank - 1 : 0] / 1000;
}

static void print_results(void) {
    uint64_t never_sent = total - next;
    qsort(latencies, answered, sizeof(*latencies), compare);
    printf("{\"requests\": %llu, \"failures\": %llu, \"queued\": %llu, \"rate\": %.1f, \"p50_us\": %.1f, "
           "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
           (unsigned long long)answered, (unsigned long long)(counted + never_sent - answered),
           (unsigned long long)queued, (double)answered / option.seconds, percentile(0.5), percentile(0.9),
           percentile(0.99), percentile(0.999), percentile(1));
}

static _Noreturn void usage(void) {
    fputs(
        "usage: pace [-c CONNECTIONS] [-r RATE | -f UNDER_WAY] [-s SECONDS] [-w WARM_SECONDS] [-k] ADDRESS:PORT PATH\n",
        stderr);
    exit(2);
}

static unsigned parse_number(const char *text) {
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*end || *text < '0' || *text > '9' || number > RATE_MAX) {
        usage();
    }
    return (unsigned)number;
}

static void parse_options(int argc, char **argv) {
    for (int letter; (letter = getopt(argc, argv, "c:r:f:s:w:k")) != -1;) {
        switch (letter) {
        case 'c':
            option.connections = parse_number(optarg);
            break;
        case 'r':
            option.rate = parse_number(optarg);
            break;
        case 'f':
            option.under_way = parse_number(optarg);
            break;
        case 's':
            option.seconds = parse_number(optarg);
            break;
        case 'w':
            option.warm_seconds = parse_number(optarg);
            break;
        case 'k':
            option.keeps = true;
            break;
        default:
            usage();
        }
    }
    char host[64] = "";
    const char *colon = argc - optind == 2 ? strrchr(argv[optind], ':') : NULL;
    if (!colon || (size_t)(colon - argv[optind]) >= sizeof(host) || option.rate < 1 || option.connections < 1 ||
        option.seconds < 1) {
        usage();
    }
    memcpy(host, argv[optind], (size_t)(colon - argv[optind]));
    option.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)parse_number(colon + 1))};
    int len = snprintf(option.request, sizeof(option.request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       argv[optind + 1]);
    if (inet_pton(AF_INET, host, &option.address.sin_addr) != 1 || (size_t)len >= sizeof(option.request)) {
        usage();
    }
    option.request_len = (size_t)len;
}

int main(int argc, char **argv) {
    parse_options(argc, argv);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* wake up when a request is due, not 50 us later */
    unsigned seconds = option.warm_seconds + option.seconds;
    total = (uint64_t)(option.under_way ? RATE_MAX : option.rate) * seconds;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc(option.connections, sizeof(*all));
    latencies = total <= REQUESTS_MAX ? calloc(total + 1, sizeof(*latencies)) : NULL;
    if (!all || !latencies || epoll < 0) {
        fail("set-up");
    }
    for (; alive < option.connections; alive++) {
        if (!open_connection(&all[alive])) {
            fail("connect");
        }
        put_idle(&all[alive]);
    }
    start_ns = now_ns();
    counting_ns = start_ns + (uint64_t)option.warm_seconds * NS_PER_SECOND;
    end_ns = start_ns + (uint64_t)seconds * NS_PER_SECOND;
    run();
    print_results();
    fflush(stdout);
    while (option.keeps && getchar() != EOF) {}
    free(latencies);
    free(all);
    return 0;
}
