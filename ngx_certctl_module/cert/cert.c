
/*
 * Reads what a certificate says of itself, so that handshakes need not.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/certctl.h"


const char  *ngx_certctl_source_text[NGX_CERTCTL_SOURCES] = {
#define X(NAME, text)  text,
    CERTCTL_SOURCES(X)
#undef X
};


const char *
ngx_certctl_cert_fill(ngx_certctl_cert_t *cert, X509 *x509)
{
    char                       url[256];
    EVP_PKEY                  *key;
    const char                *rule;
    struct certctl_x509_info   info;

    ngx_memzero(cert, sizeof(ngx_certctl_cert_t));

    cert->x509 = x509;

    rule = certctl_x509_info(x509, &info);
    if (rule) {
        return rule;
    }

    key = X509_get0_pubkey(x509);

    cert->kind = (key && (EVP_PKEY_is_a(key, "RSA")
                          || EVP_PKEY_is_a(key, "RSA-PSS")))
                 ? CERTCTL_KIND_RSA : CERTCTL_KIND_ECDSA;

    cert->not_before = info.not_before;
    cert->not_after = info.not_after;
    cert->must_staple = info.must_staple;
    ngx_memcpy(cert->digest, info.digest, sizeof(cert->digest));
    ngx_memcpy(cert->fingerprint, info.fingerprint, CERTCTL_HEX256);

    certctl_x509_ocsp_url(x509, url, sizeof(url));
    cert->ocsp = (url[0] != '\0');

    return NULL;
}


void
ngx_certctl_cert_borrow(ngx_certctl_cert_t *cert, SSL_CTX *ctx)
{
    X509            *x509;
    u_char          *file;
    STACK_OF(X509)  *chain;

    x509 = SSL_CTX_get0_certificate(ctx);

    /* one with an impossible time is NGINX's to serve, not ours to judge */

    (void) ngx_certctl_cert_fill(cert, x509);

    cert->key = SSL_CTX_get0_privatekey(ctx);
    cert->source = NGX_CERTCTL_STATIC;

    if (SSL_CTX_get0_chain_certs(ctx, &chain) == 1) {
        cert->chain = chain;
    }

    file = X509_get_ex_data(x509, ngx_ssl_certificate_name_index);

    if (file == NULL) {
        ngx_str_set(&cert->name, "");

    } else if (ngx_strncmp(file, "data:", sizeof("data:") - 1) == 0) {

        /* the certificate's own text, perhaps with its key: a secret */

        ngx_str_set(&cert->name, "data:");

    } else {
        cert->name.data = file;
        cert->name.len = ngx_strlen(file);
    }
}


void
ngx_certctl_cert_unstaple(ngx_certctl_cert_t *cert)
{
    if (cert->staple.data) {
        ngx_free(cert->staple.data);
        ngx_str_null(&cert->staple);
    }

    cert->staple_good = 0;
    cert->staple_withdrawn = 0;
    cert->staple_bad = 0;
}


void
ngx_certctl_cert_uncompress(ngx_certctl_cert_t *cert)
{
    ngx_uint_t  i;

    if (cert->compressed == NULL) {
        return;
    }

    for (i = 0; i < NGX_CERTCTL_COMPRESSED; i++) {
        OPENSSL_free(cert->compressed[i].data);
    }

    ngx_free(cert->compressed);
    cert->compressed = NULL;
}


ngx_uint_t
ngx_certctl_cert_valid(ngx_certctl_cert_t *cert, time_t now)
{
    return cert->not_before <= now && now < cert->not_after;
}
