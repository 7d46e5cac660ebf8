
/*
 * Puts the chosen certificate into a handshake, and remembers which it was.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cache.h"
#include "tls/choose.h"
#include "tls/client.h"
#include "tls/handshake.h"
#include "tls/staple.h"
#include "tls/worker.h"


/* What a connection was given; keeps it alive until the connection closes. */

typedef struct {
    ngx_certctl_t         *certctl;
    ngx_certctl_stored_t  *stored;
} ngx_certctl_given_t;


/* index of ngx_certctl_given_t in an SSL's ex_data */

static int  ngx_certctl_ssl_index = -1;


ngx_int_t
ngx_certctl_init_handshake(void)
{
    if (ngx_certctl_ssl_index == -1) {
        ngx_certctl_ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                          NULL);
    }

    return ngx_certctl_ssl_index == -1 ? NGX_ERROR : NGX_OK;
}


static void
ngx_certctl_asked(SSL *ssl, ngx_str_t *name)
{
    name->data = (u_char *) SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    name->len = name->data ? ngx_strlen(name->data) : 0;
}


/* ECDSA before RSA, where both kinds are there and the client knows both. */

static ngx_certctl_cert_t *
ngx_certctl_pick(SSL *ssl, ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *choice)
{
    ngx_uint_t           i, kinds;
    ngx_certctl_cert_t *cert, *first;

    kinds = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        kinds += (choice->cert[i] || choice->second[i]);
    }

    /* nothing to pick from: the usual case, and the cheapest */

    if (kinds == 1 && server->certs.nelts < 2) {
        cert = server->certs.elts;
        first = choice->cert[0] ? choice->cert[0] : choice->cert[1];

        if (server->certs.nelts == 0
            || cert->source != NGX_CERTCTL_STATIC
            || cert->kind == first->kind)
        {
            return first;
        }
    }

    first = NULL;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        cert = choice->cert[i];

        if (cert && ngx_certctl_client_knows(ssl, cert)) {
            return cert;
        }

        if (first == NULL) {
            first = cert;
        }
    }

    if (first == NULL) {
        return NULL;
    }

    /* the client knows none of these: is there one of the other kind? */

    ngx_certctl_choose_second(server, name, choice);

    for (i = 0; i < CERTCTL_KINDS; i++) {
        cert = choice->cert[i];

        if (cert && ngx_certctl_client_knows(ssl, cert)) {
            return cert;
        }
    }

    return first;
}


static void
ngx_certctl_given_cleanup(void *data)
{
    ngx_certctl_given_t  *given = data;

    ngx_certctl_unhold(given->certctl, given->stored);
}


static ngx_certctl_given_t *
ngx_certctl_given(SSL *ssl, ngx_connection_t *c,
    ngx_certctl_server_t *server)
{
    ngx_pool_cleanup_t   *cln;
    ngx_certctl_given_t  *given;

    given = SSL_get_ex_data(ssl, ngx_certctl_ssl_index);
    if (given) {
        return given;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_certctl_given_t));
    if (cln == NULL) {
        return NULL;
    }

    given = cln->data;
    given->certctl = server->certctl;
    given->stored = NULL;

    cln->handler = ngx_certctl_given_cleanup;

    if (SSL_set_ex_data(ssl, ngx_certctl_ssl_index, given) != 1) {
        ngx_ssl_error(NGX_LOG_ALERT, c->log, 0, "SSL_set_ex_data() failed");
        return NULL;
    }

    return given;
}


/*
 * Clearing first takes away what the context has of the other kind, and what
 * was compressed of it (RFC 8879), so that nothing but cert can be sent.
 */

static ngx_int_t
ngx_certctl_use(SSL *ssl, ngx_connection_t *c,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *own;

    SSL_certs_clear(ssl);

    if (SSL_use_cert_and_key(ssl, cert->x509, cert->key, cert->chain, 1)
        == 1)
    {
        return NGX_OK;
    }

    ngx_ssl_error(NGX_LOG_CRIT, c->log, 0,
                  "the stored certificate \"%V\" cannot be used",
                  &cert->name);

    /* such as a key that is too weak for the server's security level */

    own = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {
        (void) SSL_use_cert_and_key(ssl, own[i].x509, own[i].key,
                                    own[i].chain, 1);
    }

    /* else NGINX would take a stale error for the handshake's */

    ERR_clear_error();

    return NGX_DECLINED;
}


