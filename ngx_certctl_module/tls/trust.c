
/*
 * Who may command this host: clients whose certificates chain to a CA of
 * certctl_trust's file, or to one that a controller has sent.  The file always
 * counts, so that whoever can write it can bring a lost controller back.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/trust.h"
#include "x509_read.h"


/* Seconds after which a worker reads the set without a changed counter. */
#define NGX_CERTCTL_TRUST_RECHECK  60


ngx_int_t
ngx_certctl_trust_load(ngx_certctl_t *certctl, ngx_str_t *file,
    ngx_log_t *log)
{
    char  *name;

    if (file->len == 0) {
        return NGX_OK;
    }

    name = (char *) file->data;

    certctl->trust = X509_STORE_new();
    certctl->trust_names = SSL_load_client_CA_file(name);

    if (certctl->trust == NULL || certctl->trust_names == NULL
        || X509_STORE_load_file(certctl->trust, name) != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, log, 0,
                      "\"certctl_trust\": cannot read certificates from "
                      "\"%V\", write the name of a PEM file with the CA of "
                      "your controller", file);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_certctl_trust_drop(ngx_certctl_t *certctl)
{
    X509_STORE_free(certctl->trusted);
    sk_X509_NAME_pop_free(certctl->trusted_names, X509_NAME_free);

    certctl->trusted = NULL;
    certctl->trusted_names = NULL;
}


void
ngx_certctl_trust_free(ngx_certctl_t *certctl)
{
    ngx_certctl_trust_drop(certctl);

    X509_STORE_free(certctl->trust);
    sk_X509_NAME_pop_free(certctl->trust_names, X509_NAME_free);
}


/* What the file holds: certificates, and maybe revocation lists. */

static ngx_int_t
ngx_certctl_trust_copy(X509_STORE *to, X509_STORE *from)
{
    int                     i, done;
    X509                   *cert;
    X509_CRL               *crl;
    X509_OBJECT            *object;
    STACK_OF(X509_OBJECT)  *objects;

    objects = X509_STORE_get0_objects(from);

    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        object = sk_X509_OBJECT_value(objects, i);
        cert = X509_OBJECT_get0_X509(object);
        crl = X509_OBJECT_get0_X509_CRL(object);

        done = cert ? X509_STORE_add_cert(to, cert)
                    : crl == NULL || X509_STORE_add_crl(to, crl);
        if (!done) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_certctl_trust_add(X509_STORE *to, const certctl_blob_t *cas)
{
    X509          *cert;
    ngx_int_t      rc;
    const u_char  *p, *last;

    p = cas->data;
    last = p + cas->len;

    while (p < last) {
        cert = certctl_x509_read(&p, last - p);
        if (cert == NULL) {
            return NGX_ERROR;
        }

        rc = X509_STORE_add_cert(to, cert) ? NGX_OK : NGX_ERROR;
        X509_free(cert);

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


int
ngx_certctl_trust_all(ngx_certctl_t *certctl, X509_STORE **ret)
{
    int                rc;
    X509_STORE        *store;
    certctl_record_t   file;

    *ret = NULL;

    if (certctl->trust == NULL || certctl->store == NULL) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    ERR_set_mark();

    rc = certctl_store_trust(certctl->store, &file);
    store = X509_STORE_new();

    if (store == NULL
        || ngx_certctl_trust_copy(store, certctl->trust) != NGX_OK)
    {
        X509_STORE_free(store);
        store = NULL;
    }

    if (rc == CERTCTL_STORE_OK) {

        if (store && ngx_certctl_trust_add(store, &file.chain) != NGX_OK) {
            rc = CERTCTL_STORE_DAMAGED;
        }

        certctl_record_free(&file);
    }

    ERR_pop_to_mark();

    *ret = store;

    return rc;
}


static STACK_OF(X509_NAME) *
ngx_certctl_trust_names(X509_STORE *store)
{
    int                     i;
    X509                   *cert;
    X509_NAME              *name;
    STACK_OF(X509_NAME)    *names;
    STACK_OF(X509_OBJECT)  *objects;

    names = sk_X509_NAME_new_null();
    objects = X509_STORE_get0_objects(store);

    for (i = 0; names && i < sk_X509_OBJECT_num(objects); i++) {
        cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        name = cert ? X509_NAME_dup(X509_get_subject_name(cert)) : NULL;

        if (name && !sk_X509_NAME_push(names, name)) {
            X509_NAME_free(name);
        }
    }

    return names;
}


static void
ngx_certctl_trust_read(ngx_certctl_t *certctl)
{
    int          rc;
    X509_STORE  *store;

    certctl->trust_seen = certctl->zone->trusts;
    certctl->trust_read = ngx_time();

    ngx_memory_barrier();

    rc = ngx_certctl_trust_all(certctl, &store);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        ngx_certctl_trust_drop(certctl);

    } else if (rc != CERTCTL_STORE_OK || store == NULL) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log,
                      rc == CERTCTL_STORE_ERROR ? ngx_errno : 0,
                      "certctl: the CAs that a controller has sent cannot be "
                      "read, %s",
                      certctl->trusted
                      ? "those of before stay" : "only certctl_trust counts");

    } else {
        ngx_certctl_trust_drop(certctl);

        certctl->trusted = store;
        certctl->trusted_names = ngx_certctl_trust_names(store);
        return;
    }

    X509_STORE_free(store);
}


void
ngx_certctl_trust_update(ngx_certctl_t *certctl)
{
    time_t  age;

    if (certctl->trust == NULL || certctl->store == NULL) {
        return;
    }

    age = ngx_time() - certctl->trust_read;

    if (certctl->trust_seen != certctl->zone->trusts
        || certctl->trust_read == 0
        || age < 0
        || age >= NGX_CERTCTL_TRUST_RECHECK)
    {
        ngx_certctl_trust_read(certctl);
    }
}


void
ngx_certctl_trust_use(ngx_certctl_t *certctl, SSL *ssl)
{
    STACK_OF(X509_NAME)  *names;

    ngx_certctl_trust_update(certctl);

    if (certctl->trusted == NULL) {
        return;
    }

    names = certctl->trusted_names ? SSL_dup_CA_list(certctl->trusted_names)
                                   : NULL;

    if (SSL_set1_verify_cert_store(ssl, certctl->trusted) != 1
        || names == NULL)
    {
        ngx_ssl_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: SSL_set1_verify_cert_store() failed, only "
                      "certctl_trust counts");
    }

    if (names) {
        SSL_set_client_CA_list(ssl, names);
    }
}


void
ngx_certctl_trust_each(X509_STORE *store,
    void (*fn)(const char *fingerprint, void *data), void *data)
{
    int                     i;
    char                    fingerprint[CERTCTL_HEX256];
    X509                   *cert;
    u_char                  digest[EVP_MAX_MD_SIZE];
    STACK_OF(X509_OBJECT)  *objects;

    objects = X509_STORE_get0_objects(store);

    for (i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));

        if (cert && X509_digest(cert, EVP_sha256(), digest, NULL) == 1) {
            certctl_hex(digest, 32, fingerprint);
            fn(fingerprint, data);
        }
    }
}
