/* server_internal.h: a control socket and its clients, for server.c (sockets) and server_client.c (conversations). */
#ifndef LOOMGATE_CONTROL_SERVER_INTERNAL_H
#define LOOMGATE_CONTROL_SERVER_INTERNAL_H

#include "loomgate/control/server.h"
#include "loomgate/net/conn.h"
#include "loomgate/net/listen.h"

#include <sys/stat.h>

struct control_socket {
    struct control_server *server;
    const struct control_settings *settings; /* of the configuration that it was bound by */
    char *path;
    enum control_level level;
    struct listen_watch watch;
    struct stat file;    /* what we bound: another file at the path is not ours to remove; nor is it when */
    bool is_lent;        /* the service manager has made it */
    bool is_inherited;   /* as long as another process serves it, too */
    struct list clients; /* of struct client */
    unsigned client_count;
};

struct control_server {
    struct control control;
    struct runtime_hooks hooks;
    struct control_socket *sockets;
    uint32_t socket_count;
    bool is_handed_over; /* nothing is listened on any more */
    struct loop *loop;
};

/* A connection that was accepted; takes the descriptor over. */
void client_open(struct control_socket *socket, int fd);
/* All of them, at once; their commands are told. */
void clients_close(struct control_socket *socket);

#endif