/*
 * Returns 1 to go on.  Whatever fails here, the handshake goes on with what
 * its context has: a client is refused only by ssl_certificate with variables,
 * as it would be without us.
 */

static int
ngx_certctl_give(SSL *ssl, ngx_connection_t *c,
    ngx_certctl_server_t *server)
{
    ngx_str_t             asked;
    ngx_uint_t            first;
    ngx_certctl_zone_t   *zone;
    ngx_certctl_cert_t   *cert;
    ngx_certctl_name_t    name;
    ngx_certctl_given_t  *given;
    ngx_certctl_choice_t  choice;

    zone = server->certctl->zone;

    ngx_certctl_asked(ssl, &asked);
    ngx_certctl_name(server, &asked, &name);
    ngx_certctl_choose_first(server, &name, &choice);

    cert = ngx_certctl_pick(ssl, server, &name, &choice);

    /* after a HelloRetryRequest we are called again (RFC 8446 4.1.4) */

    first = (SSL_get_ex_data(ssl, ngx_certctl_ssl_index) == NULL);
    given = ngx_certctl_given(ssl, c, server);

    if (given == NULL) {
        return 1;
    }

    if (first) {
        (void) ngx_atomic_fetch_add(&zone->handshakes, 1);

        if (cert) {
            ngx_certctl_zone_use(zone, cert->digest, ngx_time());
        }

        if (ngx_worker < NGX_CERTCTL_WORKERS
            && zone->workers[ngx_worker].generation != zone->generation)
        {
            ngx_certctl_worker_look(zone);
        }
    }

    ngx_certctl_unhold(given->certctl, given->stored);
    given->stored = NULL;

    if (cert && cert->source == NGX_CERTCTL_STORE) {
        given->stored = (ngx_certctl_stored_t *) cert;
        ngx_certctl_hold(given->stored);

        if (ngx_certctl_use(ssl, c, server, cert) != NGX_OK) {
            cert = NULL;
        }
    }

    if (cert == NULL && server->cert_cb) {
        return server->cert_cb(ssl, server->cert_arg);
    }

    return 1;
}


static int
ngx_certctl_cert_cb(SSL *ssl, void *arg)
{
    ngx_certctl_server_t  *server = arg;

    int                rc;
    char              *action;
    ngx_connection_t  *c;

    c = ngx_ssl_get_connection(ssl);

    action = c->log->action;
    c->log->action = "choosing a certificate";

    rc = ngx_certctl_give(ssl, c, server);

    c->log->action = action;

    return rc;
}


void
ngx_certctl_hook(ngx_certctl_server_t *server)
{
    SSL_CTX_set_cert_cb(server->ctx, ngx_certctl_cert_cb, server);

    SSL_CTX_get_tlsext_status_cb(server->ctx, &server->status_cb);
    SSL_CTX_get_tlsext_status_arg(server->ctx, &server->status_arg);

    SSL_CTX_set_tlsext_status_cb(server->ctx, ngx_certctl_status_cb);
    SSL_CTX_set_tlsext_status_arg(server->ctx, server);
}


ngx_certctl_cert_t *
ngx_certctl_sent(SSL *ssl, ngx_certctl_server_t *server)
{
    X509                 *x509;
    ngx_uint_t            i;
    ngx_certctl_cert_t   *cert;
    ngx_certctl_given_t  *given;

    x509 = SSL_get_certificate(ssl);
    given = SSL_get_ex_data(ssl, ngx_certctl_ssl_index);

    if (given && given->stored && given->stored->cert.x509 == x509) {
        return &given->stored->cert;
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {

        if (cert[i].x509 == x509) {
            return &cert[i];
        }
    }

    return NULL;
}


ngx_certctl_cert_t *
ngx_certctl_served(SSL *ssl, ngx_certctl_server_t *server)
{
    ngx_str_t             asked;
    ngx_uint_t            i;
    ngx_certctl_choice_t  choice;

    if (!SSL_session_reused(ssl)) {
        return ngx_certctl_sent(ssl, server);
    }

    ngx_certctl_asked(ssl, &asked);

    if (ngx_certctl_choose(server, &asked, &choice) != NGX_OK) {
        return NULL;
    }

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice.cert[i]) {
            return choice.cert[i];
        }
    }

    return NULL;
}
