
/*
 * Sets the selected certificates in a handshake, and counts the one it uses.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cache.h"
#include "tls/choose.h"
#include "tls/handshake.h"
#include "tls/server.h"
#include "tls/trust.h"
#include "tls/worker.h"


/* Keeps what a connection uses alive until it closes. */

typedef struct {
    ngx_certctl_t         *certctl;
    ngx_certctl_server_t  *server;
    ngx_certctl_stored_t  *stored[CERTCTL_KINDS];
    unsigned               counted:1;
} ngx_certctl_handshake_t;


/* index of ngx_certctl_handshake_t in an SSL's ex_data */

static int  ngx_certctl_ssl_index = -1;


void
ngx_certctl_sni(SSL *ssl, ngx_str_t *name)
{
    name->data = (u_char *) SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    name->len = name->data ? ngx_strlen(name->data) : 0;
}


/*
 * The context of the default server of the address, if NGINX would use that
 * without certctl; else NULL.
 */

static ngx_certctl_context_t *
ngx_certctl_default_context(ngx_certctl_server_t *server, ngx_connection_t *c)
{
    ngx_uint_t              i;
    ngx_certctl_context_t  *context;

    context = server->contexts.elts;

    for (i = 0; i < server->contexts.nelts; i++) {

        if (context[i].ctx == c->ssl->session_ctx) {
            return &context[i];
        }
    }

    return NULL;
}


/* Undoes what NGINX has set for the server of the name. */

static void
ngx_certctl_use_context(SSL *ssl, ngx_connection_t *c, SSL_CTX *ctx)
{
    uint64_t  options;

    if (SSL_set_SSL_CTX(ssl, ctx) == NULL) {
        ngx_ssl_error(NGX_LOG_ALERT, c->log, 0, "SSL_set_SSL_CTX() failed");
        return;
    }

    options = SSL_CTX_get_options(ctx) | SSL_OP_NO_RENEGOTIATION;

    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx),
                   SSL_CTX_get_verify_callback(ctx));
    SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(ctx));

    if (ngx_certctl_is_quic(c)) {
        options &= ~SSL_OP_ENABLE_MIDDLEBOX_COMPAT;
    }

    SSL_clear_options(ssl, SSL_get_options(ssl) & ~options);
    SSL_set_options(ssl, options);
}


void
ngx_certctl_use_default(SSL *ssl, ngx_str_t *sni)
{
    ngx_connection_t       *c;
    ngx_certctl_name_t      name;
    ngx_certctl_choice_t    choice;
    ngx_certctl_server_t   *server;
    ngx_certctl_context_t  *context;

    server = ngx_certctl_ssl_server(ssl);

    if (server == NULL || server->contexts.nelts == 0) {
        return;
    }

    c = ngx_ssl_get_connection(ssl);
    context = ngx_certctl_default_context(server, c);

    if (context == NULL) {
        return;
    }

    ngx_certctl_choose_first(server, sni, &name, &choice);

    if (!choice.named) {
        ngx_certctl_use_context(ssl, c, context->ctx);
    }
}


static void
ngx_certctl_handshake_cleanup(void *data)
{
    ngx_certctl_handshake_t  *hs = data;

    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        ngx_certctl_unref(hs->certctl, hs->stored[i]);
    }
}


/* NULL without memory. */

static ngx_certctl_handshake_t *
ngx_certctl_handshake(SSL *ssl, ngx_connection_t *c,
    ngx_certctl_server_t *server)
{
    ngx_pool_cleanup_t       *cln;
    ngx_certctl_handshake_t  *hs;

    hs = SSL_get_ex_data(ssl, ngx_certctl_ssl_index);
    if (hs) {
        return hs;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_certctl_handshake_t));
    if (cln == NULL) {
        return NULL;
    }

    hs = cln->data;
    ngx_memzero(hs, sizeof(ngx_certctl_handshake_t));

    hs->certctl = server->certctl;
    cln->handler = ngx_certctl_handshake_cleanup;

    if (SSL_set_ex_data(ssl, ngx_certctl_ssl_index, hs) != 1) {
        ngx_ssl_error(NGX_LOG_ALERT, c->log, 0, "SSL_set_ex_data() failed");
        return NULL;
    }

    return hs;
}


