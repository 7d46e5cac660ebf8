
/*
 * PUT certificates/{name}: a chain becomes the live one, when it fits the key
 * of this host, the names that were asked for, and the date.  Every check comes
 * before the one write: a refusal changes nothing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_certctl_agent.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "point.h"


#define NGX_HTTP_CERTCTL_UNPROCESSABLE  422

/* Attempts to be the write that follows the one that was looked at. */
#define NGX_HTTP_CERTCTL_PUT_TRIES      3


/* What is known while a chain is checked. */

typedef struct {
    ngx_http_certctl_call_t  *call;
    STACK_OF(X509)           *chain;
    X509                     *leaf;
    u_char                   *der;         /* of the chain, as stored */
    size_t                    der_len;
    EVP_PKEY                 *given;       /* keygen=server: in the body */
    ngx_str_t                 pem_staple;  /* in the body, as PEM */
    certctl_blob_t            staple;      /* checked, as DER */
    int64_t                   staple_until;
    EVP_PKEY                 *key;         /* the private key that fits */

    certctl_record_t          old;
    ngx_uint_t                has_old;
} ngx_http_certctl_put_t;


static ngx_int_t ngx_http_certctl_put_parse(ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_der(ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_old(ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_fit_pending(
    ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_fit_old(ngx_http_certctl_put_t *put);
static bool ngx_http_certctl_put_san(const char *kind, const char *text,
    void *data);
static ngx_int_t ngx_http_certctl_put_commit(ngx_http_certctl_put_t *put);
static ngx_int_t ngx_http_certctl_put_write(ngx_http_certctl_put_t *put,
    certctl_record_t *record);
static ngx_int_t ngx_http_certctl_put_refuse(ngx_http_certctl_put_t *put,
    const char *rule);
static void ngx_http_certctl_put_forget(ngx_http_certctl_put_t *put);


/*
 * In order: NGX_OK goes on, NGX_AGAIN begins again with those that look at the
 * store, anything else has made the answer.
 */

static const struct {
    ngx_int_t  (*run)(ngx_http_certctl_put_t *put);
    ngx_uint_t   again;
} ngx_http_certctl_put_steps[] = {
    { ngx_http_certctl_put_parse,  0 },
    { ngx_http_certctl_put_der,    0 },
    { ngx_http_certctl_put_old,    1 },
    { ngx_http_certctl_put_fit,    1 },
    { ngx_http_certctl_put_commit, 1 },
    { NULL, 0 }
};


void
ngx_http_certctl_request_put(ngx_http_certctl_call_t *call)
{
    ngx_int_t               rc;
    ngx_uint_t              i, tries;
    ngx_http_certctl_put_t  put;

    ngx_memzero(&put, sizeof(ngx_http_certctl_put_t));
    put.call = call;

    rc = NGX_AGAIN;

    for (tries = 0; rc == NGX_AGAIN && tries < NGX_HTTP_CERTCTL_PUT_TRIES;
         tries++)
    {
        rc = NGX_OK;

        for (i = 0; rc == NGX_OK && ngx_http_certctl_put_steps[i].run; i++) {

            if (tries == 0 || ngx_http_certctl_put_steps[i].again) {
                rc = ngx_http_certctl_put_steps[i].run(&put);
            }
        }

        ngx_http_certctl_put_forget(&put);
    }

    if (rc == NGX_AGAIN) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
                           "other writes of this name came first each time");
    }

    if (put.der) {
        ngx_free(put.der);
    }

    sk_X509_pop_free(put.chain, X509_free);
    EVP_PKEY_free(put.given);
    OPENSSL_free(put.pem_staple.data);
    OPENSSL_free(put.staple.data);
}


static ngx_int_t
ngx_http_certctl_put_parse(ngx_http_certctl_put_t *put)
{
    const char               *rule;
    ngx_http_certctl_call_t  *call;

    call = put->call;

    rule = ngx_http_certctl_pem_take_key(call, &put->given);

    if (rule == NULL) {
        rule = ngx_http_certctl_pem_take_staple(call, &put->pem_staple);
    }

    if (rule) {
        return ngx_http_certctl_put_refuse(put, rule);
    }

    put->chain = certctl_chain_from_pem((char *) call->body, call->body_len,
                                        &rule);
    if (put->chain == NULL) {
        return ngx_http_certctl_put_refuse(put, rule);
    }

    put->leaf = sk_X509_value(put->chain, 0);

    rule = certctl_chain_check(put->chain, put->given, time(NULL));

    if (rule == NULL) {
        rule = ngx_http_certctl_pem_check_staple(&put->pem_staple, put->chain,
                                                 &put->staple,
                                                 &put->staple_until);
    }

    return rule ? ngx_http_certctl_put_refuse(put, rule) : NGX_OK;
}


/* The chain as it will lie in the store: DER, one behind the other. */

static ngx_int_t
ngx_http_certctl_put_der(ngx_http_certctl_put_t *put)
{
    int      i, len;
    u_char  *p;

    for (i = 0; i < sk_X509_num(put->chain); i++) {
        len = i2d_X509(sk_X509_value(put->chain, i), NULL);
        put->der_len += ngx_max(len, 0);
    }

    put->der = ngx_alloc(put->der_len, ngx_cycle->log);

    if (put->der == NULL) {
        ngx_http_certctl_request_error(put->call,
                                       NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "there is no memory for the chain");
        return NGX_ERROR;
    }

    p = put->der;

    for (i = 0; i < sk_X509_num(put->chain); i++) {
        (void) i2d_X509(sk_X509_value(put->chain, i), &p);
    }

    return NGX_OK;
}


/* What is live: the same chain again is no change, and no error. */

static ngx_int_t
ngx_http_certctl_put_old(ngx_http_certctl_put_t *put)
{
    int                       rc;
    uint64_t                  generation;
    ngx_http_certctl_call_t  *call;

    call = put->call;
    rc = certctl_store_read(call->mcf->certctl.store, call->name, &put->old);

    put->has_old = (rc == CERTCTL_STORE_OK);
    generation = put->has_old ? put->old.generation : 0;

    /* a write that ended in between, or never, may have told nobody yet */

    if (put->has_old
        && put->old.chain.len == put->der_len
        && !certctl_store_unfinished(call->mcf->certctl.store, call->name)
        && ngx_memcmp(put->old.chain.data, put->der, put->der_len) == 0)
    {
        /* before If-Match: the change was made already (RFC 9110 13.1.1) */

        ngx_http_certctl_request_live(call, put->leaf, generation);
        return NGX_DONE;
    }

    /* a damaged record is set aside by now: a good one may take its place */

    if (rc == CERTCTL_STORE_FULL || rc == CERTCTL_STORE_ERROR) {
        ngx_http_certctl_request_store_error(call, rc);
        return NGX_ERROR;
    }

    if (!ngx_http_certctl_request_matches(call, generation)) {
        ngx_http_certctl_request_error(call, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* Finds the private key of the leaf, and the names it was asked for. */

static ngx_int_t
ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put)
{
    ngx_int_t  rc;

    if (put->given) {
        (void) EVP_PKEY_up_ref(put->given);
        put->key = put->given;

        return NGX_OK;
    }

    rc = ngx_http_certctl_put_fit_pending(put);

    if (rc == NGX_AGAIN && put->has_old) {
        rc = ngx_http_certctl_put_fit_old(put);
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_certctl_put_refuse(put,
                     "the first certificate's key is neither the pending nor "
                     "the stored key of this name");
    }

    return rc;
}


/* NGX_AGAIN: it is not the pending key. */

static ngx_int_t
ngx_http_certctl_put_fit_pending(ngx_http_certctl_put_t *put)
{
    char                     *sans;
    X509_REQ                 *req;
    EVP_PKEY                 *key;
    ngx_int_t                 rc;
    const char               *rule;
    const u_char             *p;
    certctl_pending_t         pending;
    ngx_http_certctl_call_t  *call;

    call = put->call;

    if (certctl_store_pending_get(call->mcf->certctl.store, call->name,
                                  &pending)
        != CERTCTL_STORE_OK)
    {
        return NGX_AGAIN;
    }

    rc = NGX_AGAIN;
    sans = NULL;

    p = pending.csr.data;
    req = d2i_X509_REQ(NULL, &p, pending.csr.len);
    key = certctl_key_from_der(pending.key.data, pending.key.len);

    if (req && key && EVP_PKEY_eq(key, X509_get0_pubkey(put->leaf)) == 1) {

        sans = certctl_csr_sans(req);
        rule = sans ? certctl_chain_names_equal(put->chain, sans)
                    : "the pending request names nothing";

        if (rule) {
            rc = ngx_http_certctl_put_refuse(put, rule);

        } else {
            put->key = key;
            key = NULL;
            rc = NGX_OK;
        }
    }

    OPENSSL_free(sans);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    certctl_pending_free(&pending);

    return rc;
}


/* A renewal with the key that is live, and so with the names that are. */

static ngx_int_t
ngx_http_certctl_put_fit_old(ngx_http_certctl_put_t *put)
{
    BIO           *bio;
    char          *sans;
    X509          *leaf;
    EVP_PKEY      *key;
    ngx_int_t      rc;
    const char    *rule;
    const u_char  *p;

    key = certctl_key_from_der(put->old.key.data, put->old.key.len);

    if (key == NULL
        || EVP_PKEY_eq(key, X509_get0_pubkey(put->leaf)) != 1)
    {
        EVP_PKEY_free(key);
        return NGX_AGAIN;
    }

    p = put->old.chain.data;
    leaf = d2i_X509(NULL, &p, put->old.chain.len);
    bio = BIO_new(BIO_s_mem());

    if (leaf && bio) {
        (void) certctl_x509_each_san(leaf, ngx_http_certctl_put_san, bio);
        (void) BIO_write(bio, "", 1);
    }

    rule = leaf && bio && BIO_get_mem_data(bio, &sans) > 0
           ? certctl_chain_names_equal(put->chain, sans)
           : "the stored certificate names nothing";

    BIO_free(bio);
    X509_free(leaf);

    if (rule) {
        rc = ngx_http_certctl_put_refuse(put, rule);
        EVP_PKEY_free(key);
        return rc;
    }

    put->key = key;

    return NGX_OK;
}


static bool
ngx_http_certctl_put_san(const char *kind, const char *text, void *data)
{
    BIO *bio = data;

    return BIO_printf(bio, "%s%s:%s", BIO_pending(bio) ? "," : "", kind, text)
           > 0;
}


static ngx_int_t
ngx_http_certctl_put_commit(ngx_http_certctl_put_t *put)
{
    int                len;
    u_char            *key;
    ngx_int_t          rc;
    certctl_record_t   record;

    key = NULL;
    ngx_memzero(&record, sizeof(certctl_record_t));

    len = certctl_key_to_der(put->key, &key);

    if (len <= 0
        || ngx_http_certctl_record_fill(&record, put->call->name, put->leaf)
           != NGX_OK)
    {
        OPENSSL_clear_free(key, ngx_max(len, 0));
        ngx_http_certctl_request_error(put->call,
                                       NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "the key could not be written");
        return NGX_ERROR;
    }

    record.chain.data = put->der;
    record.chain.len = put->der_len;
    record.key.data = key;
    record.key.len = len;
    record.staple = put->staple;
    record.staple_until = put->staple_until;

    rc = ngx_http_certctl_put_write(put, &record);

    OPENSSL_clear_free(key, len);

    return rc;
}


/* The one step that changes anything. */

static ngx_int_t
ngx_http_certctl_put_write(ngx_http_certctl_put_t *put,
    certctl_record_t *record)
{
    int                       rc;
    uint64_t                  generation;
    ngx_http_certctl_call_t  *call;

    call = put->call;

    if (put->has_old) {
        record->generation = put->old.generation;
        record->reused_key = ngx_memcmp(put->old.spki, record->spki,
                                        sizeof(record->spki))
                             == 0;
    }

    CERTCTL_POINT("put.before_commit");

    rc = certctl_store_put(call->mcf->certctl.store, record, &generation,
                           ngx_certctl_touched, &call->mcf->certctl);

    if (rc == CERTCTL_STORE_CONFLICT) {
        return NGX_AGAIN;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return NGX_ERROR;
    }

    ngx_http_certctl_request_commit(call, "certificate is live");

    CERTCTL_POINT("put.before_answer");

    ngx_http_certctl_request_live(call, put->leaf, generation);

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_put_refuse(ngx_http_certctl_put_t *put, const char *rule)
{
    ngx_http_certctl_request_error(put->call, NGX_HTTP_CERTCTL_UNPROCESSABLE,
                                   rule);
    return NGX_DECLINED;
}


/* What was read from the store. */

static void
ngx_http_certctl_put_forget(ngx_http_certctl_put_t *put)
{
    if (put->has_old) {
        certctl_record_free(&put->old);
        put->has_old = 0;
    }

    EVP_PKEY_free(put->key);
    put->key = NULL;
}
