/*
 * The server without a database: it answers what needs none, changes its
 * certificate under open connections, refuses a port that is taken, and stops.
 */
#include "conf.h"
#include "log.h"
#include "ossl.h"
#include "rest.h"
#include "sql_resource.h"
#include "tap.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#define THREADS  3

struct pair { char *cert, *key; };

static bool
hello(struct request *r)
{
    return rest_reply_text(r, "{\"hello\":1}", 11);
}

static bool
asks(struct request *r)
{
    CLEANUP(mem) char  *one = DB_VALUE(r->db, &r->err, SQL_REST_READY);

    return one && hello(r);
}

static const struct route  routes[] = {
    { "GET", "/hello", "", NULL, hello, NULL, ROUTE_PUBLIC | ROUTE_NODB, "", .status = 200 },
    { "GET", "/asks", "", NULL, asks, NULL, ROUTE_PUBLIC, "", .status = 200 },
    { 0 }
};

static char *
bio_text(BIO *bio)
{
    char  *text;
    long   len = BIO_get_mem_data(bio, &text);

    return strndup(text, len);
}

/* A certificate that names nobody but is its own, with its key. */
static struct pair
pair_make(const char *name)
{
    CLEANUP(pkey) EVP_PKEY  *key = EVP_EC_gen("P-256");
    CLEANUP(x509) X509      *cert = X509_new();
    CLEANUP(bio) BIO        *cert_bio = BIO_new(BIO_s_mem());
    CLEANUP(bio) BIO        *key_bio = BIO_new(BIO_s_mem());

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *) name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());

    PEM_write_bio_X509(cert_bio, cert);
    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL);

    return (struct pair) { bio_text(cert_bio), bio_text(key_bio) };
}

static void
pair_free(struct pair *pair)
{
    free(pair->cert);
    free(pair->key);
}

static SSL *
client_open(SSL_CTX *ctx, int port)
{
    struct sockaddr_in  sin = { .sin_family = AF_INET, .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                 fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SSL                *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, fd);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) != 0
        || SSL_connect(ssl) != 1)
    {
        SSL_free(ssl);
        close(fd);
        return NULL;
    }

    return ssl;
}

static void
client_close(SSL *ssl)
{
    int  fd = ssl ? SSL_get_fd(ssl) : -1;

    SSL_free(ssl);

    if (fd >= 0) {
        close(fd);
    }
}

/* The status that a path answers with, 0 when the connection is gone. */
static int
client_get(SSL *ssl, const char *path)
{
    char  text[4096];
    int   n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    int   got = 0;

    if (ssl == NULL || SSL_write(ssl, text, n) != n) {
        return 0;
    }

    do {
        n = SSL_read(ssl, text + got, sizeof(text) - 1 - got);
        got += n > 0 ? n : 0;
        text[got] = '\0';
    } while (n > 0 && strstr(text, "}") == NULL);

    return got > 12 ? (int) strtol(text + 9, NULL, 10) : 0;
}

static bool
shows(SSL *ssl, const char *name)
{
    CLEANUP(x509) X509  *cert = ssl ? SSL_get1_peer_certificate(ssl) : NULL;
    char                 cn[64] = "";

    if (cert) {
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn,
                                  sizeof(cn));
    }

    return strcmp(cn, name) == 0;
}

/* Enough connections that every thread has had one. */
static bool
all_show(SSL_CTX *ctx, int port, const char *name)
{
    bool  all = true;
    SSL  *ssl;

    for (int i = 0; i < 12 * THREADS; i++) {
        ssl = client_open(ctx, port);
        all = all && shows(ssl, name) && client_get(ssl, "/hello") == 200;
        client_close(ssl);
    }

    return all;
}

static void
changes_certificate(struct rest_server *server, SSL_CTX *ctx, SSL *old)
{
    struct pair   fresh = pair_make("fresh"), other = pair_make("other");
    struct error  err = { 0 };

    ok(!rest_use_certificate(server, fresh.cert, other.key, &err)
       && err.code == ERR_INVALID, "a key that does not fit is refused");
    ok(!rest_use_certificate(server, "nonsense", fresh.key, &err),
       "so is what is no certificate");
    ok(all_show(ctx, rest_port(server), "first"), "and nothing changed");

    ok(rest_use_certificate(server, other.cert, other.key, &err)
       && rest_use_certificate(server, fresh.cert, fresh.key, &err),
       "two new ones, one after the other");
    ok(all_show(ctx, rest_port(server), "fresh"), "new connections see the newest");
    ok(client_get(old, "/hello") == 200, "an old connection works on");

    pair_free(&fresh);
    pair_free(&other);
}

static void
refuses_taken_port(const struct rest_context *ctx, const struct pair *pair,
    int port)
{
    struct conf          conf = *ctx->conf;
    struct rest_context  again = { &conf, NULL, routes };
    struct error         err = { 0 };
    char                 listen[32];

    snprintf(listen, sizeof(listen), "127.0.0.1:%d", port);
    conf.listen = listen;

    ok(rest_start(&again, "", pair->cert, pair->key, &err) == NULL
       && err.code == ERR_CONFLICT && strstr(err.detail, listen),
       "a port that is taken is refused by name");

    conf.listen = (char *) "no port";
    ok(rest_start(&again, "", pair->cert, pair->key, &err) == NULL
       && err.code == ERR_INVALID, "an address without a port is refused");
}

/*
 * Seconds that a stop takes while an idle connection is open: there are some for
 * requests that are being answered, and they would be waited for in vain.
 */
static long
stop_seconds(struct rest_server *server, SSL *idle)
{
    struct timespec  from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    rest_stop(server);
    clock_gettime(CLOCK_MONOTONIC, &to);
    ok(client_get(idle, "/hello") == 0, "an idle connection is closed by a stop");

    return to.tv_sec - from.tv_sec;
}

int
main(void)
{
    struct conf          conf = { .listen = (char *) "127.0.0.1:0",
                                  .pki_listen = (char *) "", .api_threads = THREADS };
    struct rest_context  ctx = { &conf, NULL, routes };
    struct pair          first = pair_make("first");
    struct error         err = { 0 };
    SSL_CTX             *tls = SSL_CTX_new(TLS_client_method());
    struct rest_server  *server;
    long                 seconds;
    SSL                 *old;

    signal(SIGPIPE, SIG_IGN);
    log_set_level("error");

    server = rest_start(&ctx, "host=/nonexistent", first.cert, first.key, &err);
    ok(server != NULL && rest_port(server) > 0, "it starts on a port of the system's");
    ok(rest_pki_port(server) == 0, "without a plain listener");

    old = client_open(tls, rest_port(server));
    ok(client_get(old, "/hello") == 200, "what needs no database is answered");
    ok(client_get(old, "/asks") == 503, "what needs one is not: 503");
    ok(client_get(old, "/none") == 404, "and nothing else is known");

    changes_certificate(server, tls, old);
    refuses_taken_port(&ctx, &first, rest_port(server));

    seconds = stop_seconds(server, old);

    /* the machine may have stood still: once more, then */
    for (int i = 0; seconds >= 3 && i < 3; i++) {
        client_close(old);
        server = rest_start(&ctx, "", first.cert, first.key, &err);
        old = client_open(tls, rest_port(server));
        ok(client_get(old, "/hello") == 200, "started again");
        seconds = stop_seconds(server, old);
    }

    ok(seconds < 3, "it stops though a connection is open");
    client_close(old);
    SSL_CTX_free(tls);
    pair_free(&first);

    return done_testing();
}
