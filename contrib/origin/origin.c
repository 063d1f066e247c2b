/* A small HTTP/1.1 origin for `make run`, the tests and the benchmark: one thread, epoll, and a path for whatever a
 * proxy may meet: sizes, delays, resets, cut answers, trickles, upgrades, slow readers.
 *
 *   origin [-n NAME] [-w] [-p] [-q MS] [-r PERCENT] ADDRESS:PORT|unix:PATH       HTTP
 *   origin -t [-g] [-n NAME] [-w] [-p] ADDRESS:PORT|unix:PATH                    a raw TCP echo
 *
 * The table of paths is at the end of answers.c and in `origin -h`. Once it listens it prints `ready NAME
 * ADDRESS:PORT`; port 0 takes a free one. SIGTERM and SIGINT end it at once with status 0.
 *
 *   main: accept, epoll, timers  ->  conn: states, reading, writing  ->  request: heads and bodies
 *                                                                   ->  answers: the table of paths
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "answers.h"
#include "conn.h"

enum { EVENTS_MAX = 512, BACKLOG = 65535 };

static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* to unlink at the end */

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int signal) {
    (void)signal;
    if (socket_path[0]) {
        unlink(socket_path);
    }
    _exit(0);
}

static _Noreturn void print_help(FILE *out, int status) {
    fputs("usage: origin [-n NAME] [-w] [-p] [-q MS] [-r PERCENT] ADDRESS:PORT|unix:PATH\n"
          "       origin -t [-g] [-n NAME] [-w] [-p] ADDRESS:PORT|unix:PATH\n\n"
          "  -n NAME     how it calls itself (origin)\n"
          "  -w          also ends when standard input ends, so that it does not outlive who started it\n"
          "  -p          every connection must begin with a PROXY protocol header, v1 or v2\n"
          "  -q MS       closes keep-alive connections that were idle for MS milliseconds\n"
          "  -r PERCENT  closes that share of the connections right after an answer, without saying so\n"
          "  -t          a raw TCP echo (FIN is answered by FIN when all is echoed)\n"
          "  -g          with -t: first sends a line with its name, and with -p what the PROXY header said\n",
          out);
    answers_print_help(out);
    exit(status);
}

static int listen_unix(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        fail(path);
    }
    strcpy(socket_path, path);
    return fd;
}

static int listen_tcp(const char *where) {
    char host[256];
    const char *colon = strrchr(where, ':');
    if (!colon || (size_t)(colon - where) >= sizeof(host)) {
        print_help(stderr, 2);
    }
    bool has_brackets = where[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(colon - where) - 2 * has_brackets, where + has_brackets);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    int error = getaddrinfo(host[0] && strcmp(host, "*") != 0 ? host : NULL, colon + 1, &hints, &found);
    if (error) {
        fprintf(stderr, "origin: %s: %s\n", where, gai_strerror(error));
        exit(1);
    }
    int yes = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) < 0) {
        fail(where);
    }
    /* Accepted sockets inherit it. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    freeaddrinfo(found);
    return fd;
}

static void print_ready(int fd, const char *where) {
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (socket_path[0] || getsockname(fd, (struct sockaddr *)&address, &len) < 0 ||
        getnameinfo((struct sockaddr *)&address, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        printf("ready %s %s\n", settings.name, where);
    } else {
        printf("ready %s %s%s%s:%s\n", settings.name, address.ss_family == AF_INET6 ? "[" : "", host,
               address.ss_family == AF_INET6 ? "]" : "", port);
    }
    fflush(stdout);
}

static void watch(int epoll, int fd, uint32_t events, void *data) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        fail("epoll_ctl");
    }
}

static void accept_all(int epoll, int listener) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return; /* EAGAIN; without descriptors the level-triggered listener comes again */
        }
        watch(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, conn_new(fd));
    }
}

static void read_stdin(void) {
    char bytes[256];
    if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0) {
        on_signal(0);
    }
}

static _Noreturn void run(int listener, bool watches_stdin) {
    static char is_listener, is_stdin;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, EPOLLIN, &is_listener);
    if (watches_stdin) {
        watch(epoll, STDIN_FILENO, EPOLLIN | EPOLLHUP, &is_stdin);
    }
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, timers_timeout());
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            if (what == &is_listener) {
                accept_all(epoll, listener);
            } else if (what == &is_stdin) {
                read_stdin();
            } else {
                conn_on_event(what, events[i].events);
            }
        }
        uint64_t now = timers_now();
        for (struct timer *due; (due = timers_take_due(now)) != NULL;) {
            conn_on_timer(due);
        }
    }
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv) {
    bool watches_stdin = false;
    for (int option; (option = getopt(argc, argv, "n:q:r:wptgh")) != -1;) {
        switch (option) {
        case 'n':
            settings.name = optarg;
            break;
        case 'q':
            settings.idle_ms = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            settings.drop_rate = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            watches_stdin = true;
            break;
        case 'p':
            settings.wants_proxy = true;
            break;
        case 't':
            settings.is_tcp = true;
            break;
        case 'g':
            settings.greets = true;
            break;
        case 'h':
            print_help(stdout, 0);
        default:
            print_help(stderr, 2);
        }
    }
    if (optind != argc - 1) {
        print_help(stderr, 2);
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    raise_descriptor_limit();
    conn_init_pattern();
    const char *where = argv[optind];
    int listener = strncmp(where, "unix:", 5) == 0 ? listen_unix(where + 5) : listen_tcp(where);
    if (listen(listener, BACKLOG) < 0) {
        fail(where);
    }
    print_ready(listener, where);
    run(listener, watches_stdin);
}
