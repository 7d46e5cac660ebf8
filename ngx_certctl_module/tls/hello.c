
/*
 * Keeps what servers allow in handshakes: their settings, each once, and the
 * hellos of clients that share them.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/err.h>

#include "tls/trial.h"


/* Names of ciphers in one list. */
#define NGX_CERTCTL_CIPHERS_LEN  4096


/* Of ssl_conf_command: no function of OpenSSL returns what it has set. */

static ngx_uint_t
ngx_certctl_same_commands(ngx_array_t *a, ngx_array_t *b)
{
    ngx_uint_t     i;
    ngx_keyval_t  *x, *y;

    if (a == NULL || b == NULL || a->nelts != b->nelts) {
        return a == b;
    }

    x = a->elts;
    y = b->elts;

    for (i = 0; i < a->nelts; i++) {

        /* NUL-terminated, as all parameters of directives */

        if (ngx_strcmp(x[i].key.data, y[i].key.data) != 0
            || ngx_strcmp(x[i].value.data, y[i].value.data) != 0)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_certctl_same_settings(ngx_certctl_server_t *a, ngx_certctl_server_t *b)
{
    int                    i, n;
    SSL_CTX               *x, *y;
    STACK_OF(SSL_CIPHER)  *xs, *ys;

    x = a->ctx;
    y = b->ctx;
    xs = SSL_CTX_get_ciphers(x);
    ys = SSL_CTX_get_ciphers(y);
    n = sk_SSL_CIPHER_num(xs);

    if (n != sk_SSL_CIPHER_num(ys)
        || SSL_CTX_get_options(x) != SSL_CTX_get_options(y)
        || SSL_CTX_get_security_level(x) != SSL_CTX_get_security_level(y)
        || SSL_CTX_get_min_proto_version(x) != SSL_CTX_get_min_proto_version(y)
        || SSL_CTX_get_max_proto_version(x) != SSL_CTX_get_max_proto_version(y)
        || !ngx_certctl_same_commands(a->commands, b->commands))
    {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (sk_SSL_CIPHER_value(xs, i) != sk_SSL_CIPHER_value(ys, i)) {
            return 0;
        }
    }

    return 1;
}


/* NGINX's own looks for a connection, which there is none of. */

static void
ngx_certctl_hello_info(const SSL *ssl, int where, int ret)
{
    /* void */
}


/* "" when the server has no cipher with RSA key exchange. */

static void
ngx_certctl_hello_ciphers(SSL_CTX *ctx, char *text, size_t size)
{
    int                    i;
    u_char                *p, *last;
    const SSL_CIPHER      *cipher;
    STACK_OF(SSL_CIPHER)  *ciphers;

    p = (u_char *) text;
    last = p + size - 1;
    ciphers = SSL_CTX_get_ciphers(ctx);

    for (i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        cipher = sk_SSL_CIPHER_value(ciphers, i);

        if (SSL_CIPHER_get_kx_nid(cipher) == NID_kx_rsa) {
            p = ngx_snprintf(p, last - p, "%s:", SSL_CIPHER_get_name(cipher));
        }
    }

    *p = '\0';
}


static ngx_uint_t
ngx_certctl_hello_limit(SSL *ssl, SSL_CTX *ctx, ngx_certctl_hello_e hello)
{
    int   min, max;
    char  ciphers[NGX_CERTCTL_CIPHERS_LEN];

    min = SSL_CTX_get_min_proto_version(ctx);
    max = SSL_CTX_get_max_proto_version(ctx);

    if (hello == NGX_CERTCTL_HELLO_TLS13) {
        return (max == 0 || max >= TLS1_3_VERSION)
               && SSL_set_min_proto_version(ssl, TLS1_3_VERSION) == 1;
    }

    if (min > TLS1_2_VERSION
        || ((max == 0 || max > TLS1_2_VERSION)
            && SSL_set_max_proto_version(ssl, TLS1_2_VERSION) != 1))
    {
        return 0;
    }

    if (hello == NGX_CERTCTL_HELLO_TLS12) {
        return 1;
    }

    ngx_certctl_hello_ciphers(ctx, ciphers, sizeof(ciphers));

    return ciphers[0] && SSL_set_cipher_list(ssl, ciphers) == 1;
}


/*
 * NGINX's context as that of a client.  The groups of key exchange are no
 * matter of the certificate, and in TLS 1.2 those of the client alone decide
 * which curves it may be of (RFC 8422 5.1): all are offered.
 */

static ngx_int_t
ngx_certctl_hello(SSL_CTX *ctx, ngx_certctl_hello_e hello, ngx_pool_t *pool,
    ngx_str_t *ret)
{
    BIO               *in, *out;
    SSL               *ssl;
    char              *data;
    ngx_int_t          rc;
    ngx_connection_t   c;

    rc = NGX_ERROR;
    ssl = SSL_new(ctx);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());

    if (ssl == NULL || in == NULL || out == NULL) {
        BIO_free(in);
        BIO_free(out);
        goto done;
    }

    SSL_set_bio(ssl, in, out);

    /* callbacks of NGINX that the context has (QUIC's) look for a connection */

    ngx_memzero(&c, sizeof(ngx_connection_t));
    c.type = SOCK_STREAM;
    c.log = ngx_cycle->log;

    if (SSL_set_ex_data(ssl, ngx_ssl_connection_index, &c) != 1) {
        goto done;
    }

    SSL_set_info_callback(ssl, ngx_certctl_hello_info);
    SSL_set_connect_state(ssl);

    rc = NGX_OK;

    if (ngx_certctl_hello_limit(ssl, ctx, hello)
        && SSL_set1_groups_list(ssl, "P-256:X25519:P-384:P-521") == 1
        && SSL_get_error(ssl, SSL_do_handshake(ssl)) == SSL_ERROR_WANT_READ)
    {
        ret->len = BIO_get_mem_data(out, &data);
        ret->data = ngx_pnalloc(pool, ret->len);

        if (ret->data) {
            ngx_memcpy(ret->data, data, ret->len);

        } else {
            rc = NGX_ERROR;
        }
    }

done:

    SSL_free(ssl);

    return rc;
}


/* The place of the server's settings among all, a new one if need be. */

static ngx_int_t
ngx_certctl_settings_of(ngx_certctl_t *certctl, ngx_certctl_server_t *server,
    ngx_pool_t *pool)
{
    ngx_uint_t               i;
    ngx_certctl_settings_t  *settings;

    settings = certctl->settings.elts;

    for (i = 0; i < certctl->settings.nelts; i++) {

        if (ngx_certctl_same_settings(settings[i].server, server)) {
            server->settings = i;
            return NGX_OK;
        }
    }

    server->settings = NGX_CERTCTL_SETTINGS_NONE;

    if (i == NGX_CERTCTL_SETTINGS_MAX) {
        return NGX_OK;
    }

    settings = ngx_array_push(&certctl->settings);
    if (settings == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(settings, sizeof(ngx_certctl_settings_t));

    server->settings = i;
    settings->server = server;
    settings->level = SSL_CTX_get_security_level(server->ctx);

    for (i = 0; i < NGX_CERTCTL_HELLOS; i++) {

        if (ngx_certctl_hello(server->ctx, i, pool, &settings->hello[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_certctl_hello_init(ngx_certctl_t *certctl, ngx_pool_t *pool)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_certctl_server_t  **server;

    if (ngx_array_init(&certctl->settings, pool, 4,
                       sizeof(ngx_certctl_settings_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = NGX_OK;
    server = certctl->servers.elts;

    ERR_set_mark();

    for (i = 0; i < certctl->servers.nelts && rc == NGX_OK; i++) {
        rc = server[i]->reject ? NGX_OK
                               : ngx_certctl_settings_of(certctl, server[i],
                                                         pool);
    }

    ERR_pop_to_mark();

    return rc;
}
