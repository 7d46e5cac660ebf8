
/*
 * Certificates in a file's bytes, and digests of the public halves of its
 * private keys: PEM (RFC 7468), DER, PKCS#12 (RFC 7292).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "discover/discover.h"
#include "x509_key.h"
#include "x509_pem.h"


/* What a label's block is, and whether something may follow in its DER. */

static const struct {
    const char  *label;
    ngx_uint_t   more;
} ngx_http_certctl_found_labels[] = {
    { "CERTIFICATE",         0 },
    { "X509 CERTIFICATE",    0 },
    { "TRUSTED CERTIFICATE", 1 },   /* OpenSSL's, with its own settings */
    { NULL, 0 }
};


ngx_int_t
ngx_http_certctl_spki(EVP_PKEY *key, u_char digest[32])
{
    int      len;
    u_char  *der;

    der = NULL;
    len = key ? i2d_PUBKEY(key, &der) : 0;

    if (len <= 0) {
        return NGX_ERROR;
    }

    (void) SHA256(der, len, digest);
    OPENSSL_free(der);

    return NGX_OK;
}


/* Keeps what tells the key from others; NULL is one that stays unknown. */

void
ngx_http_certctl_found_key(ngx_http_certctl_found_t *found, EVP_PKEY *key)
{
    if (key == NULL || found->keys == NGX_HTTP_CERTCTL_FOUND_KEYS
        || ngx_http_certctl_spki(key, found->spki[found->keys]) != NGX_OK)
    {
        found->unknown = 1;
        return;
    }

    found->keys++;
}


/* Takes x509. */

void
ngx_http_certctl_found_add(ngx_http_certctl_found_t *found, X509 *x509)
{
    if (found->certs == NULL) {
        found->certs = sk_X509_new_null();
    }

    if (found->certs == NULL || sk_X509_push(found->certs, x509) == 0) {
        found->why = "no memory";
        X509_free(x509);
    }
}


/* The first block that is broken: what follows it may be so by that. */

static void
ngx_http_certctl_found_why(ngx_http_certctl_found_t *found, const char *why)
{
    if (found->why == NULL) {
        ngx_cpystrn((u_char *) found->text, (u_char *) why,
                    sizeof(found->text));
        found->why = found->text;
    }
}


static void
ngx_http_certctl_found_block(ngx_http_certctl_found_t *found,
    const struct certctl_pem_block *block, ngx_uint_t keys)
{
    X509          *x509;
    EVP_PKEY      *key;
    ngx_uint_t     i;
    const u_char  *p;

    if (keys) {
        if (certctl_pem_is_key(block)) {
            key = certctl_key_from_der(block->der, block->len);
            ngx_http_certctl_found_key(found, key);
            EVP_PKEY_free(key);
        }

        return;
    }

    for (i = 0; ngx_http_certctl_found_labels[i].label; i++) {

        if (ngx_strcmp(ngx_http_certctl_found_labels[i].label, block->label)
            != 0)
        {
            continue;
        }

        p = block->der;
        x509 = d2i_X509(NULL, &p, block->len);

        if (x509 && (p == block->der + block->len
                     || ngx_http_certctl_found_labels[i].more))
        {
            ngx_http_certctl_found_add(found, x509);
            return;
        }

        X509_free(x509);
        ngx_http_certctl_found_why(found, certctl_pem_rule(block,
                         "a certificate is not valid DER (RFC 5280 4.1)"));
    }
}


/* A block that is not whole is passed over. */

static void
ngx_http_certctl_found_pem(ngx_http_certctl_found_t *found, const u_char *data,
    size_t len, ngx_uint_t keys)
{
    int                        rc;
    const char                *why;
    struct certctl_pem         pem;
    struct certctl_pem_block   block;

    certctl_pem_open(&pem, (const char *) data, len);

    while ((rc = certctl_pem_next(&pem, &block, &why)) != 0) {

        if (rc == 1) {
            ngx_http_certctl_found_block(found, &block, keys);

        } else if (certctl_pem_is_key(&block)) {
            found->unknown = 1;

        } else {
            ngx_http_certctl_found_why(found, why);
        }

        certctl_pem_free(&block);
    }
}


static PKCS12 *
ngx_http_certctl_found_pkcs12(const u_char *data, size_t len)
{
    const u_char  *p;

    p = data;

    return (len > 2 && data[0] == 0x30) ? d2i_PKCS12(NULL, &p, len) : NULL;
}


void
ngx_http_certctl_found_certs(ngx_http_certctl_found_t *found,
    const u_char *data, size_t len)
{
    X509          *x509;
    PKCS12        *p12;
    const u_char  *p;

    if (memmem(data, len, "-----BEGIN ", 11)) {
        found->format = "pem";
        ngx_http_certctl_found_pem(found, data, len, 0);
        return;
    }

    if (len < 2 || data[0] != 0x30) {
        return;
    }

    p = data;
    x509 = d2i_X509(NULL, &p, len);

    if (x509) {
        found->format = "der";
        ngx_http_certctl_found_add(found, x509);
        return;
    }

    p12 = ngx_http_certctl_found_pkcs12(data, len);

    if (p12) {
        found->format = "pkcs12";
        ngx_http_certctl_pkcs12(found, p12, 0);
        PKCS12_free(p12);
    }
}


void
ngx_http_certctl_found_keys(ngx_http_certctl_found_t *found,
    const u_char *data, size_t len)
{
    PKCS12    *p12;
    EVP_PKEY  *key;

    if (memmem(data, len, "-----BEGIN ", 11)) {
        ngx_http_certctl_found_pem(found, data, len, 1);
        return;
    }

    p12 = ngx_http_certctl_found_pkcs12(data, len);

    if (p12) {
        ngx_http_certctl_pkcs12(found, p12, 1);
        PKCS12_free(p12);
        return;
    }

    if (found->format && ngx_strcmp(found->format, "der") == 0) {
        return;
    }

    key = certctl_key_from_der(data, len);
    ngx_http_certctl_found_key(found, key);
    EVP_PKEY_free(key);
}


void
ngx_http_certctl_found_free(ngx_http_certctl_found_t *found)
{
    sk_X509_pop_free(found->certs, X509_free);
    ngx_memzero(found, sizeof(ngx_http_certctl_found_t));
}