static void
ngx_certctl_handshake_set_stored(ngx_certctl_handshake_t *hs,
    ngx_certctl_choice_t *choice)
{
    ngx_uint_t             i;
    ngx_certctl_stored_t  *old;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        old = hs->stored[i];
        hs->stored[i] = NULL;

        if (choice->cert[i] && choice->cert[i]->source == NGX_CERTCTL_STORE) {
            hs->stored[i] = (ngx_certctl_stored_t *) choice->cert[i];
            ngx_certctl_ref(hs->stored[i]);
        }

        ngx_certctl_unref(hs->certctl, old);
    }
}


ngx_certctl_cert_t *
ngx_certctl_sent(SSL *ssl, ngx_certctl_server_t *server)
{
    X509                     *x509;
    ngx_uint_t                i;
    ngx_certctl_cert_t       *cert;
    ngx_certctl_handshake_t  *hs;

    x509 = SSL_get_certificate(ssl);
    hs = SSL_get_ex_data(ssl, ngx_certctl_ssl_index);

    for (i = 0; hs && i < CERTCTL_KINDS; i++) {

        if (hs->stored[i] && hs->stored[i]->cert.x509 == x509) {
            return &hs->stored[i]->cert;
        }
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
    ngx_str_t             sni;
    ngx_certctl_choice_t  choice;

    if (!SSL_session_reused(ssl)) {
        return ngx_certctl_sent(ssl, server);
    }

    ngx_certctl_sni(ssl, &sni);
    ngx_certctl_choose(server, &sni, &choice);

    return choice.cert[0] ? choice.cert[0] : choice.cert[1];
}


/* OpenSSL has selected one of two certificates when its next state begins. */

static void
ngx_certctl_info_cb(const SSL *ssl, int where, int ret)
{
    ngx_certctl_cert_t       *cert;
    ngx_certctl_handshake_t  *hs;
    void                    (*next)(const SSL *ssl, int where, int ret);

    next = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl));

    if (next) {
        next(ssl, where, ret);
    }

    hs = SSL_get_ex_data(ssl, ngx_certctl_ssl_index);

    if (hs->counted || where != SSL_CB_ACCEPT_LOOP) {
        return;
    }

    hs->counted = 1;
    cert = ngx_certctl_sent((SSL *) ssl, hs->server);

    if (cert) {
        ngx_certctl_zone_use(hs->certctl->zone, cert->digest, ngx_time());
    }
}


static void
ngx_certctl_count(SSL *ssl, ngx_certctl_handshake_t *hs,
    ngx_certctl_choice_t *choice)
{
    ngx_certctl_cert_t  *cert;
    ngx_certctl_zone_t  *zone;

    if (hs->counted) {
        return;
    }

    zone = hs->certctl->zone;
    cert = choice->cert[0] ? choice->cert[0] : choice->cert[1];

    (void) ngx_atomic_fetch_add(&zone->handshakes, 1);

    if (choice->cert[0] && choice->cert[1]) {
        SSL_set_info_callback(ssl, ngx_certctl_info_cb);

    } else {
        hs->counted = 1;

        if (cert) {
            ngx_certctl_zone_use(zone, cert->digest, ngx_time());
        }
    }

    if (ngx_worker < NGX_CERTCTL_WORKERS
        && zone->workers[ngx_worker].generation != zone->generation)
    {
        ngx_certctl_worker_update(zone);
    }
}


/* Adds the other key type if the client does not support that of choice. */

static void
ngx_certctl_choose_for_client(SSL *ssl, ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *choice)
{
    ngx_certctl_cert_t  *cert, *own;

    cert = choice->cert[0] ? choice->cert[0] : choice->cert[1];
    own = server->certs.elts;

    if (cert == NULL || (choice->cert[0] && choice->cert[1])) {
        return;
    }

    /* the usual case, and the cheapest: there is no other */

    if (choice->second[0] == NULL && choice->second[1] == NULL
        && (server->certs.nelts == 0 || own->source != NGX_CERTCTL_STATIC
            || (server->certs.nelts == 1 && own->kind == cert->kind)))
    {
        return;
    }

    if (!ngx_certctl_client_supports(ssl, cert)) {
        ngx_certctl_choose_second(server, name, choice);
    }
}


/* Whether the context of server lacks cert, which is chosen, or NULL. */

static ngx_uint_t
ngx_certctl_is_missing(ngx_certctl_server_t *server, ngx_certctl_cert_t *cert)
{
    return cert && (cert->source == NGX_CERTCTL_STORE
                    || (cert->source == NGX_CERTCTL_STATIC
                        && server->placeholder));
}


