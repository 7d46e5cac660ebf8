/*
 * Watches the bytes of each connection from beside evhttp, which has no time
 * limit for a whole request and no bound on connections.  Ending one is a
 * shutdown() of its socket: evhttp then sees its end and frees everything.
 */
#include "rest_conn.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <stdlib.h>
#include <sys/socket.h>

enum conn_state { CONN_IDLE, CONN_REQUEST, CONN_REPLY };

struct conn {
    TAILQ_ENTRY(conn)    link;
    struct conns        *conns;
    struct bufferevent  *bev;
    enum conn_state      state;
    time_t               deadline;      /* monotonic */
    bool                 held;          /* bev has a reference of ours */
};

static int  conn_index = -1;            /* set once, before threads */

static time_t
monotonic(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);

    return now.tv_sec;
}

static void
conn_free(void *arg)
{
    struct conn  *conn = arg;

    if (conn) {
        TAILQ_REMOVE(&conn->conns->list, conn, link);
        conn->conns->n--;
        free(conn);
    }
}

static void
conn_free_ex(void *, void *ptr, CRYPTO_EX_DATA *, int, long, void *)
{
    conn_free(ptr);
}

bool
conns_setup(void)
{
    if (conn_index < 0) {
        conn_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, conn_free_ex);
    }

    return conn_index >= 0;
}

void
conns_init(struct conns *conns, struct event_base *base)
{
    conns->base = base;
    conns->n = 0;
    TAILQ_INIT(&conns->list);
}

static void
conn_set(struct conn *conn, enum conn_state state, int seconds)
{
    conn->state = state;
    conn->deadline = monotonic() + seconds;
}

static void
conn_shutdown(struct conn *conn)
{
    shutdown(bufferevent_getfd(conn->bev), SHUT_RDWR);
}

/*
 * The one that asked longest ago.  It is there until evhttp sees its end, which may
 * be behind a crowd that came at once: at the other end of the list, so that each
 * of the crowd ends another one.
 */
static void
conns_give_way(struct conns *conns)
{
    struct conn  *conn = TAILQ_FIRST(&conns->list);

    conn_shutdown(conn);
    TAILQ_REMOVE(&conns->list, conn, link);
    TAILQ_INSERT_TAIL(&conns->list, conn, link);
}

static void
conn_input(struct evbuffer *, const struct evbuffer_cb_info *info, void *arg)
{
    struct conn  *conn = arg;

    if (info->n_added && conn->state == CONN_IDLE) {
        conn_set(conn, CONN_REQUEST, CONN_REQUEST_S);
    }
}

static void
conn_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info,
    void *arg)
{
    struct conn  *conn = arg;

    if (info->n_added && conn->state != CONN_REPLY) {
        conn_set(conn, CONN_REPLY, CONN_REPLY_S);
        TAILQ_REMOVE(&conn->conns->list, conn, link);
        TAILQ_INSERT_TAIL(&conn->conns->list, conn, link);
    }

    if (info->n_deleted && evbuffer_get_length(buffer) == 0) {
        conn_set(conn, CONN_IDLE, CONN_IDLE_S);
    }
}

static struct bufferevent *
conn_tls(struct conn *conn, SSL_CTX *tls)
{
    SSL  *ssl = SSL_new(tls);

    if (ssl == NULL) {
        return NULL;
    }

    conn->bev = bufferevent_openssl_socket_new(conn->conns->base, -1, ssl,
        BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (conn->bev == NULL) {
        SSL_free(ssl);
        return NULL;
    }

    if (SSL_set_ex_data(ssl, conn_index, conn) != 1) {
        bufferevent_free(conn->bev);
        return NULL;
    }

    /* A peer that only closes its socket has said all it wanted to. */
    bufferevent_openssl_set_allow_dirty_shutdown(conn->bev, 1);

    return conn->bev;
}

/*
 * Nothing tells when a plain one is freed, so a reference keeps it until the next
 * sweep.  The peer need not wait for that: evhttp shuts the socket down first.
 */
static struct bufferevent *
conn_plain(struct conn *conn)
{
    conn->bev = bufferevent_socket_new(conn->conns->base, -1, BEV_OPT_CLOSE_ON_FREE);

    if (conn->bev) {
        bufferevent_incref(conn->bev);
        conn->held = true;
    }

    return conn->bev;
}

/* evhttp has an event callback for as long as a connection is its own. */
static bool
conn_abandoned(struct conn *conn)
{
    bufferevent_data_cb   read, write;
    bufferevent_event_cb  event = NULL;
    void                 *arg;

    if (conn->held) {
        bufferevent_getcb(conn->bev, &read, &write, &event, &arg);
    }

    return conn->held && event == NULL;
}

struct bufferevent *
conn_new(struct conns *conns, SSL_CTX *tls)
{
    struct conn  *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        return NULL;
    }

    if (conns->n >= CONN_MAX) {
        conns_give_way(conns);
    }

    conn->conns = conns;
    TAILQ_INSERT_TAIL(&conns->list, conn, link);
    conns->n++;
    conn_set(conn, CONN_IDLE, CONN_REQUEST_S);

    conn->bev = tls ? conn_tls(conn, tls) : conn_plain(conn);
    if (conn->bev == NULL) {
        conn_free(conn);
        return NULL;
    }

    evbuffer_add_cb(bufferevent_get_input(conn->bev), conn_input, conn);
    evbuffer_add_cb(bufferevent_get_output(conn->bev), conn_output, conn);

    return conn->bev;
}

void
conns_sweep(struct conns *conns, bool all)
{
    time_t               now = monotonic();
    struct conn         *conn, *next;
    struct bufferevent  *bev;

    for (conn = TAILQ_FIRST(&conns->list); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);

        if (conn_abandoned(conn)) {
            bev = conn->bev;
            conn_free(conn);
            bufferevent_decref(bev);

        } else if (conn->deadline <= now || (all && conn->state == CONN_IDLE)) {
            conn_shutdown(conn);
        }
    }
}
