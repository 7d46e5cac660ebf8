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
 *
 * It speaks through GnuTLS, as client and server share the machine: OpenSSL 3.0
 * sets a decoder up for the key of each certificate of a chain, and a client of
 * it takes more of the processors than the server does.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
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
#define PRIORITY         "NORMAL:-VERS-ALL:+VERS-TLS1.3:-GROUP-ALL:+GROUP-X25519"

struct conn {
    int               fd;
    gnutls_session_t  tls;
    bool              shaken;
    int               port;
    char              name[256];
    double            begun;
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

static struct conn                       conns[CONNECTIONS_MAX];
static long                              begun, done, failed;
static double                            start, until;
static FILE                             *records;
static int                               poller;
static gnutls_priority_t                 priority;
static gnutls_certificate_credentials_t  trust;
static volatile sig_atomic_t             stop;


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


/* SHA-256 in hex, or "-" of nothing. */
static const char *
digest(const gnutls_datum_t *data, char *hex)
{
    unsigned char  md[32];

    if (data == NULL || data->size == 0
        || gnutls_hash_fast(GNUTLS_DIG_SHA256, data->data, data->size, md) < 0)
    {
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
    gnutls_datum_t         staple = { NULL, 0 };
    const gnutls_datum_t  *chain = NULL;
    unsigned int           n;
    char                   cert_hex[65], staple_hex[65];

    if (c->tls != NULL) {
        chain = gnutls_certificate_get_peers(c->tls, &n);
    }

    if (chain != NULL) {
        (void) gnutls_ocsp_status_request_get2(c->tls, 0, &staple);
    }

    fprintf(records, "%.6f %.6f %d %s %s %s %s\n", c->begun, now(), c->port,
            c->name, digest(chain, cert_hex), digest(&staple, staple_hex),
            result);
}


/* The first failures are told, then they are only counted. */
static void
tell(struct conn *c, const char *what, int rc)
{
    const char  *text = rc < 0 ? gnutls_strerror(rc)
                        : errno ? strerror(errno) : "the server closed";

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

    if (c->tls != NULL) {
        gnutls_deinit(c->tls);
    }

    c->tls = NULL;
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


static int
session(struct conn *c)
{
    int  rc = gnutls_init(&c->tls, GNUTLS_CLIENT|GNUTLS_NONBLOCK
                                   |GNUTLS_NO_SIGNAL);

    if (rc < 0) {
        c->tls = NULL;
        return rc;
    }

    rc = gnutls_priority_set(c->tls, priority);

    if (rc == 0) {
        rc = gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, trust);
    }

    if (rc == 0) {
        rc = gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, c->name,
                                    strlen(c->name));
    }

    if (options.ca != NULL) {
        gnutls_session_set_verify_cert(c->tls, c->name, 0);
    }

    gnutls_handshake_set_timeout(c->tls, GNUTLS_INDEFINITE_TIMEOUT);
    gnutls_transport_set_int(c->tls, c->fd);

    return rc;
}


static void
begin(struct conn *c)
{
    struct epoll_event  event = { .events = EPOLLIN, .data.ptr = c };
    int                 rc;

    name_of(begun++, c->name, sizeof(c->name));

    c->shaken = false;
    c->port = 0;
    c->begun = now();
    errno = 0;

    if (!dial(c)) {
        tell(c, "connect", 0);
        end(c);
        return;
    }

    rc = session(c);

    if (rc < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        tell(c, "setup", rc);
        end(c);
    }
}


/* Goes as far as what has arrived allows; true when the connection is over. */
static bool
advance(struct conn *c)
{
    int   rc;
    char  byte;

    errno = 0;
    rc = c->shaken ? 0 : gnutls_handshake(c->tls);

    if (rc == 0) {
        c->shaken = true;
        rc = gnutls_record_recv(c->tls, &byte, 1);      /* takes the ticket */
    }

    if (gnutls_session_get_flags(c->tls) & GNUTLS_SFLAGS_SESSION_TICKET) {
        if (records) {
            record(c, "ok");
        }

        done++;
        return true;
    }

    if (rc > 0 || (rc < 0 && !gnutls_error_is_fatal(rc))) {
        return false;
    }

    tell(c, "handshake", rc);
    return true;
}


/* One connection after another in each place, as long as one is wanted. */
static void
go_on(struct conn *c)
{
    while (c->tls == NULL && more() && due()) {
        begin(c);

        if (c->tls != NULL && advance(c)) {
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
        if (conns[i].tls == NULL) {
            continue;
        }

        if (now() - conns[i].begun > options.patience) {
            errno = ETIMEDOUT;
            tell(&conns[i], "handshake", 0);
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


static int
setup(void)
{
    int  rc = gnutls_priority_init(&priority, PRIORITY, NULL);

    if (rc == 0) {
        rc = gnutls_certificate_allocate_credentials(&trust);
    }

    if (rc == 0 && options.ca != NULL) {
        rc = gnutls_certificate_set_x509_trust_file(trust, options.ca,
                                                    GNUTLS_X509_FMT_PEM);
    }

    poller = epoll_create1(EPOLL_CLOEXEC);

    return poller < 0 ? GNUTLS_E_FILE_ERROR : rc < 0 ? rc : 0;
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
    int            rc;

    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: handshake -p port -s name [-c concurrency] "
                "[-t seconds | -n count] [-k names] [-f first] [-C ca.pem] "
                "[-r rate] [-w patience] [-o file]\n");
        return 2;
    }

    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    signal(SIGPIPE, SIG_IGN);

    rc = setup();

    if (rc < 0) {
        fprintf(stderr, "handshake: %s\n", gnutls_strerror(rc));
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
    gnutls_certificate_free_credentials(trust);
    gnutls_priority_deinit(priority);
    return records && fclose(records) != 0;
}
