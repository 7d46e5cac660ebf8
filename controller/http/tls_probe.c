/* One TLS handshake with a deadline, to see what a listener serves. */
#include "tls_probe.h"

#include "http_internal.h"
#include "ossl.h"
#include "x509_chain.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct addrinfo  addresses;

CLEANUP_FUNC(addresses, addresses *, freeaddrinfo)
CLEANUP_FUNC(ssl_ctx, SSL_CTX *, SSL_CTX_free)
CLEANUP_FUNC(ssl, SSL *, SSL_free)


static double
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static bool
wait_for(int fd, short events, double deadline, struct error *err)
{
    int            n;
    double         left;
    struct pollfd  poll_fd = { .fd = fd, .events = events };

    do {
        left = deadline - now_ms();
        n = left > 0 ? poll(&poll_fd, 1, (int) left + 1) : 0;
    } while (n == -1 && errno == EINTR);

    if (n == 0) {
        return error_set(err, ERR_TIMEOUT, "no answer in time");
    }

    return n > 0 || error_set(err, ERR_INTERNAL, "poll: %s", strerror(errno));
}

static int
connect_one(const struct addrinfo *address, double deadline, struct error *err)
{
    int        connected, failure;
    socklen_t  len = sizeof(failure);

    CLEANUP(fd) int  fd = socket(address->ai_family,
                                 SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        error_set(err, ERR_INTERNAL, "socket: %s", strerror(errno));
        return -1;
    }

    if (connect(fd, address->ai_addr, address->ai_addrlen) == -1) {
        if (errno != EINPROGRESS) {
            error_set(err, ERR_PEER, "connect: %s", strerror(errno));
            return -1;
        }

        if (!wait_for(fd, POLLOUT, deadline, err)) {
            return -1;
        }

        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) == -1
            || failure != 0)
        {
            error_set(err, ERR_PEER, "connect: %s", strerror(failure));
            return -1;
        }
    }

    connected = fd;
    fd = -1;

    return connected;
}

/* The first address that takes the connection; that one is refused is only said
 * when none was tried. */
static int
connect_any(const struct networks *allowed, const struct tls_probe_request *req,
    double deadline, struct error *err)
{
    int           fd, rc;
    char          port[16];
    bool          tried = false;
    struct error  refused;

    const struct addrinfo           hints = { .ai_socktype = SOCK_STREAM,
                                              .ai_flags = AI_ADDRCONFIG
                                                        | AI_NUMERICSERV };
    CLEANUP(addresses) addresses   *found = NULL;

    snprintf(port, sizeof(port), "%d", req->port);

    rc = getaddrinfo(req->host, port, &hints, &found);
    if (rc != 0) {
        error_set(err, ERR_PEER, "%s", gai_strerror(rc));
        return -1;
    }

    for (struct addrinfo *a = found; a; a = a->ai_next) {
        if (!http_guard(allowed, req->reach, a->ai_addr, &refused)) {
            *err = tried ? *err : refused;
            continue;
        }

        tried = true;
        fd = connect_one(a, deadline, err);
        if (fd != -1) {
            return fd;
        }
    }

    return -1;
}

static bool
handshake(SSL *ssl, int fd, double deadline, struct error *err)
{
    int          rc;
    const char  *reason;

    for ( ;; ) {
        ERR_clear_error();
        errno = 0;
        rc = SSL_connect(ssl);

        if (rc == 1) {
            return true;
        }

        switch (SSL_get_error(ssl, rc)) {
        case SSL_ERROR_WANT_READ:
            if (!wait_for(fd, POLLIN, deadline, err)) {
                return false;
            }
            break;

        case SSL_ERROR_WANT_WRITE:
            if (!wait_for(fd, POLLOUT, deadline, err)) {
                return false;
            }
            break;

        default:
            reason = ERR_reason_error_string(ERR_peek_error());
            error_set(err, ERR_PEER, "TLS handshake: %s",
                      reason ? reason
                             : errno ? strerror(errno) : "connection closed");
            ERR_clear_error();
            return false;
        }
    }
}

