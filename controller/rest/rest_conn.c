/*
 * One connection: bytes in, requests out, one at a time; replies in their order.
 * Every state has a deadline, and a thread has a bound on connections.
 */
#include "rest_conn.h"
#include "rest_worker.h"

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netdb.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX  65536            /* bytes that wait while a reply is sent */

static const char  proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";

enum conn_state {
    CONN_IDLE,          /* nothing of a request has come */
    CONN_REQUEST,       /* some of it has */
    CONN_REPLY,         /* it is answered */
    CONN_LINGER         /* nothing is read any more but the end of the peer */
};

struct conn {
    TAILQ_ENTRY(conn)    link;
    struct conns        *conns;
    struct door         *door;
    struct bufferevent  *bev;
    SSL                 *ssl;           /* bev's, or NULL */
    enum conn_state      state;
    time_t               deadline;      /* monotonic */
    bool                 close;         /* after the reply */
    bool                 ended;         /* the peer sends nothing more */
    struct message       message;
    size_t               counted;       /* of its body, in conns->bodies */
    char                 peer[64];
};

static time_t
monotonic(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);

    return now.tv_sec;
}

void
conns_init(struct conns *conns, struct event_base *base)
{
    conns->base = base;
    conns->n = 0;
    conns->bodies = 0;
    TAILQ_INIT(&conns->list);
}

const char *
conn_peer(const struct conn *conn)
{
    return conn->peer;
}

static void
conn_set(struct conn *conn, enum conn_state state, int seconds)
{
    conn->state = state;
    conn->deadline = monotonic() + seconds;
}

/* The first bytes that wait; false when there are none: evbuffer_peek() also finds
 * room that a read has reserved and not filled. */
static bool
input_first(struct evbuffer *in, struct evbuffer_iovec *part)
{
    return evbuffer_get_length(in) > 0 && evbuffer_peek(in, -1, NULL, part, 1) > 0
           && part->iov_len > 0;
}

/* What was read is wiped: it may have held a key. */
static void
input_drop(struct evbuffer *in, size_t len)
{
    struct evbuffer_iovec  part;

    while (len > 0 && input_first(in, &part)) {
        size_t  n = part.iov_len < len ? part.iov_len : len;

        OPENSSL_cleanse(part.iov_base, n);
        evbuffer_drain(in, n);
        len -= n;
    }
}

static void
conn_forget(struct conn *conn)
{
    conn->conns->bodies -= conn->counted;
    conn->counted = 0;
    message_reset(&conn->message);
}

/*
 * Bodies are read before a key is looked at, so what they may take together is
 * bounded; a small one always has room.
 */
static void
conn_count(struct conn *conn)
{
    struct message  *message = &conn->message;

    conn->conns->bodies += message->body.size - conn->counted;
    conn->counted = message->body.size;

    if (message->state < MESSAGE_DONE && conn->counted > CONN_BODY_SMALL
        && conn->conns->bodies > CONN_BODIES_MAX)
    {
        error_set(&message->err, ERR_UNAVAILABLE, "too many large requests at once");
        message->state = MESSAGE_BAD;
    }
}

static void
conn_free(struct conn *conn)
{
    struct evbuffer  *in = bufferevent_get_input(conn->bev);

    input_drop(in, evbuffer_get_length(in));

    if (conn->ssl) {
        SSL_set_shutdown(conn->ssl, SSL_RECEIVED_SHUTDOWN);
        SSL_shutdown(conn->ssl);
    }

    TAILQ_REMOVE(&conn->conns->list, conn, link);
    conn->conns->n--;
    bufferevent_free(conn->bev);
    conn_forget(conn);
    free(conn);
}

void
conns_give_way(struct conns *conns)
{
    if (!TAILQ_EMPTY(&conns->list)) {
        conn_free(TAILQ_FIRST(&conns->list));
    }
}

void
conns_free(struct conns *conns)
{
    while (!TAILQ_EMPTY(&conns->list)) {
        conn_free(TAILQ_FIRST(&conns->list));
    }
}

void
conns_sweep(struct conns *conns, bool all)
{
    time_t        now = monotonic();
    struct conn  *conn, *next;

    for (conn = TAILQ_FIRST(&conns->list); conn; conn = next) {
        next = TAILQ_NEXT(conn, link);

        if (conn->deadline <= now
            || (all && (conn->state == CONN_IDLE || conn->state == CONN_LINGER)))
        {
            conn_free(conn);
        }
    }
}

void
conn_reply(struct conn *conn, const char *head, size_t len, struct evbuffer *body, bool close)
{
    struct evbuffer  *out = bufferevent_get_output(conn->bev);

    conn->close = close;
    conn_set(conn, CONN_REPLY, CONN_REPLY_S);
    TAILQ_REMOVE(&conn->conns->list, conn, link);
    TAILQ_INSERT_TAIL(&conn->conns->list, conn, link);
    evbuffer_add(out, head, len);
    evbuffer_add_buffer(out, body);
}

