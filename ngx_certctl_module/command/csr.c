
/*
 * POST certificates/{name}/csr: makes a key that never leaves this host, keeps
 * it pending, and answers the request to have it certified (RFC 2986).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "x509_key.h"
#include "point.h"


static ngx_uint_t
ngx_http_certctl_csr_flag(ngx_http_certctl_call_t *call,
    ngx_http_certctl_arg_e arg)
{
    return call->args[arg] && call->args[arg][0] == '1';
}


/* reuse_key=1: the live certificate's key; or NULL and an error answered. */

static EVP_PKEY *
ngx_http_certctl_csr_stored_key(ngx_http_certctl_call_t *call)
{
    int                rc;
    char              *type;
    EVP_PKEY          *key;
    certctl_record_t   record;

    rc = certctl_store_read(call->mcf->certctl.store, call->name, &record);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
                             "reuse_key=1, but the name has no stored key");
        return NULL;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return NULL;
    }

    key = certctl_key_from_der(record.key.data, record.key.len);
    certctl_record_free(&record);

    if (key == NULL) {
        ngx_http_certctl_request_store_error(call, CERTCTL_STORE_DAMAGED);
        return NULL;
    }

    type = call->args[NGX_HTTP_CERTCTL_ARG_KEY];

    if (type && ngx_strcmp(type, certctl_key_type(key)) != 0) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
                      "reuse_key=1, but the stored key has another type");
        EVP_PKEY_free(key);
        return NULL;
    }

    return key;
}


/*
 * Whether key is the live one: a pending key that a killed worker could not
 * remove behind its commit must not serve for a second certificate.
 */

static ngx_uint_t
ngx_http_certctl_csr_used(ngx_http_certctl_call_t *call, EVP_PKEY *key)
{
    EVP_PKEY          *live;
    ngx_uint_t         used;
    certctl_record_t   record;

    if (certctl_store_read(call->mcf->certctl.store, call->name, &record)
        != CERTCTL_STORE_OK)
    {
        return 0;
    }

    live = certctl_key_from_der(record.key.data, record.key.len);
    used = live && EVP_PKEY_eq(live, key) == 1;

    EVP_PKEY_free(live);
    certctl_record_free(&record);

    return used;
}


/* Whether req is what would be built now: the same names and features. */

static ngx_uint_t
ngx_http_certctl_csr_same(ngx_http_certctl_call_t *call, X509_REQ *req,
    EVP_PKEY *key)
{
    char        *old, *new;
    X509_REQ    *now;
    ngx_uint_t   same, must_staple;
    const char  *why;

    must_staple = ngx_http_certctl_csr_flag(call,
                                            NGX_HTTP_CERTCTL_ARG_MUST_STAPLE);

    now = certctl_csr_build(key, call->args[NGX_HTTP_CERTCTL_ARG_SAN],
                            must_staple, &why);
    if (now == NULL) {
        return 0;
    }

    old = certctl_csr_sans(req);
    new = certctl_csr_sans(now);

    same = old && new && ngx_strcmp(old, new) == 0
           && certctl_csr_must_staple(req) == (bool) must_staple;

    OPENSSL_free(old);
    OPENSSL_free(new);
    X509_REQ_free(now);

    return same;
}


static void
ngx_http_certctl_csr_answer(ngx_http_certctl_call_t *call, X509_REQ *req)
{
    char  *pem;

    pem = certctl_csr_to_pem(req);

    if (pem == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "PEM_write_bio_X509_REQ() failed");
        return;
    }

    call->status = NGX_HTTP_OK;
    call->media = "application/x-pem-file";

    ngx_http_certctl_json_raw(&call->json, (u_char *) pem, ngx_strlen(pem));
    OPENSSL_free(pem);
}


/*
 * reuse_pending=1: whoever repeats a request, because its answer was lost, gets
 * the request that already waits, if it is the one that is asked for.
 */

