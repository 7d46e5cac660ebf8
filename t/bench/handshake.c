/*
 * A client that does nothing but full TLS 1.3 handshakes: how many a server
 * completes, and whether one failed.
 *
 *     handshake -p port -s name [-c concurrency] [-t seconds | -n count]
 *               [-k names] [-f first] [-C ca.pem] [-r rate] [-w patience] [-o file]
 *
 * name may hold a "#", which becomes a running number: names of them, from
 * first on, over and over.  With -C each chain is verified, with -r at most that
 * many begin in a second; one that takes more than 10 seconds (-w) has failed.
 * SIGTERM ends it early; either way it prints
 *
 *     done N failed N seconds S cpu S
 *
 * With -o it asks for a staple, and writes a line for each connection: when it
 * began and ended (CLOCK_MONOTONIC), the port it came from, the name, SHA-256
 * of leaf and staple (or "-"), and "ok" or why it failed.
 *
 * A handshake counts when the server's session ticket has come: only then has
 * it seen the client's Finished (RFC 8446 section 4.6.1).  The connection is
 * then reset, which leaves no port in TIME_WAIT.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX  1024

struct conn {
    int     fd;
    SSL    *ssl;
    int     port;
    char    name[256];
    double  begun;
    bool    ticket;
};

static struct {
    int          port;
    const char  *name;
    const char  *ca;
    long         concurrency;
    long         names;
    long         first;
    long         count;
    double       rate;
    double       seconds;
    double       patience;
} options = { .concurrency = 16, .names = 1, .seconds = 2, .patience = 10 };

static struct conn            conns[CONNECTIONS_MAX];
static long                   begun, done, failed;
static double                 start, until;
static FILE                  *records;
static int                    poller;
static SSL_CTX               *ctx;
static volatile sig_atomic_t  stop;


static void
on_signal(int sig)
{
    (void) sig;
    stop = 1;
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}


static int
on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct conn  *c = SSL_get_app_data(ssl);

    (void) session;
    c->ticket = true;
    return 0;                           /* not kept */
}


/* SHA-256 in hex, or "-" of nothing. */
static const char *
digest(const unsigned char *data, long len, char *hex)
{
    unsigned char  md[32];

    if (len <= 0 || !EVP_Digest(data, len, md, NULL, EVP_sha256(), NULL)) {
        return "-";
    }

    for (int i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", md[i]);
    }

    return hex;
}


static void
record(struct conn *c, const char *result)
{
    X509                 *leaf = c->ssl ? SSL_get1_peer_certificate(c->ssl)
                                        : NULL;
    unsigned char        *der = NULL;
    const unsigned char  *staple = NULL;
    char                  cert_hex[65], staple_hex[65];
    long                  len, staple_len;

    len = leaf ? i2d_X509(leaf, &der) : 0;
    staple_len = c->ssl ? SSL_get_tlsext_status_ocsp_resp(c->ssl, &staple)
                        : 0;

    fprintf(records, "%.6f %.6f %d %s %s %s %s\n", c->begun, now(), c->port,
            c->name, digest(der, len, cert_hex),
            digest(staple, staple_len, staple_hex), result);

    OPENSSL_free(der);
    X509_free(leaf);
}


/* The first failures are told, then they are only counted. */
static void
tell(struct conn *c, const char *what)
{
    unsigned long  code = ERR_peek_error();
    int            saved = errno;
    char           text[256] = "the server closed";

    if (code) {
        ERR_error_string_n(code, text, sizeof(text));

    } else if (saved) {
        snprintf(text, sizeof(text), "%s", strerror(saved));
    }

    if (records) {
        record(c, text);
    }

    if (failed++ < 5) {
        fprintf(stderr, "handshake: %s: %s\n", what, text);
    }
}


static void
end(struct conn *c)
{
    static const struct linger  reset = { 1, 0 };

    if (c->fd >= 0) {
        (void) setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(c->fd);
    }

    SSL_free(c->ssl);
    c->ssl = NULL;
    c->fd = -1;
}


static bool
more(void)
{
    return !stop && (options.count ? begun < options.count : now() < until);
}


/* Whether the next one's time has come. */
static bool
due(void)
{
    return options.rate <= 0 || begun <= (now() - start) * options.rate;
}


/* A name of its own for each connection, where there are several. */
static void
name_of(long n, char *name, size_t size)
{
    const char  *mark = strchr(options.name, '#');

    if (mark == NULL) {
        snprintf(name, size, "%s", options.name);
        return;
    }

    snprintf(name, size, "%.*s%ld%s", (int) (mark - options.name),
             options.name, options.first + n % options.names,
             mark + 1);
}