/* The peer is told that nothing follows; a socket that is closed with bytes unread
 * would take the reply away from it. */
static void
conn_linger(struct conn *conn)
{
    conn_set(conn, CONN_LINGER, CONN_LINGER_S);

    if (conn->ssl) {
        SSL_shutdown(conn->ssl);
    }

    shutdown(bufferevent_getfd(conn->bev), SHUT_WR);
}

/* A request that is complete, or that is not going to be one. */
static void
conn_request(struct conn *conn)
{
    request_handle(conn->door, conn, &conn->message);
    conn_forget(conn);
}

static void
conn_read(struct bufferevent *bev, void *arg)
{
    struct conn            *conn = arg;
    struct message         *message = &conn->message;
    struct evbuffer        *in = bufferevent_get_input(bev);
    struct evbuffer_iovec   part;

    if (conn->state == CONN_LINGER) {
        input_drop(in, evbuffer_get_length(in));
        return;
    }

    while (conn->state != CONN_REPLY && input_first(in, &part)) {
        if (conn->state == CONN_IDLE) {
            conn_set(conn, CONN_REQUEST, CONN_REQUEST_S);
        }

        input_drop(in, message_feed(message, part.iov_base, part.iov_len));
        conn_count(conn);

        if (message->state >= MESSAGE_DONE) {
            conn_request(conn);

        } else if (message->expects && message->state > MESSAGE_HEAD) {
            message->expects = false;
            bufferevent_write(bev, proceed, sizeof(proceed) - 1);
        }
    }
}

/* The output is empty. */
static void
conn_written(struct bufferevent *bev, void *arg)
{
    struct conn      *conn = arg;
    struct evbuffer  *in = bufferevent_get_input(bev);

    if (conn->state != CONN_REPLY || evbuffer_get_length(bufferevent_get_output(bev)) > 0) {
        return;
    }

    if (conn->close) {
        input_drop(in, evbuffer_get_length(in));
        conn_linger(conn);
    } else {
        conn_set(conn, CONN_IDLE, CONN_IDLE_S);
        conn_read(bev, conn);
    }

    if (conn->ended && conn->state != CONN_REPLY) {
        conn_free(conn);
    }
}

/* Who has sent all it wanted to may still read.  Over TLS the end is reported before
 * the bytes that came with it. */
static void
conn_event(struct bufferevent *bev, short what, void *arg)
{
    struct conn  *conn = arg;

    if (what & BEV_EVENT_CONNECTED) {
        return;
    }

    if ((what & BEV_EVENT_EOF) && conn->state != CONN_LINGER) {
        conn_read(bev, conn);
    }

    if ((what & BEV_EVENT_EOF) && conn->state == CONN_REPLY) {
        conn->ended = true;
        bufferevent_enable(bev, EV_WRITE);
        return;
    }

    conn_free(conn);
}

static bool
conn_start(struct conn *conn, SSL_CTX *tls, int fd)
{
    if (tls == NULL) {
        conn->bev = bufferevent_socket_new(conn->conns->base, fd, BEV_OPT_CLOSE_ON_FREE);
        return conn->bev != NULL;
    }

    conn->ssl = SSL_new(tls);
    if (conn->ssl == NULL) {
        return false;
    }

    conn->bev = bufferevent_openssl_socket_new(conn->conns->base, fd, conn->ssl,
        BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (conn->bev == NULL) {
        SSL_free(conn->ssl);
        return false;
    }

    /* A peer that only closes its socket has said all it wanted to. */
    bufferevent_openssl_set_allow_dirty_shutdown(conn->bev, 1);

    return true;
}

void
conn_open(struct conns *conns, struct door *door, SSL_CTX *tls, int fd,
    const struct sockaddr *address, socklen_t len)
{
    struct conn  *conn = calloc(1, sizeof(*conn));

    if (conns->n >= CONN_MAX) {
        conns_give_way(conns);
    }

    if (conn) {
        conn->conns = conns;
        conn->door = door;
    }

    if (conn == NULL || !conn_start(conn, tls, fd)) {
        free(conn);
        close(fd);
        return;
    }

    if (getnameinfo(address, len, conn->peer, sizeof(conn->peer), NULL, 0, NI_NUMERICHOST) != 0) {
        snprintf(conn->peer, sizeof(conn->peer), "-");
    }

    TAILQ_INSERT_TAIL(&conns->list, conn, link);
    conns->n++;
    conn_set(conn, CONN_IDLE, CONN_REQUEST_S);
    bufferevent_setwatermark(conn->bev, EV_READ, 0, INPUT_MAX);
    bufferevent_setcb(conn->bev, conn_read, conn_written, conn_event, conn);
    bufferevent_enable(conn->bev, EV_READ | EV_WRITE);
}
