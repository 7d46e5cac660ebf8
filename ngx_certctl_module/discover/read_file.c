
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


void
ngx_http_certctl_file_add_key(ngx_http_certctl_file_t *file, EVP_PKEY *pkey)
{
    ngx_http_certctl_key_t  *key;

    if (file->keys > NGX_HTTP_CERTCTL_FILE_KEYS) {
        return;
    }

    key = &file->key[file->keys];
    key->name = file->name;
    key->mode = file->st.st_mode;
    key->known = (file->keys++ < NGX_HTTP_CERTCTL_FILE_KEYS
                  && ngx_http_certctl_spki(pkey, key->spki) == NGX_OK);
}


void
ngx_http_certctl_file_add_cert(ngx_http_certctl_file_t *file, X509 *x509)
{
    if (x509 == NULL) {
        return;
    }

    if (file->certs == NULL) {
        file->certs = sk_X509_new_null();
    }

    if (file->certs == NULL || sk_X509_push(file->certs, x509) == 0) {
        file->why = "no memory";
        X509_free(x509);
    }
}


/* The first block that is broken: what follows it may be so by that. */

static void
ngx_http_certctl_file_why(ngx_http_certctl_file_t *file, const char *why)
{
    if (file->why == NULL) {
        ngx_cpystrn((u_char *) file->text, (u_char *) why,
                    sizeof(file->text));
        file->why = file->text;
    }
}


/* OpenSSL's TRUSTED CERTIFICATE has settings after the certificate. */

static void
ngx_http_certctl_file_pem_cert(ngx_http_certctl_file_t *file,
    const struct certctl_pem_block *block)
{
    X509          *x509;
    ngx_uint_t     trusted;
    const u_char  *p;

    trusted = ngx_strcmp(block->label, "TRUSTED CERTIFICATE") == 0;

    if (!trusted
        && ngx_strcmp(block->label, "CERTIFICATE") != 0
        && ngx_strcmp(block->label, "X509 CERTIFICATE") != 0)
    {
        return;
    }

    p = block->der;
    x509 = d2i_X509(NULL, &p, block->len);

    if (x509 && (trusted || p == block->der + block->len)) {
        ngx_http_certctl_file_add_cert(file, x509);
        return;
    }

    X509_free(x509);
    ngx_http_certctl_file_why(file, certctl_pem_rule(block,
                         "a certificate is not valid DER (RFC 5280 4.1)"));
}


static void
ngx_http_certctl_file_der_key(ngx_http_certctl_file_t *file,
    const u_char *der, size_t len)
{
    EVP_PKEY  *key;

    key = certctl_key_from_der(der, len);
    ngx_http_certctl_file_add_key(file, key);
    EVP_PKEY_free(key);
}


/* A block that is not whole is passed over. */

static void
ngx_http_certctl_file_pem(ngx_http_certctl_file_t *file, ngx_uint_t keys)
{
    int                        rc;
    const char                *why;
    struct certctl_pem         pem;
    struct certctl_pem_block   block;

    certctl_pem_open(&pem, (const char *) file->data, file->st.st_size);

    while ((rc = certctl_pem_next(&pem, &block, &why)) != 0) {

        if (certctl_pem_is_key(&block)) {

            if (keys && rc == 1) {
                ngx_http_certctl_file_der_key(file, block.der, block.len);

            } else if (keys) {
                ngx_http_certctl_file_add_key(file, NULL);
            }

        } else if (!keys && rc == 1) {
            ngx_http_certctl_file_pem_cert(file, &block);

        } else if (!keys) {
            ngx_http_certctl_file_why(file, why);
        }

        certctl_pem_free(&block);
    }
}


void
ngx_http_certctl_file_parse(ngx_http_certctl_file_t *file, ngx_uint_t keys)
{
    X509          *x509;
    size_t         len;
    PKCS12        *p12;
    const u_char  *p;

    p = file->data;
    len = file->st.st_size;

    if (memmem(p, len, "-----BEGIN ", 11)) {
        file->format = "pem";
        ngx_http_certctl_file_pem(file, keys);
        return;
    }

    p12 = d2i_PKCS12(NULL, &p, len);

    if (p12) {
        file->format = "pkcs12";
        ngx_http_certctl_pkcs12(file, p12, keys);
        PKCS12_free(p12);
        return;
    }

    if (!keys) {
        p = file->data;
        x509 = d2i_X509(NULL, &p, len);

        if (x509) {
            file->format = "der";
            ngx_http_certctl_file_add_cert(file, x509);
        }

    } else if (file->certs == NULL) {
        ngx_http_certctl_file_der_key(file, file->data, len);
    }
}


void
ngx_http_certctl_file_free(ngx_http_certctl_file_t *file)
{
    sk_X509_pop_free(file->certs, X509_free);
    OPENSSL_clear_free(file->data, NGX_HTTP_CERTCTL_SCAN_FILE + 1);
}
