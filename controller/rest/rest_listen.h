/* Listening sockets: parsed addresses, one socket for each thread. */
#pragma once
#include "error.h"
#include <stdbool.h>
#include <sys/socket.h>

struct listen_address {
    struct sockaddr_storage  sa;
    socklen_t                len;
    bool                     loopback;
};

/* "127.0.0.1:8443", "[::1]:8443", "*:8443"; port 0: the system chooses. */
bool listen_parse(const char *text, struct listen_address *ret,
    struct error *err);

/* Whether nobody has the port; with port 0 nothing is asked. */
bool listen_free(const struct listen_address *address, const char *text,
    struct error *err);

/* A bound, listening socket that shares its port with its siblings; the port is
 * written back into address.  -1 with the reason. */
int listen_open(struct listen_address *address, const char *text,
    struct error *err);

int listen_port(const struct listen_address *address);
