
/*
 * TLS-ALPN-01 (RFC 8737): a client that offers only acme-tls/1 gets the
 * certificate of the challenge for its name, if one is pending, before NGINX
 * selects a server.  All other clients continue in NGINX.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/acme.h"
#include "tls/handshake.h"
#include "tls/sessions.h"


/* How a connection is closed after its challenge; close is NULL where none is
   answered. */

typedef struct {
    ngx_certctl_t             *certctl;
    ngx_connection_handler_pt  close;
} ngx_certctl_hello_t;


/* the list of protocols, as it stands in the extension (RFC 7301 3.1) */

static const u_char  ngx_certctl_acme_alpn[] =
    "\x00\x0b\x0a" "acme-tls/1";

/* a worker's, made for its first challenge */

static EVP_PKEY  *ngx_certctl_acme_key;

/* index of ngx_certctl_hello_t in the ex_data of an SSL that was answered */

static int  ngx_certctl_hello_index = -1;


static int
ngx_certctl_acme_alpn_cb(SSL *ssl, const u_char **out, u_char *outlen,
    const u_char *in, unsigned int inlen, void *arg)
{
    /* the only one in the list: ngx_certctl_acme_requested() */

    *out = &ngx_certctl_acme_alpn[3];
    *outlen = ngx_certctl_acme_alpn[2];

    return SSL_TLSEXT_ERR_OK;
}


static int
ngx_certctl_acme_servername_cb(SSL *ssl, int *al, void *arg)
{
    return SSL_TLSEXT_ERR_OK;
}


/*
 * Not a context of NGINX's: its callbacks for names, protocols and staples need
 * a server, and the server of the name may reject handshakes.
 */

static SSL_CTX *
ngx_certctl_acme_ctx(void)
{
    SSL_CTX  *ctx;

    static const u_char  id[] = "certctl acme-tls/1";

    ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        return NULL;
    }

    /* another id than any server's: no session of theirs is resumed here */

    if (SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) != 1
        || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
    {
        SSL_CTX_free(ctx);
        return NULL;
    }

    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, ngx_certctl_acme_alpn_cb, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx,
                                         ngx_certctl_acme_servername_cb);

    return ctx;
}


ngx_int_t
ngx_certctl_acme_init(ngx_conf_t *cf, ngx_certctl_t *certctl)
{
    if (ngx_certctl_hello_index == -1) {
        ngx_certctl_hello_index = SSL_get_ex_new_index(0, NULL, NULL, NULL,
                                                       NULL);
    }

    certctl->acme = ngx_certctl_acme_ctx();

    if (certctl->acme == NULL || ngx_certctl_hello_index == -1) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "cannot make the TLS context of TLS-ALPN-01");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* The SNI name in lower case; OpenSSL has not parsed it yet (RFC 6066 3). */

static ngx_int_t
ngx_certctl_hello_name(SSL *ssl, u_char *name, size_t *len)
{
    size_t         n;
    const u_char  *p;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1
        || n <= 5 || n > 5 + NGX_CERTCTL_HOST_MAX)
    {
        return NGX_DECLINED;
    }

    /* length of the list, type of its only name, length of that */

    if (((size_t) p[0] << 8 | p[1]) != n - 2
        || p[2] != TLSEXT_NAMETYPE_host_name
        || ((size_t) p[3] << 8 | p[4]) != n - 5)
    {
        return NGX_DECLINED;
    }

    *len = n - 5;
    ngx_strlow(name, (u_char *) p + 5, *len);

    return NGX_OK;
}


/* NGX_OK with the name of a client that offers only acme-tls/1. */

static ngx_int_t
ngx_certctl_acme_requested(SSL *ssl, u_char *name, size_t *len)
{
    size_t         n;
    const u_char  *p;

    if (SSL_client_hello_get0_ext(ssl,
                          TLSEXT_TYPE_application_layer_protocol_negotiation,
                          &p, &n)
        != 1
        || n != sizeof(ngx_certctl_acme_alpn) - 1
        || ngx_memcmp(p, ngx_certctl_acme_alpn, n) != 0)
    {
        return NGX_DECLINED;
    }

    return ngx_certctl_hello_name(ssl, name, len);
}


/* Since 1.29.2 NGINX selects the server of the name here. */

static int
ngx_certctl_hello_server(SSL *ssl, int *al)
{
    int        rc;
    u_char     name[NGX_CERTCTL_HOST_MAX];
    ngx_str_t  sni;

    rc = ngx_certctl_client_hello(ssl, al);
    sni.data = name;

    if (rc == SSL_CLIENT_HELLO_SUCCESS
        && ngx_certctl_hello_name(ssl, name, &sni.len) == NGX_OK)
    {
        ngx_certctl_use_default(ssl, &sni);
    }

    return rc;
}