static ngx_uint_t
ngx_http_certctl_csr_again(ngx_http_certctl_call_t *call, EVP_PKEY *reused)
{
    char                *type;
    EVP_PKEY            *key;
    X509_REQ            *req;
    ngx_uint_t           same;
    const u_char        *p;
    certctl_pending_t    pending;

    if (!ngx_http_certctl_csr_flag(call, NGX_HTTP_CERTCTL_ARG_REUSE_PENDING)
        || certctl_store_pending_get(call->mcf->certctl.store, call->name,
                                    &pending)
           != CERTCTL_STORE_OK)
    {
        return 0;
    }

    type = call->args[NGX_HTTP_CERTCTL_ARG_KEY];
    p = pending.csr.data;
    req = d2i_X509_REQ(NULL, &p, pending.csr.len);
    key = certctl_key_from_der(pending.key.data, pending.key.len);

    same = req && key
           && (type == NULL || ngx_strcmp(type, pending.key_type) == 0)
           && (reused ? EVP_PKEY_eq(reused, key) == 1
                      : !ngx_http_certctl_csr_used(call, key))
           && ngx_http_certctl_csr_same(call, req, key);

    if (same) {
        ngx_http_certctl_csr_answer(call, req);
    }

    X509_REQ_free(req);
    EVP_PKEY_free(key);
    certctl_pending_free(&pending);

    return same;
}


static int
ngx_http_certctl_csr_keep(ngx_http_certctl_call_t *call, X509_REQ *req,
    EVP_PKEY *key)
{
    int                 rc, len, key_len;
    char               *sans;
    u_char             *der, *key_der;
    certctl_pending_t   pending;

    ngx_memzero(&pending, sizeof(certctl_pending_t));

    der = NULL;
    key_der = NULL;
    rc = CERTCTL_STORE_ERROR;

    len = i2d_X509_REQ(req, &der);
    key_len = certctl_key_to_der(key, &key_der);
    sans = certctl_csr_sans(req);

    if (len > 0 && key_len > 0 && sans) {
        ngx_cpystrn((u_char *) pending.name, (u_char *) call->name,
                    sizeof(pending.name));
        ngx_cpystrn((u_char *) pending.key_type,
                    (u_char *) certctl_key_type(key),
                    sizeof(pending.key_type));

        pending.made = time(NULL);
        pending.csr.data = der;
        pending.csr.len = len;
        pending.key.data = key_der;
        pending.key.len = key_len;
        pending.sans.data = (u_char *) sans;
        pending.sans.len = ngx_strlen(sans) + 1;

        rc = certctl_store_pending_put(call->mcf->certctl.store, &pending);
    }

    OPENSSL_free(der);
    OPENSSL_free(sans);
    OPENSSL_clear_free(key_der, key_len > 0 ? key_len : 0);

    return rc;
}


static void
ngx_http_certctl_csr_make(ngx_http_certctl_call_t *call, EVP_PKEY *key)
{
    int          rc;
    X509_REQ    *req;
    const char  *why;

    if (key == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "the key could not be generated");
        return;
    }

    req = certctl_csr_build(key, call->args[NGX_HTTP_CERTCTL_ARG_SAN],
                            ngx_http_certctl_csr_flag(call,
                                NGX_HTTP_CERTCTL_ARG_MUST_STAPLE), &why);
    if (req == NULL) {
        ngx_http_certctl_request_error(call, 422, why);
        return;
    }

    rc = ngx_http_certctl_csr_keep(call, req, key);
    CERTCTL_POINT("csr.before_answer");

    if (rc == CERTCTL_STORE_OK) {
        ngx_http_certctl_csr_answer(call, req);

    } else {
        ngx_http_certctl_request_store_error(call, rc);
    }

    X509_REQ_free(req);
}


void
ngx_http_certctl_request_csr(ngx_http_certctl_call_t *call)
{
    EVP_PKEY    *key;
    ngx_uint_t   reuse;
    const char  *rule, *type;

    key = NULL;
    rule = ngx_http_certctl_request_form(call);

    if (rule) {
        ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST, rule);
        return;
    }

    type = call->args[NGX_HTTP_CERTCTL_ARG_KEY];
    reuse = ngx_http_certctl_csr_flag(call, NGX_HTTP_CERTCTL_ARG_REUSE_KEY);

    if (call->args[NGX_HTTP_CERTCTL_ARG_SAN] == NULL) {
        ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST,
                               "the argument san is required");
        return;
    }

    if (type == NULL && !reuse) {
        ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST,
                                       "the argument key is required");
        return;
    }

    if (reuse) {
        key = ngx_http_certctl_csr_stored_key(call);

        if (key == NULL) {
            return;
        }
    }

    if (!ngx_http_certctl_csr_again(call, key)) {

        if (key == NULL) {
            key = certctl_key_generate(type);
            CERTCTL_POINT("csr.key_made");
        }

        ngx_http_certctl_csr_make(call, key);
    }

    EVP_PKEY_free(key);
}
