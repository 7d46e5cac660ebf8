/*
 * The server: n threads that share nothing but what is never written again.
 * Each has its own event base, its own listening sockets and its own database
 * connection, so a handler may block on a short query.
 */
#include "conf.h"
#include "log.h"
#include "resource.h"
#include "rest_listen.h"
#include "rest_tls.h"
#include "rest_worker.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define FILES_WANTED  16384

struct rest_server {
    struct rest_shared     shared;
    struct listen_address  tls_address, pki_address;
    bool                   pki;
    char                  *conninfo;
    struct worker         *workers;
    int                    n;
};

static time_t
monotonic(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);

    return now.tv_sec;
}

/* The context of the newest certificate, taken over where it is used. */
static void
worker_accept(struct evconnlistener *, evutil_socket_t fd, struct sockaddr *address,
    int len, void *arg)
{
    struct door    *door = arg;
    struct worker  *w = door->worker;
    SSL_CTX        *next = atomic_exchange(&w->next_tls, NULL);

    if (next) {
        SSL_CTX_free(w->tls);
        w->tls = next;
    }

    conn_open(&w->conns, door, door->tls ? w->tls : NULL, fd, address, (socklen_t) len);
}

/* No file is left for another socket: one that is idle gives its own. */
static void
worker_accept_failed(struct evconnlistener *, void *arg)
{
    struct door  *door = arg;

    conns_give_way(&door->worker->conns);
}

static void
worker_tick(evutil_socket_t, short, void *arg)
{
    struct worker  *w = arg;

    conns_sweep(&w->conns, w->stopping);

    if (w->stopping && (w->conns.n == 0 || monotonic() >= w->stop_at)) {
        event_base_loopbreak(w->base);
    }
}

static void
door_close(struct door *door)
{
    if (door->listener) {
        evconnlistener_free(door->listener);
        door->listener = NULL;
    }
}

/* Nothing new is accepted; what is under way is answered by the ticks' end. */
static void
worker_wake(evutil_socket_t, short, void *arg)
{
    struct worker         *w = arg;
    const struct timeval   often = { .tv_usec = 20000 };

    w->stopping = true;
    w->stop_at = monotonic() + REST_STOP_S;

    door_close(&w->tls_door);
    door_close(&w->plain_door);
    event_add(w->tick, &often);
}

