/* One thread of the server: everything that only it touches. */
#pragma once
#include "rest.h"
#include "rest_auth.h"
#include "rest_conn.h"
#include "rest_router.h"

#include <event2/event.h>
#include <event2/listener.h>
#include <pthread.h>
#include <stdatomic.h>

#define REST_PATH_MAX    2048
#define REST_DEPTH_MAX   32
#define REST_STOP_S      5

/* What the threads share: written before they start. */
struct rest_shared {
    const struct rest_context  *ctx;
    const char                 *conninfo;
    struct router              *router;        /* of the TLS listener */
    struct router              *pki_router;    /* of the plain one */
    bool                        open;          /* no key needed */
};

struct worker;

/* Where a request came in. */
struct door {
    struct worker               *worker;
    const struct router         *router;
    bool                         tls;
    struct evconnlistener       *listener;
};

struct worker {
    const struct rest_shared  *shared;
    struct event_base         *base;
    struct door                tls_door, plain_door;
    struct conns               conns;
    struct auth               *auth;
    struct rest_keep           keep;
    SSL_CTX                   *tls;
    SSL_CTX *_Atomic           next_tls;       /* handed over by rest_use_certificate */
    struct event              *wake, *tick;
    int                        wake_fd;        /* eventfd: stop */
    bool                       stopping;
    time_t                     stop_at;        /* monotonic */
    struct db                 *db;             /* opened by the first request */
    time_t                     db_failed;      /* monotonic, when it did not open */
    pthread_t                  thread;
    bool                       started;
};

/* Answers a message that is complete or refused. */
void request_handle(struct door *door, struct conn *conn, const struct message *message);

/* Sends r's reply, or its error when ok is false.  close: the last on this connection. */
void reply_send(struct conn *conn, struct request *r, bool ok, bool close);
