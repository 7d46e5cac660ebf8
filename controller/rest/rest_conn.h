/* Open connections of one thread: their requests and replies, how many there are,
 * for how long, and which gives way. */
#pragma once
#include "rest_message.h"

#include <event2/bufferevent.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#define CONN_MAX         1024      /* of one thread */
#define CONN_REQUEST_S   15        /* from a request's first byte to its last */
#define CONN_REPLY_S     60        /* for the peer to take the reply */
#define CONN_IDLE_S      75        /* between two requests */
#define CONN_LINGER_S    5         /* for a refused peer to read why */
#define CONN_BODIES_MAX  (64 * 1024 * 1024)    /* unfinished bodies of one thread, of */
#define CONN_BODY_SMALL  (16 * 1024)           /* those that are larger than this */

struct conn;
TAILQ_HEAD(conn_list, conn);

struct conns {
    struct event_base  *base;
    struct conn_list    list;      /* the one that asked longest ago first */
    int                 n;
    size_t              bodies;    /* bytes of unfinished ones */
};

struct door;

void conns_init(struct conns *conns, struct event_base *base);

/* Takes an accepted socket of door, and closes it when there is no memory.  tls:
 * the context of a handshake, or NULL for a plain one. */
void conn_open(struct conns *conns, struct door *door, SSL_CTX *tls, int fd,
    const struct sockaddr *address, socklen_t len);

/* Ends what has overstayed; all: what is not in the middle of a request too. */
void conns_sweep(struct conns *conns, bool all);

/* Room for another socket: the connection that asked longest ago ends. */
void conns_give_way(struct conns *conns);

/* Ends all. */
void conns_free(struct conns *conns);

struct evbuffer;

/*
 * The reply to the request that conn has just handed over: its head, and what body
 * holds.  close: no other request is read.
 */
void conn_reply(struct conn *conn, const char *head, size_t len, struct evbuffer *body,
    bool close);

/* "192.0.2.1", "2001:db8::1" */
const char *conn_peer(const struct conn *conn);
