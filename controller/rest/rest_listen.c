/* Opens listening sockets that several threads share by SO_REUSEPORT. */
#include "rest_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_BACKLOG  1024

static bool
is_loopback(const struct sockaddr_storage *sa)
{
    const struct sockaddr_in   *sin = (const void *) sa;
    const struct sockaddr_in6  *sin6 = (const void *) sa;

    return sa->ss_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr)
           : ntohl(sin->sin_addr.s_addr) >> 24 == 127;
}

bool
listen_parse(const char *text, struct listen_address *ret, struct error *err)
{
    struct addrinfo   hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                                .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo  *found;
    const char       *colon = strrchr(text, ':');
    size_t            len = colon ? (size_t) (colon - text) : 0;
    char              host[256];
    int               rc;

    if (len == 0 || len >= sizeof(host) || colon[1] == '\0') {
        return error_set(err, ERR_INVALID, "listen address \"%s\" must be "
                         "host:port or [IPv6]:port", text);
    }

    memcpy(host, text, len);
    host[len] = '\0';

    if (host[0] == '[' && host[len - 1] == ']') {
        memmove(host, host + 1, len);
        host[len - 2] = '\0';
    }

    rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, colon + 1, &hints,
                     &found);
    if (rc != 0) {
        return error_set(err, ERR_INVALID, "listen address \"%s\": %s", text,
                         gai_strerror(rc));
    }

    *ret = (struct listen_address) { .len = found->ai_addrlen };
    memcpy(&ret->sa, found->ai_addr, found->ai_addrlen);
    ret->loopback = is_loopback(&ret->sa);
    freeaddrinfo(found);

    return true;
}

int
listen_port(const struct listen_address *address)
{
    const struct sockaddr_in  *sin = (const void *) &address->sa;

    /* the port is at the same place in both families */
    return ntohs(sin->sin_port);
}

static int
listen_socket(const struct listen_address *address, bool shared)
{
    const int  on = 1;
    int        fd = socket(address->sa.ss_family,
                           SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -1;
    }

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));

    if (shared) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }

    /* Accepted sockets inherit it; a small reply would wait 40 ms for an ACK. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

    if (bind(fd, (const struct sockaddr *) &address->sa, address->len) != 0) {
        close(fd);
        return -1;
    }

    return fd;
}

/* SO_REUSEPORT would share the port with another daemon and say nothing. */
bool
listen_free(const struct listen_address *address, const char *text,
    struct error *err)
{
    int  fd;

    if (listen_port(address) == 0) {
        return true;
    }

    fd = listen_socket(address, false);
    if (fd < 0) {
        return error_set(err, ERR_CONFLICT, "cannot listen on %s: %s", text,
                         strerror(errno));
    }

    close(fd);

    return true;
}

int
listen_open(struct listen_address *address, const char *text, struct error *err)
{
    int  fd = listen_socket(address, true);

    if (fd < 0 || listen(fd, LISTEN_BACKLOG) != 0
        || getsockname(fd, (struct sockaddr *) &address->sa, &address->len) != 0)
    {
        error_set(err, ERR_CONFLICT, "cannot listen on %s: %s", text,
                  strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }

    return fd;
}
