/* notify.h: tells the service manager (systemd's Type=notify, or whoever else listens at $NOTIFY_SOCKET) how the
 * process is. Without that variable nothing happens. */
#ifndef LOOMGATE_RUNTIME_NOTIFY_H
#define LOOMGATE_RUNTIME_NOTIFY_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody to tell */
    struct sockaddr_un to;
    socklen_t to_len;
};

/* Connects: later, a chroot may hide the socket. */
void notify_open(struct notify *n);
void notify_close(struct notify *n);
/* Sends lines such as "READY=1\nSTATUS=serving". False when somebody wanted to know but could not be told, which is on
 * the log then. Waits at most a second for the receiver. */
bool notify_send(struct notify *n, const char *lines);

/* `status` (may be NULL) is one line for people. */
bool notify_ready(struct notify *n, const char *status);
bool notify_stopping(struct notify *n, const char *status);
/* A reload has begun; notify_ready follows when it is over, however it went. */
bool notify_reloading(struct notify *n, const char *status);
/* Another process takes over. */
bool notify_main_pid(struct notify *n, pid_t pid);

#endif