/*
 * The connection is closed after its handshake.  NGINX sets its handler after
 * the first flight, so ours is set after the last one.  If one call has read
 * both, no handler is called: then http checks c->close before it reads a
 * request, and the stream module in its next phase.
 */

static void
ngx_certctl_acme_info_cb(const SSL *ssl, int where, int ret)
{
    ngx_connection_t     *c;
    ngx_certctl_hello_t  *hello;

    if (where & SSL_CB_HANDSHAKE_DONE) {
        c = ngx_ssl_get_connection((SSL *) ssl);
        hello = SSL_get_ex_data(ssl, ngx_certctl_hello_index);

        c->ssl->no_wait_shutdown = 1;
        c->ssl->handler = hello->close;
        c->close = 1;
    }
}


static ngx_int_t
ngx_certctl_acme_use(SSL *ssl, ngx_connection_t *c,
    ngx_certctl_hello_t *hello, ngx_certctl_challenge_t *challenge)
{
    X509        *x509;
    ngx_uint_t   used;

    if (ngx_certctl_acme_key == NULL) {
        ngx_certctl_acme_key = EVP_EC_gen("P-256");
    }

    x509 = ngx_certctl_acme_key
           ? ngx_certctl_acme_cert(challenge, ngx_certctl_acme_key) : NULL;

    if (x509 == NULL) {
        ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                      "cannot make the certificate of a TLS-ALPN-01 challenge");
        return NGX_ERROR;
    }

    used = SSL_set_ex_data(ssl, ngx_certctl_hello_index, hello) == 1
           && SSL_set_SSL_CTX(ssl, hello->certctl->acme)
           && SSL_use_cert_and_key(ssl, x509, ngx_certctl_acme_key, NULL, 1)
              == 1;

    X509_free(x509);

    if (!used) {
        /* ... the handshake fails for lack of a certificate */

        ngx_ssl_error(NGX_LOG_ERR, c->log, 0,
                      "the certificate of a TLS-ALPN-01 challenge cannot "
                      "be used");
        return NGX_OK;
    }

    /* settings that the connection has from the server: RFC 8737 3 requires
       TLS 1.2, and validators send no certificate */

    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    SSL_clear_options(ssl, SSL_OP_NO_TLSv1_2|SSL_OP_NO_TLSv1_3);
    SSL_set_options(ssl, SSL_OP_NO_TLSv1|SSL_OP_NO_TLSv1_1|SSL_OP_NO_TICKET);
    SSL_set_num_tickets(ssl, 0);
    SSL_set_max_early_data(ssl, 0);

    SSL_set_info_callback(ssl, ngx_certctl_acme_info_cb);

    return NGX_OK;
}


static int
ngx_certctl_hello_cb(SSL *ssl, int *al, void *arg)
{
    ngx_certctl_hello_t  *hello = arg;

    size_t                   len;
    u_char                   name[NGX_CERTCTL_HOST_MAX];
    ngx_connection_t        *c;
    ngx_certctl_t           *certctl;
    ngx_certctl_challenge_t  challenge;

    c = ngx_ssl_get_connection(ssl);
    certctl = hello->certctl;

    if (certctl->zone) {
        ngx_certctl_sessions_check(certctl, ssl, c);
    }

    if (hello->close == NULL
        || ngx_certctl_acme_requested(ssl, name, &len) != NGX_OK
        || ngx_certctl_is_quic(c) || certctl->zone == NULL
        || ngx_certctl_challenge_find(&certctl->zone->challenges,
                                      NGX_CERTCTL_TLS_ALPN_01, name, len,
                                      ngx_time(), &challenge)
           != NGX_OK
        || ngx_certctl_acme_use(ssl, c, hello, &challenge) != NGX_OK)
    {
        return ngx_certctl_hello_server(ssl, al);
    }

    ngx_log_error(NGX_LOG_INFO, c->log, 0,
                  "certctl: a TLS-ALPN-01 challenge is answered");

    (void) ngx_atomic_fetch_add(&certctl->zone->challenges.answered, 1);

    return SSL_CLIENT_HELLO_SUCCESS;
}


ngx_int_t
ngx_certctl_acme_set_callback(ngx_conf_t *cf, ngx_certctl_t *certctl,
    SSL_CTX *ctx, ngx_connection_handler_pt close)
{
    ngx_certctl_hello_t  *hello;

    hello = ngx_palloc(cf->pool, sizeof(ngx_certctl_hello_t));
    if (hello == NULL) {
        return NGX_ERROR;
    }

    hello->certctl = certctl;
    hello->close = close;

    SSL_CTX_set_client_hello_cb(ctx, ngx_certctl_hello_cb, hello);

    return NGX_OK;
}


void
ngx_certctl_acme_free(ngx_certctl_t *certctl)
{
    SSL_CTX_free(certctl->acme);

    EVP_PKEY_free(ngx_certctl_acme_key);
    ngx_certctl_acme_key = NULL;
}