static bool
door_open(struct door *door, struct listen_address *address, const char *text,
    bool tls, struct error *err)
{
    int  fd = listen_open(address, text, err);

    if (fd < 0) {
        return false;
    }

    door->tls = tls;
    door->listener = evconnlistener_new(door->worker->base, worker_accept, door,
                                        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (door->listener == NULL) {
        close(fd);
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    evconnlistener_set_error_cb(door->listener, worker_accept_failed);

    return true;
}

static void
worker_free(struct worker *w)
{
    door_close(&w->tls_door);
    door_close(&w->plain_door);
    conns_free(&w->conns);

    if (w->wake) {
        event_free(w->wake);
    }

    if (w->tick) {
        event_free(w->tick);
    }

    if (w->base) {
        event_base_free(w->base);
    }

    if (w->wake_fd >= 0) {
        close(w->wake_fd);
    }

    if (w->keep.end) {
        w->keep.end(w->keep.thing);
    }

    auth_free(w->auth);
    SSL_CTX_free(w->tls);
    SSL_CTX_free(atomic_exchange(&w->next_tls, NULL));
    db_close(w->db);
}

static bool
worker_init(struct rest_server *server, struct worker *w, SSL_CTX *tls,
    struct error *err)
{
    const struct conf     *conf = server->shared.ctx->conf;
    const struct timeval   second = { .tv_sec = 1 };

    w->shared = &server->shared;
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->base = event_base_new();
    conns_init(&w->conns, w->base);
    w->auth = auth_new();

    if (w->wake_fd < 0 || w->base == NULL || w->auth == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory or files");
    }

    SSL_CTX_up_ref(tls);
    w->tls = tls;
    w->tls_door = (struct door) { .worker = w, .router = server->shared.router };
    w->plain_door = (struct door) { .worker = w, .router = server->shared.pki_router };

    w->wake = event_new(w->base, w->wake_fd, EV_READ, worker_wake, w);
    w->tick = event_new(w->base, -1, EV_PERSIST, worker_tick, w);

    if (w->wake == NULL || w->tick == NULL || event_add(w->wake, NULL) != 0
        || event_add(w->tick, &second) != 0)
    {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    return door_open(&w->tls_door, &server->tls_address, conf->listen, true, err)
           && (!server->pki
               || door_open(&w->plain_door, &server->pki_address,
                            conf->pki_listen, false, err));
}

static void *
worker_run(void *arg)
{
    struct worker  *w = arg;

    event_base_dispatch(w->base);

    return NULL;
}

static bool
server_threads(struct rest_server *server, SSL_CTX *tls, struct error *err)
{
    for (int i = 0; i < server->n; i++) {
        if (!worker_init(server, &server->workers[i], tls, err)) {
            return false;
        }
    }

    for (int i = 0; i < server->n; i++) {
        if (pthread_create(&server->workers[i].thread, NULL, worker_run,
                           &server->workers[i]) != 0)
        {
            return error_set(err, ERR_INTERNAL, "a thread does not start");
        }
        server->workers[i].started = true;
    }

    return true;
}

/* What is the same for all threads, before the first of them is there. */
/* Each route that leaves audit rows says what they are about. */
static bool
routes_audited(const struct route *routes, struct error *err)
{
    const struct resource  *res;

    for (const struct route *route = routes; route->path; route++) {
        res = route->data;

        if (route->audit && (res == NULL || res->category == AUDIT_NONE)) {
            return error_set(err, ERR_INTERNAL, "routes.c: %s %s has an audit action and "
                             "no resource with a category", route->method, route->path);
        }
    }

    return true;
}

static bool
server_shared(struct rest_server *server, struct error *err)
{
    struct rest_shared   *shared = &server->shared;
    const struct conf    *conf = shared->ctx->conf;

    server->pki = conf->pki_listen && *conf->pki_listen;

    if (!listen_parse(conf->listen, &server->tls_address, err)
        || !listen_free(&server->tls_address, conf->listen, err)
        || (server->pki
            && (!listen_parse(conf->pki_listen, &server->pki_address, err)
                || !listen_free(&server->pki_address, conf->pki_listen, err))))
    {
        return false;
    }

    if (!routes_audited(shared->ctx->routes, err)) {
        return false;
    }

    shared->conninfo = server->conninfo;
    shared->open = conf->demo && server->tls_address.loopback;
    shared->router = router_new(shared->ctx->routes, 0, err);
    shared->pki_router = shared->router
                         ? router_new(shared->ctx->routes, ROUTE_PKI, err) : NULL;

    return shared->pki_router != NULL;
}

/* A shell's default of 1024 files would be the bound on connections. */
static void
raise_file_limit(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < FILES_WANTED) {
        limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max
                                                       : FILES_WANTED;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

struct rest_server *
rest_start(const struct rest_context *ctx, const char *conninfo,
    const char *cert_pem, const char *key_pem, struct error *err)
{
    struct rest_server  *server = calloc(1, sizeof(*server));
    SSL_CTX             *tls = tls_new(cert_pem, key_pem, err);
    bool                 ok;

    raise_file_limit();

    if (server == NULL || tls == NULL
        || (server->conninfo = strdup(conninfo)) == NULL
        || (server->workers = calloc(ctx->conf->api_threads,
                                     sizeof(*server->workers))) == NULL)
    {
        if (tls) {
            error_set(err, ERR_INTERNAL, "out of memory");
        }
        SSL_CTX_free(tls);
        rest_stop(server);
        return NULL;
    }

    server->shared.ctx = ctx;
    server->n = ctx->conf->api_threads;
    for (int i = 0; i < server->n; i++) {
        server->workers[i].wake_fd = -1;
    }

    ok = server_shared(server, err) && server_threads(server, tls, err);
    SSL_CTX_free(tls);

    if (!ok) {
        rest_stop(server);
        return NULL;
    }

    return server;
}

int
rest_port(const struct rest_server *server)
{
    return listen_port(&server->tls_address);
}

int
rest_pki_port(const struct rest_server *server)
{
    return server->pki ? listen_port(&server->pki_address) : 0;
}

bool
rest_use_certificate(struct rest_server *server, const char *cert_pem,
    const char *key_pem, struct error *err)
{
    SSL_CTX  *tls = tls_new(cert_pem, key_pem, err);

    if (tls == NULL) {
        return false;
    }

    for (int i = 0; i < server->n; i++) {
        SSL_CTX_up_ref(tls);
        SSL_CTX_free(atomic_exchange(&server->workers[i].next_tls, tls));
    }

    SSL_CTX_free(tls);

    return true;
}

void
rest_stop(struct rest_server *server)
{
    if (server == NULL) {
        return;
    }

    for (int i = 0; i < server->n; i++) {
        if (server->workers[i].started) {
            eventfd_write(server->workers[i].wake_fd, 1);
        }
    }

    for (int i = 0; i < server->n; i++) {
        if (server->workers[i].started) {
            pthread_join(server->workers[i].thread, NULL);
        }
        worker_free(&server->workers[i]);
    }

    router_free(server->shared.router);
    router_free(server->shared.pki_router);
    free(server->workers);
    free(server->conninfo);
    free(server);
}
