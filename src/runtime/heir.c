/* heir.c: the new process's side of an upgrade (the picture is in upgrade.h): what it says to the old one. */
#include "loomgate/runtime/heir.h"

#include "loomgate/base/slice.h"
#include "loomgate/runtime/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool take_number(struct slice *rest, int *fd) {
    struct slice part;
    uint64_t number;
    if (!slice_split(rest, ' ', &part) || !slice_to_u64(part, INT16_MAX * 4, &number)) return false;
    *fd = (int)number;
    return fcntl(*fd, F_SETFD, FD_CLOEXEC) == 0;
}

void heir_open(struct heir *h) {
    const char *text = getenv(SPAWN_VARIABLE);
    struct slice rest = slice_of(text);
    struct heir given;
    *h = (struct heir){-1, -1};
    if (text && take_number(&rest, &given.channel) && take_number(&rest, &given.state_fd)) *h = given;
    unsetenv(SPAWN_VARIABLE);
}

bool heir_is_one(const struct heir *h) {
    return h->channel >= 0;
}

static void heir_close(struct heir *h) {
    if (h->channel >= 0) close(h->channel);
    if (h->state_fd >= 0) close(h->state_fd);
    *h = (struct heir){-1, -1};
}

static bool say(const struct heir *h, const char *text) {
    ssize_t n;
    do n = send(h->channel, text, strlen(text), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0;
}

/* No longer than the old one would wait for this one. */
static bool hear(const struct heir *h, const char *wanted) {
    char text[HEIR_MESSAGE_MAX];
    struct pollfd p = {.fd = h->channel, .events = POLLIN};
    int ready;
    do ready = poll(&p, 1, HEIR_LIMIT_US / 1000);
    while (ready < 0 && errno == EINTR);
    ssize_t n = ready > 0 ? recv(h->channel, text, sizeof text, MSG_DONTWAIT) : -1;
    return n > 0 && slice_is(slice_from(text, (size_t)n), wanted);
}

FILE *heir_ask_state(struct heir *h) {
    if (!say(h, HEIR_SAYS_STATE) || !hear(h, HEIR_SAYS_STATE)) return NULL;
    FILE *in = lseek(h->state_fd, 0, SEEK_SET) == 0 ? fdopen(h->state_fd, "r") : NULL;
    if (in) h->state_fd = -1; /* fclose() closes it */
    return in;
}

void heir_say_serving(struct heir *h) {
    say(h, HEIR_SAYS_SERVING);
    heir_close(h);
}

void heir_say_failed(struct heir *h, const char *why) {
    char text[HEIR_MESSAGE_MAX];
    snprintf(text, sizeof text, HEIR_SAYS_FAILED "%s", why);
    say(h, text);
    heir_close(h);
}

void heir_decline(const char *why) {
    struct heir h;
    heir_open(&h);
    if (heir_is_one(&h)) heir_say_failed(&h, why);
}
