
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


static X509_REQ *
ngx_http_certctl_csr_build(ngx_http_certctl_call_t *call, EVP_PKEY *key,
    const char **why)
{
    return certctl_csr_build(key, call->args[NGX_HTTP_CERTCTL_ARG_SAN],
                             ngx_http_certctl_csr_flag(call,
                                 NGX_HTTP_CERTCTL_ARG_MUST_STAPLE),
                             why);
}


/* reuse_key=1: the live certificate's key; or NULL and an error answered. */

static EVP_PKEY *
ngx_http_certctl_csr_stored_key(ngx_http_certctl_call_t *call)
{
    char      *type;
    EVP_PKEY  *key;

    key = ngx_http_certctl_record_key(call, call->name,
                              "reuse_key=1, but the name has no stored key");
    type = call->args[NGX_HTTP_CERTCTL_ARG_KEY];

    if (key && type && ngx_strcmp(type, certctl_key_type(key)) != 0) {
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
    EVP_PKEY    *live;
    ngx_uint_t   used;

    live = ngx_http_certctl_record_key(call, call->name, NULL);
    used = live && EVP_PKEY_eq(live, key) == 1;

    EVP_PKEY_free(live);

    return used;
}


/* Whether req is what would be built now: the same names and features. */

static ngx_uint_t
ngx_http_certctl_csr_same(ngx_http_certctl_call_t *call, X509_REQ *req,
    EVP_PKEY *key)
{
    char        *old, *new;
    X509_REQ    *now;
    ngx_uint_t   same;
    const char  *why;

    now = ngx_http_certctl_csr_build(call, key, &why);
    if (now == NULL) {
        return 0;
    }

    old = certctl_csr_sans(req);
    new = certctl_csr_sans(now);

    same = old && new && ngx_strcmp(old, new) == 0
           && certctl_csr_must_staple(req) == certctl_csr_must_staple(now);

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
 * reuse_pending=1: a client that repeats a request, as its answer was lost,
 * gets the pending CSR, if that is the one that is asked for.
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
    certctl_pending_t   pending;

    ngx_memzero(&pending, sizeof(certctl_pending_t));

    rc = CERTCTL_STORE_ERROR;
    len = i2d_X509_REQ(req, &pending.csr.data);
    key_len = certctl_key_to_der(key, &pending.key.data);
    sans = certctl_csr_sans(req);

    pending.csr.len = ngx_max(len, 0);
    pending.key.len = ngx_max(key_len, 0);

    if (len > 0 && key_len > 0 && sans) {
        ngx_cpystrn((u_char *) pending.name, (u_char *) call->name,
                    sizeof(pending.name));
        ngx_cpystrn((u_char *) pending.key_type,
                    (u_char *) certctl_key_type(key),
                    sizeof(pending.key_type));

        pending.made = time(NULL);
        pending.sans.data = (u_char *) sans;
        pending.sans.len = ngx_strlen(sans) + 1;

        rc = certctl_store_pending_put(call->mcf->certctl.store, &pending);
    }

    OPENSSL_free(pending.csr.data);
    OPENSSL_free(sans);
    OPENSSL_clear_free(pending.key.data, pending.key.len);

    return rc;
}


static void
ngx_http_certctl_csr_make(ngx_http_certctl_call_t *call, EVP_PKEY *key)
{
    int          rc;
    X509_REQ    *req;
    const char  *why;

    req = ngx_http_certctl_csr_build(call, key, &why);
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

    rule = ngx_http_certctl_request_form(call);

    type = call->args[NGX_HTTP_CERTCTL_ARG_KEY];
    reuse = ngx_http_certctl_csr_flag(call, NGX_HTTP_CERTCTL_ARG_REUSE_KEY);

    if (rule == NULL && call->args[NGX_HTTP_CERTCTL_ARG_SAN] == NULL) {
        rule = "the argument san is required";
    }

    if (rule == NULL && type == NULL && !reuse) {
        rule = "the argument key is required";
    }

    if (rule) {
        ngx_http_certctl_request_error(call, NGX_HTTP_BAD_REQUEST, rule);
        return;
    }

    key = reuse ? ngx_http_certctl_csr_stored_key(call) : NULL;

    if ((reuse && key == NULL) || ngx_http_certctl_csr_again(call, key)) {
        EVP_PKEY_free(key);
        return;
    }

    if (key == NULL) {
        key = certctl_key_generate(type);
        CERTCTL_POINT("csr.key_made");
    }

    if (key) {
        ngx_http_certctl_csr_make(call, key);

    } else {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "the key could not be generated");
    }

    EVP_PKEY_free(key);
}