/*
 * SSL_certs_clear() removes the context's certificate of the other key type,
 * and its compressed form (RFC 8879).  Of both types OpenSSL selects one as it
 * does for those of a context.
 */

static ngx_int_t
ngx_certctl_use(SSL *ssl, ngx_connection_t *c, ngx_certctl_server_t *server,
    ngx_certctl_choice_t *choice)
{
    ngx_uint_t           i, n;
    ngx_certctl_cert_t  *cert;

    SSL_certs_clear(ssl);

    for (n = 0, i = 0; i < CERTCTL_KINDS; i++) {
        cert = choice->cert[i];

        if (cert == NULL) {
            continue;
        }

        if (SSL_use_cert_and_key(ssl, cert->x509, cert->key, cert->chain, 1)
            == 1)
        {
            ngx_certctl_compress(ssl, cert);
            n++;
            continue;
        }

        /* such as a key that is too weak for the server's security level */

        choice->cert[i] = NULL;
        ngx_ssl_error(NGX_LOG_CRIT, c->log, 0,
                      "SSL_use_cert_and_key() failed for the stored "
                      "certificate \"%V\"", &cert->name);
    }

    if (n) {
        return NGX_OK;
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {
        (void) SSL_use_cert_and_key(ssl, cert[i].x509, cert[i].key,
                                    cert[i].chain, 1);
    }

    /* else NGINX would take a stale error for the handshake's */

    ERR_clear_error();

    return NGX_DECLINED;
}


/*
 * Returns 1 to continue.  Whatever fails here, the handshake continues with the
 * certificates of its context: only ssl_certificate with variables fails one,
 * as it does without certctl.
 */

static int
ngx_certctl_select(SSL *ssl, ngx_connection_t *c, ngx_certctl_server_t *server)
{
    ngx_str_t                 sni;
    ngx_uint_t                configured;
    ngx_certctl_name_t        name;
    ngx_certctl_choice_t      choice;
    ngx_certctl_context_t    *context;
    ngx_certctl_handshake_t  *hs;

    ngx_certctl_sni(ssl, &sni);
    ngx_certctl_choose_first(server, &sni, &name, &choice);

    context = choice.named ? NULL : ngx_certctl_default_context(server, c);

    if (context) {
        ngx_certctl_use_context(ssl, c, context->ctx);

        if (context->server == NULL) {
            return context->cert_cb ? context->cert_cb(ssl, context->cert_arg)
                                    : 1;
        }

        server = context->server;
        ngx_certctl_choose_first(server, &sni, &name, &choice);
    }

    ngx_certctl_choose_for_client(ssl, server, &name, &choice);

    /* after a HelloRetryRequest we are called again (RFC 8446 4.1.4) */

    hs = ngx_certctl_handshake(ssl, c, server);
    if (hs == NULL) {
        return 1;
    }

    hs->server = server;
    ngx_certctl_handshake_set_stored(hs, &choice);
    ngx_certctl_compress_unless_stapled(ssl, server->certctl, &choice);

    configured = (choice.cert[0] == NULL && choice.cert[1] == NULL);

    if (ngx_certctl_is_missing(server, choice.cert[0])
        || ngx_certctl_is_missing(server, choice.cert[1]))
    {
        configured = (ngx_certctl_use(ssl, c, server, &choice) != NGX_OK);
    }

    ngx_certctl_count(ssl, hs, &choice);

    return configured && server->cert_cb
           ? server->cert_cb(ssl, server->cert_arg) : 1;
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

    if (server->agent) {
        ngx_certctl_trust_use(server->certctl, ssl);
    }

    rc = ngx_certctl_select(ssl, c, server);

    c->log->action = action;

    return rc;
}


ngx_int_t
ngx_certctl_set_callbacks(ngx_certctl_server_t *server)
{
    if (ngx_certctl_ssl_index == -1) {
        ngx_certctl_ssl_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                     NULL);
    }

    if (ngx_certctl_ssl_index == -1) {
        return NGX_ERROR;
    }

    SSL_CTX_set_cert_cb(server->ctx, ngx_certctl_cert_cb, server);

    SSL_CTX_get_tlsext_status_cb(server->ctx, &server->status_cb);
    SSL_CTX_get_tlsext_status_arg(server->ctx, &server->status_arg);

    SSL_CTX_set_tlsext_status_cb(server->ctx, ngx_certctl_status_cb);
    SSL_CTX_set_tlsext_status_arg(server->ctx, server);

    return NGX_OK;
}
