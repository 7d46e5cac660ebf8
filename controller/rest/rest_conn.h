/* Open connections of one thread: how many, for how long, which gives way. */
#pragma once
#include <event2/bufferevent.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#define CONN_MAX         1024      /* of one thread */
#define CONN_REQUEST_S   15        /* from a request's first byte to its last */
#define CONN_REPLY_S     60        /* for the peer to take the reply */
#define CONN_IDLE_S      75        /* between two requests */

struct conn;
TAILQ_HEAD(conn_list, conn);

struct conns {
    struct event_base  *base;
    struct conn_list    list;      /* the one that asked longest ago first */
    int                 n;
};

bool conns_setup(void);            /* once, before threads */
void conns_init(struct conns *conns, struct event_base *base);

/* A connection that is about to be accepted: tls, or NULL for plain. */
struct bufferevent *conn_new(struct conns *conns, SSL_CTX *tls);

/* Ends what has overstayed; all: what is not in the middle of a request too.  To
 * be called every second, and once more after evhttp_free(). */
void conns_sweep(struct conns *conns, bool all);