static bool
dial(struct conn *c)
{
    int                 one = 1;
    socklen_t           len = sizeof(struct sockaddr_in);
    struct sockaddr_in  to = { .sin_family = AF_INET }, from = { 0 };

    to.sin_port = htons(options.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (c->fd < 0
        || connect(c->fd, (struct sockaddr *) &to, sizeof(to)) != 0
        || getsockname(c->fd, (struct sockaddr *) &from, &len) != 0)
    {
        return false;
    }

    c->port = ntohs(from.sin_port);

    return ioctl(c->fd, FIONBIO, &one) == 0
           && setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
              == 0;
}


static void
begin(struct conn *c)
{
    struct epoll_event  event = { .events = EPOLLIN, .data.ptr = c };

    name_of(begun++, c->name, sizeof(c->name));
    ERR_clear_error();

    c->ticket = false;
    c->port = 0;
    c->begun = now();

    if (!dial(c)) {
        tell(c, "connect");
        end(c);
        return;
    }

    c->ssl = SSL_new(ctx);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1
        || SSL_set_tlsext_host_name(c->ssl, c->name) != 1
        || SSL_set1_host(c->ssl, c->name) != 1
        || (records
            && !SSL_set_tlsext_status_type(c->ssl, TLSEXT_STATUSTYPE_ocsp))
        || epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0)
    {
        tell(c, "setup");
        end(c);
        return;
    }

    SSL_set_app_data(c->ssl, c);
    SSL_set_connect_state(c->ssl);
}


/* Goes as far as what has arrived allows; true when the connection is over. */
static bool
advance(struct conn *c)
{
    int   rc;
    char  byte;

    ERR_clear_error();
    errno = 0;
    rc = SSL_do_handshake(c->ssl);

    if (rc == 1) {
        rc = SSL_read(c->ssl, &byte, 1);    /* takes the ticket */
    }

    if (c->ticket) {
        if (records) {
            record(c, "ok");
        }

        done++;
        return true;
    }

    if (rc > 0 || SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ) {
        return false;
    }

    tell(c, "handshake");
    return true;
}


/* One connection after another in each place, as long as one is wanted. */
static void
go_on(struct conn *c)
{
    while (c->ssl == NULL && more() && due()) {
        begin(c);

        if (c->ssl != NULL && advance(c)) {
            end(c);
        }
    }
}


static int
pending(void)
{
    int   n = 0;
    long  i;

    for (i = 0; i < options.concurrency; i++) {
        if (conns[i].ssl == NULL) {
            continue;
        }

        if (now() - conns[i].begun > options.patience) {
            errno = ETIMEDOUT;
            tell(&conns[i], "handshake");
            end(&conns[i]);
            continue;
        }

        n++;
    }

    return n;
}


static void
run(void)
{
    int                 i, n;
    long                place;
    struct epoll_event  events[64];

    for (place = 0; place < options.concurrency; place++) {
        conns[place].fd = -1;
        go_on(&conns[place]);
    }

    for ( ;; ) {
        n = epoll_wait(poller, events, 64, options.rate > 0 ? 1 : 1000);

        for (i = 0; i < n; i++) {
            struct conn  *c = events[i].data.ptr;

            if (advance(c)) {
                end(c);
                go_on(c);
            }
        }

        for (place = 0; options.rate > 0 && place < options.concurrency;
             place++)
        {
            go_on(&conns[place]);
        }

        if ((n <= 0 || !more()) && pending() == 0 && !more()) {
            return;
        }
    }
}


static bool
setup(void)
{
    ctx = SSL_CTX_new(TLS_client_method());
    poller = epoll_create1(EPOLL_CLOEXEC);

    if (ctx == NULL || poller < 0
        || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
    {
        return false;
    }

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT
                                        |SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);

    if (options.ca == NULL) {
        return true;
    }

    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return SSL_CTX_load_verify_locations(ctx, options.ca, NULL) == 1;
}


static bool
parse(int argc, char **argv)
{
    int  c;

    while ((c = getopt(argc, argv, "p:s:c:t:n:k:f:C:r:w:o:")) != -1) {
        switch (c) {
        case 'p': options.port = (int) strtol(optarg, NULL, 10); break;
        case 's': options.name = optarg; break;
        case 'c': options.concurrency = strtol(optarg, NULL, 10); break;
        case 't': options.seconds = strtod(optarg, NULL); break;
        case 'n': options.count = strtol(optarg, NULL, 10); break;
        case 'k': options.names = strtol(optarg, NULL, 10); break;
        case 'f': options.first = strtol(optarg, NULL, 10); break;
        case 'C': options.ca = optarg; break;
        case 'r': options.rate = strtod(optarg, NULL); break;
        case 'w': options.patience = strtod(optarg, NULL); break;
        case 'o': records = fopen(optarg, "w"); break;
        default: return false;
        }
    }

    return options.port > 0 && options.name != NULL && options.names > 0
           && options.concurrency > 0
           && options.concurrency <= CONNECTIONS_MAX;
}


int
main(int argc, char **argv)
{
    struct rusage  use;

    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: handshake -p port -s name [-c concurrency] "
                "[-t seconds | -n count] [-k names] [-f first] [-C ca.pem] "
                "[-r rate] [-w patience] [-o file]\n");
        return 2;
    }

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);

    if (!setup()) {
        ERR_print_errors_fp(stderr);
        return 1;
    }

    start = now();
    until = start + options.seconds;
    run();

    getrusage(RUSAGE_SELF, &use);
    printf("done %ld failed %ld seconds %.6f cpu %.6f\n", done, failed,
           now() - start,
           use.ru_utime.tv_sec + use.ru_stime.tv_sec
           + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    SSL_CTX_free(ctx);
    return records && fclose(records) != 0;
}
