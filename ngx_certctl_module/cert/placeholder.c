
/*
 * Makes the placeholder certificate: P-256, self-signed, in memory only.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "cert/placeholder.h"
#include "cert/self_signed.h"


#define NGX_CERTCTL_DAY    (24 * 3600)
#define NGX_CERTCTL_YEARS  (10 * 365 * NGX_CERTCTL_DAY)


/* "data:" and PEM, the process's own: a configuration cycle borrows them */

static u_char     ngx_certctl_placeholder_pem[2][2048];
static ngx_str_t  ngx_certctl_placeholder_cert;
static ngx_str_t  ngx_certctl_placeholder_key;


static const ngx_certctl_extension_t  ngx_certctl_placeholder_extensions[] = {
    { "subjectAltName", "DNS:" NGX_CERTCTL_PLACEHOLDER_NAME },
    { NULL, NULL }
};

static const ngx_certctl_self_signed_t  ngx_certctl_placeholder_form = {
    NGX_CERTCTL_PLACEHOLDER_NAME, NGX_CERTCTL_DAY, NGX_CERTCTL_YEARS,
    ngx_certctl_placeholder_extensions
};


static void
ngx_certctl_placeholder_text(BIO *bio, u_char *pem, ngx_str_t *text)
{
    text->data = pem;
    text->len = BIO_read(bio, pem, sizeof(ngx_certctl_placeholder_pem[0]) - 1);
}


static ngx_int_t
ngx_certctl_placeholder_make(void)
{
    BIO        *cert_bio, *key_bio;
    X509       *x509;
    EVP_PKEY   *pkey;
    ngx_int_t   rc;

    rc = NGX_ERROR;
    x509 = NULL;
    cert_bio = BIO_new(BIO_s_mem());
    key_bio = BIO_new(BIO_s_secmem());
    pkey = EVP_EC_gen("P-256");

    if (cert_bio == NULL || key_bio == NULL || pkey == NULL) {
        goto done;
    }

    x509 = ngx_certctl_self_signed(pkey, &ngx_certctl_placeholder_form);

    if (x509 == NULL
        || BIO_puts(cert_bio, "data:") <= 0
        || BIO_puts(key_bio, "data:") <= 0
        || PEM_write_bio_X509(cert_bio, x509) != 1
        || PEM_write_bio_PrivateKey(key_bio, pkey, NULL, NULL, 0, NULL, NULL)
           != 1)
    {
        goto done;
    }

    ngx_certctl_placeholder_text(cert_bio, ngx_certctl_placeholder_pem[0],
                                 &ngx_certctl_placeholder_cert);
    ngx_certctl_placeholder_text(key_bio, ngx_certctl_placeholder_pem[1],
                                 &ngx_certctl_placeholder_key);
    rc = NGX_OK;

done:

    X509_free(x509);
    EVP_PKEY_free(pkey);
    BIO_free(cert_bio);
    BIO_free(key_bio);

    return rc;
}


ngx_int_t
ngx_certctl_placeholder_values(ngx_conf_t *cf, ngx_array_t **certs,
    ngx_array_t **keys)
{
    ngx_str_t  *cert, *key;

    *certs = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
    *keys = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));

    if (*certs == NULL || *keys == NULL) {
        return NGX_ERROR;
    }

    cert = ngx_array_push(*certs);
    key = ngx_array_push(*keys);

    if (cert == NULL || key == NULL) {
        return NGX_ERROR;
    }

    if (ngx_certctl_placeholder_key.data == NULL
        && ngx_certctl_placeholder_make() != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "cannot make the placeholder certificate");
        return NGX_ERROR;
    }

    *cert = ngx_certctl_placeholder_cert;
    *key = ngx_certctl_placeholder_key;

    return NGX_OK;
}


void
ngx_certctl_placeholder_free(void)
{
    ngx_explicit_memzero(ngx_certctl_placeholder_pem,
                         sizeof(ngx_certctl_placeholder_pem));

    ngx_str_null(&ngx_certctl_placeholder_key);
}