static SSL *
prepare(SSL_CTX *ctx, const struct tls_probe_request *req, int fd,
    struct error *err)
{
    CLEANUP(ssl) SSL  *ssl = ctx ? SSL_new(ctx) : NULL;

    if (!ssl || SSL_set_fd(ssl, fd) != 1) {
        error_set_ossl(err, ERR_INTERNAL, "TLS client");
        return NULL;
    }

    /* what is old or weak is to be seen, too */
    SSL_set_security_level(ssl, 0);
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);

    if (req->sni && SSL_set_tlsext_host_name(ssl, req->sni) != 1) {
        error_set(err, ERR_INVALID, "RFC 6066 3: not a server name");
        return NULL;
    }

    if (req->sigalgs && SSL_set1_sigalgs_list(ssl, req->sigalgs) != 1) {
        error_set(err, ERR_INVALID, "RFC 8446 4.2.3: signature algorithms %s",
                  req->sigalgs);
        return NULL;
    }

    if (req->staple) {
        SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    }

    return TAKE(ssl);
}

static bool
look(SSL *ssl, http_leaf *check, struct tls_probe *ret, struct error *err)
{
    long                       len;
    const char                *rule;
    unsigned char             *der;
    STACK_OF(X509)            *chain = SSL_get_peer_cert_chain(ssl);
    struct certctl_x509_info   info;

    if (!chain || sk_X509_num(chain) == 0) {
        return error_set(err, ERR_PEER, "no certificate was served");
    }

    rule = certctl_x509_info(sk_X509_value(chain, 0), &info);
    if (rule == NULL && check) {
        rule = check(sk_X509_value(chain, 0));
    }

    if (rule) {
        return error_set(err, ERR_PEER, "served certificate: %s", rule);
    }

    CLEANUP(ossl_mem) char      *pem = certctl_chain_to_pem(chain);
    CLEANUP(mem) char           *copy = pem ? strdup(pem) : NULL;

    len = SSL_get_tlsext_status_ocsp_resp(ssl, &der);

    CLEANUP(ossl_buf) unsigned char  *staple = len > 0
                                               ? OPENSSL_memdup(der, len)
                                               : NULL;

    if (!copy || (len > 0 && !staple)) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    memcpy(ret->fingerprint, info.fingerprint, sizeof(info.fingerprint));
    snprintf(ret->protocol, sizeof(ret->protocol), "%s", SSL_get_version(ssl));
    ret->chain_pem = TAKE(copy);
    ret->staple_len = staple ? len : 0;
    ret->staple = TAKE(staple);

    return true;
}

bool
tls_probe(const struct http_client *client,
    const struct tls_probe_request *req, struct tls_probe *ret,
    struct error *err)
{
    double            begin = now_ms();
    double            deadline = begin + (req->timeout_ms ? req->timeout_ms
                                                          : TLS_PROBE_MS);
    struct tls_probe  seen = { 0 };

    CLEANUP(fd) int           fd = connect_any(http_client_allowed(client), req,
                                               deadline, err);
    CLEANUP(ssl_ctx) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    CLEANUP(ssl) SSL         *ssl = NULL;

    if (fd != -1) {
        ssl = prepare(ctx, req, fd, err);
    }

    if (!ssl || !handshake(ssl, fd, deadline, err)) {
        return error_prefix(err, "%s:%d (%s)", req->host, req->port,
                            req->sni ? req->sni : "no SNI");
    }

    seen.ms = now_ms() - begin;

    if (!look(ssl, req->check, &seen, err)) {
        return error_prefix(err, "%s:%d (%s)", req->host, req->port,
                            req->sni ? req->sni : "no SNI");
    }

    SSL_shutdown(ssl);
    *ret = seen;

    return true;
}

void
tls_probe_free(struct tls_probe *probe)
{
    free(probe->chain_pem);
    OPENSSL_free(probe->staple);
    memset(probe, 0, sizeof(*probe));
}
