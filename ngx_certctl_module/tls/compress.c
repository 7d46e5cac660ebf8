
/*
 * Compressed certificates (RFC 8879) for those of the store, as NGINX has them
 * for its own with "ssl_certificate_compression on": made once for each version
 * of a record in a worker.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/handshake.h"


#if (NGX_CERTCTL_COMPRESSION)


void
ngx_certctl_compress_unless_stapled(SSL *ssl, ngx_certctl_t *certctl,
    ngx_certctl_choice_t *choice)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    if ((SSL_get_options(ssl) & SSL_OP_NO_TX_CERTIFICATE_COMPRESSION)
        || SSL_get_tlsext_status_type(ssl) != TLSEXT_STATUSTYPE_ocsp)
    {
        return;
    }

    for (i = 0; i < CERTCTL_KINDS; i++) {
        cert = choice->cert[i];

        if (cert
            && ngx_certctl_staple_state(certctl, cert, ngx_time())
               == NGX_CERTCTL_STAPLE_FRESH)
        {
            SSL_set_options(ssl, SSL_OP_NO_TX_CERTIFICATE_COMPRESSION);
        }
    }
}


/*
 * In a connection that never begins: SSL_compress_certs() fails in the middle
 * of a handshake.
 */

static void
ngx_certctl_compress_make(SSL_CTX *ctx, ngx_certctl_cert_t *cert)
{
    int                        alg;
    SSL                       *ssl;
    ngx_certctl_compressed_t  *form;

    form = ngx_calloc(NGX_CERTCTL_COMPRESSED * sizeof(ngx_certctl_compressed_t),
                      ngx_cycle->log);
    cert->compressed = form;

    ssl = SSL_new(ctx);

    if (form == NULL || ssl == NULL) {
        SSL_free(ssl);
        return;
    }

    SSL_certs_clear(ssl);

    if (SSL_use_cert_and_key(ssl, cert->x509, cert->key, cert->chain, 1) != 1
        || SSL_compress_certs(ssl, TLSEXT_comp_cert_none) != 1)
    {
        ngx_ssl_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "the certificate \"%V\" cannot be compressed",
                      &cert->name);
        SSL_free(ssl);
        return;
    }

    for (alg = 1; alg < NGX_CERTCTL_COMPRESSED; alg++) {
        form[alg].len = SSL_get1_compressed_cert(ssl, alg, &form[alg].data,
                                                 &form[alg].full);
    }

    SSL_free(ssl);
}


void
ngx_certctl_compress(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int                        alg;
    ngx_certctl_compressed_t  *form;

    if (SSL_get_options(ssl) & SSL_OP_NO_TX_CERTIFICATE_COMPRESSION) {
        return;
    }

    ERR_set_mark();

    if (cert->compressed == NULL) {
        ngx_certctl_compress_make(SSL_get_SSL_CTX(ssl), cert);
    }

    form = cert->compressed;

    for (alg = 1; form && alg < NGX_CERTCTL_COMPRESSED; alg++) {

        if (form[alg].len) {
            (void) SSL_set1_compressed_cert(ssl, alg, form[alg].data,
                                            form[alg].len, form[alg].full);
        }
    }

    ERR_pop_to_mark();
}


#endif
