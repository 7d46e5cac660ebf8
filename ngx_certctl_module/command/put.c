
/*
 * A chain becomes the live one, when it fits the key of this host, the names
 * that were asked for, and the date.  Every check comes before the one write: a
 * refusal changes nothing.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/put.h"
#include "tls/trial.h"
#include "x509_key.h"
#include "x509_read.h"
#include "point.h"


#define NGX_HTTP_CERTCTL_UNPROCESSABLE  422

/* Attempts to be the write that follows the one that was looked at. */
#define NGX_HTTP_CERTCTL_PUT_TRIES      3


static const char *
ngx_http_certctl_put_parse(ngx_http_certctl_put_t *put)
{
    EVP_PKEY                   *given;
    const char                 *rule;
    struct certctl_pem_bundle   bundle;

    given = NULL;

    rule = certctl_pem_bundle((char *) put->pem.data, put->pem.len, &bundle);

    if (rule == NULL) {
        rule = ngx_http_certctl_pem_take_key(&bundle, put->keygen, &given,
                                             &put->key);
    }

    if (rule == NULL) {
        rule = certctl_chain_accept(&bundle, &ngx_http_certctl_keep_ca, given,
                                    time(NULL), &put->chain);
    }

    if (rule == NULL) {
        rule = ngx_http_certctl_pem_take_staple(&bundle, &put->chain,
                                                &put->staple,
                                                &put->staple_until);
    }

    certctl_pem_bundle_free(&bundle);
    EVP_PKEY_free(given);

    return rule;
}


static ngx_int_t
ngx_http_certctl_put_refuse(ngx_http_certctl_put_t *put, ngx_uint_t status,
    const char *rule)
{
    put->status = status;
    put->rule = put->text;

    ngx_cpystrn((u_char *) put->text, (u_char *) rule, sizeof(put->text));

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_certctl_put_check(ngx_http_certctl_put_t *put)
{
    const char  *rule;

    put->identity = ngx_strcmp(put->name, CERTCTL_WIRE_IDENTITY) == 0;

    rule = ngx_http_certctl_put_parse(put);

    if (rule == NULL) {
        certctl_record_fill(&put->record, put->name, &put->chain.leaf);

        put->record.chain.data = put->chain.der;
        put->record.chain.len = put->chain.len;
        put->record.staple = put->staple;
        put->record.staple_until = put->staple_until;

        if (put->identity) {
            rule = ngx_http_certctl_put_identity(put);

        } else if (put->keygen && ngx_http_certctl_put_is_identity(put)) {
            rule = "the key of the control listener's identity cannot be used "
                   "for a site: generate another one";
        }
    }

    return rule ? ngx_http_certctl_put_refuse(put,
                                       NGX_HTTP_CERTCTL_UNPROCESSABLE, rule)
                : NGX_OK;
}


/* What was read from the store. */

static void
ngx_http_certctl_put_forget(ngx_http_certctl_put_t *put)
{
    if (put->has_old) {
        certctl_record_free(&put->old);
        put->has_old = 0;
    }

    certctl_pending_free(&put->pending);
    ngx_memzero(&put->record.key, sizeof(certctl_blob_t));
    put->record.generation = 0;
    put->record.reused_key = 0;
    put->newer_staple = 0;
}


/* The store's own words. */

static void
ngx_http_certctl_put_failed(ngx_http_certctl_put_t *put, int rc)
{
    put->err = ngx_errno;
    put->rule = ngx_http_certctl_store_rule(rc, &put->status);
}


static void
ngx_http_certctl_put_warn(ngx_http_certctl_put_t *put, const char *warning)
{
    ngx_cpystrn((u_char *) put->warning, (u_char *) (warning ? warning : ""),
                sizeof(put->warning));
}


/*
 * The chain is live: of what was sent only the staple may be new.  As with PUT
 * ocsp the version before stays the one to go back to.
 */

static ngx_int_t
ngx_http_certctl_put_again(ngx_http_certctl_put_t *put)
{
    int          rc;
    const char  *rule, *warning;

    put->generation = put->old.generation;

    /* NGINX's configuration may have changed since it became live */

    rule = ngx_certctl_trial(&put->mcf->certctl, put->name, &put->chain,
                             &put->old.key, &warning);
    ngx_http_certctl_put_warn(put, rule ? rule : warning);

    if (put->staple.len == 0
        || put->newer_staple
        || (put->staple.len == put->old.staple.len
            && ngx_memcmp(put->staple.data, put->old.staple.data,
                          put->staple.len)
               == 0))
    {
        /* before If-Match: the change was made already (RFC 9110 13.1.1) */

        put->status = NGX_HTTP_OK;

        return NGX_DONE;
    }

    if (!ngx_http_certctl_record_matches(put->if_match, put->generation)) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
    }

    rc = certctl_store_staple(put->mcf->certctl.store, put->name,
                              put->chain.leaf.digest, &put->staple,
                              put->staple_until, &put->generation,
                              ngx_certctl_invalidate, &put->mcf->certctl);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CONFLICT,
                                       "another request has changed this record");
    }

    if (rc == CERTCTL_STORE_OLDER) {
        put->newer_staple = 1;
        put->status = NGX_HTTP_OK;
        return NGX_DONE;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_put_failed(put, rc);
        return NGX_ERROR;
    }

    put->status = NGX_HTTP_OK;
    put->done = "staple is live";
    ngx_http_certctl_record_live(put->mcf);

    return NGX_DONE;
}


/* Whether the store has a later staple of the same certificate, and keeps it. */

static ngx_uint_t
ngx_http_certctl_put_newer_staple(ngx_http_certctl_put_t *put)
{
    size_t  len;

    len = put->chain.leaf_len;

    return put->has_old
           && put->staple.len
           && put->old.chain.len >= len
           && ngx_memcmp(put->old.chain.data, put->chain.der, len) == 0
           && !certctl_staple_replaces(&put->staple, put->staple_until,
                                       &put->old.staple,
                                       put->old.staple_until);
}


/* What is live: the same chain again is no change, and no error. */

static ngx_int_t
ngx_http_certctl_put_old(ngx_http_certctl_put_t *put)
{
    int       rc;
    uint64_t  generation;

    rc = certctl_store_read(put->mcf->certctl.store, put->name, &put->old);

    put->has_old = (rc == CERTCTL_STORE_OK);
    put->newer_staple = ngx_http_certctl_put_newer_staple(put);
    generation = put->has_old ? put->old.generation : 0;

    /* a write that ended in between, or never, may have told nobody yet */

    if (put->has_old
        && put->old.chain.len == put->chain.len
        && !certctl_store_unfinished(put->mcf->certctl.store, put->name)
        && ngx_memcmp(put->old.chain.data, put->chain.der, put->chain.len)
           == 0)
    {
        return ngx_http_certctl_put_again(put);
    }

    /* a damaged record is set aside by now: a good one may take its place */

    if (rc == CERTCTL_STORE_FULL || rc == CERTCTL_STORE_ERROR) {
        ngx_http_certctl_put_failed(put, rc);
        return NGX_ERROR;
    }

    if (!ngx_http_certctl_record_matches(put->if_match, generation)) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
    }

    return NGX_OK;
}


/*
 * Whether the leaf is for this key.  spki was worked out from the key when it
 * was sealed; one key may have two encodings, so a difference proves nothing.
 */

static ngx_uint_t
ngx_http_certctl_put_is_key(ngx_http_certctl_put_t *put, const u_char *spki,
    certctl_blob_t *key)
{
    X509          *leaf;
    EVP_PKEY      *pkey, *pub;
    ngx_uint_t     same;
    const u_char  *p;

    if (ngx_memcmp(spki, put->record.spki, sizeof(put->record.spki)) == 0) {
        return 1;
    }

    p = put->chain.der;
    leaf = certctl_x509_read(&p, put->chain.leaf_len);
    pub = leaf ? X509_get0_pubkey(leaf) : NULL;
    pkey = certctl_key_from_der(key->data, key->len);
    same = pkey && pub && EVP_PKEY_eq(pkey, pub) == 1;

    EVP_PKEY_free(pkey);
    X509_free(leaf);

    return same;
}


/* NGX_AGAIN: it is not the pending key. */

static ngx_int_t
ngx_http_certctl_put_fit_pending(ngx_http_certctl_put_t *put)
{
    const char          *rule;
    certctl_pending_t   *pending;

    pending = &put->pending;

    if (certctl_store_pending_get(put->mcf->certctl.store, put->name, pending)
        != CERTCTL_STORE_OK)
    {
        return NGX_AGAIN;
    }

    if (!ngx_http_certctl_put_is_key(put, pending->spki, &pending->key)) {
        return NGX_AGAIN;
    }

    rule = pending->sans.len ? certctl_names_are(put->chain.leaf.names,
                                                 (char *) pending->sans.data)
                             : "the pending CSR has no names";

    if (rule) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CERTCTL_UNPROCESSABLE,
                                           rule);
    }

    put->record.key = pending->key;

    return NGX_OK;
}


/* A renewal with the key that is live, and so with the names that are. */

static ngx_int_t
ngx_http_certctl_put_fit_old(ngx_http_certctl_put_t *put)
{
    const char           *rule;
    struct certctl_leaf   old;

    if (!ngx_http_certctl_put_is_key(put, put->old.spki, &put->old.key)) {
        return NGX_AGAIN;
    }

    rule = certctl_leaf_read(put->old.chain.data, put->old.chain.len, &old);

    if (rule == NULL) {
        rule = old.names ? certctl_names_equal(put->chain.leaf.names, old.names)
                         : "the stored certificate has no subjectAltName";

        certctl_leaf_free(&old);
    }

    if (rule) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CERTCTL_UNPROCESSABLE,
                                           rule);
    }

    put->record.key = put->old.key;

    return NGX_OK;
}


/* Finds the private key of the leaf, and the names it was asked for. */

static ngx_int_t
ngx_http_certctl_put_key(ngx_http_certctl_put_t *put)
{
    ngx_int_t  rc;

    if (put->keygen) {
        put->record.key = put->key;
        return NGX_OK;
    }

    rc = ngx_http_certctl_put_fit_pending(put);

    /* the identity is renewed with a new key, or one that was asked for */

    if (rc == NGX_AGAIN && put->has_old && !put->identity) {
        rc = ngx_http_certctl_put_fit_old(put);
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CERTCTL_UNPROCESSABLE,
                     put->identity
                     ? "the certificate does not match the pending key of the "
                       "control listener's identity"
                     : "the certificate matches neither the pending nor the "
                       "stored key of this name");
    }

    return rc;
}


/* What no handshake could use does not replace what handshakes use. */

static ngx_int_t
ngx_http_certctl_put_try(ngx_http_certctl_put_t *put)
{
    const char  *rule, *warning;

    rule = ngx_certctl_trial(&put->mcf->certctl, put->name, &put->chain,
                             &put->record.key, &warning);
    if (rule) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CERTCTL_UNPROCESSABLE,
                                           rule);
    }

    ngx_http_certctl_put_warn(put, warning);

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put)
{
    ngx_int_t  rc;

    ngx_http_certctl_put_forget(put);

    rc = ngx_http_certctl_put_old(put);

    if (rc == NGX_OK) {
        rc = ngx_http_certctl_put_key(put);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_certctl_put_try(put);
    }

    /* what was looked at is what may be replaced */

    if (rc == NGX_OK) {
        put->record.generation = put->has_old ? put->old.generation
                                              : CERTCTL_STORE_NONE;
    }

    if (rc == NGX_OK && put->has_old) {
        put->record.reused_key = ngx_memcmp(put->old.spki, put->record.spki,
                                            sizeof(put->record.spki))
                                 == 0;
    }

    return rc;
}


void
ngx_http_certctl_put_stored(ngx_http_certctl_put_t *put, int rc,
    uint64_t generation)
{
    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_put_failed(put, rc);
        return;
    }

    put->status = NGX_HTTP_OK;
    put->generation = generation;
    put->done = "certificate is live";

    ngx_http_certctl_record_live(put->mcf);
    (void) ngx_atomic_fetch_add(&put->mcf->certctl.zone->swaps, 1);
}


void
ngx_http_certctl_put_alone(ngx_http_certctl_put_t *put)
{
    int         rc;
    uint64_t    generation;
    ngx_uint_t  tries;

    for (tries = 0; tries < NGX_HTTP_CERTCTL_PUT_TRIES; tries++) {

        if (ngx_http_certctl_put_fit(put) != NGX_OK) {
            return;
        }

        CERTCTL_POINT("put.before_commit");

        rc = certctl_store_put(put->mcf->certctl.store, &put->record,
                               &generation, ngx_certctl_invalidate,
                               &put->mcf->certctl);

        if (rc != CERTCTL_STORE_CONFLICT) {
            ngx_http_certctl_put_stored(put, rc, generation);
            return;
        }
    }

    (void) ngx_http_certctl_put_refuse(put, NGX_HTTP_CONFLICT,
                           "other requests have changed this record each time");
}


void
ngx_http_certctl_put_warnings(ngx_http_certctl_put_t *put,
    ngx_http_certctl_json_t *json)
{
    if (put->chain.warning == NULL && put->warning[0] == '\0') {
        return;
    }

    ngx_http_certctl_json_open(json, "warnings", '[');

    if (put->chain.warning) {
        ngx_http_certctl_json_text(json, NULL, put->chain.warning);
    }

    if (put->warning[0]) {
        ngx_http_certctl_json_text(json, NULL, put->warning);
    }

    ngx_http_certctl_json_close(json, ']');
}


void
ngx_http_certctl_put_free(ngx_http_certctl_put_t *put)
{
    ngx_http_certctl_put_forget(put);

    certctl_accepted_free(&put->chain);
    OPENSSL_clear_free(put->key.data, put->key.len);
    OPENSSL_free(put->staple.data);
}


void
ngx_http_certctl_request_put(ngx_http_certctl_call_t *call)
{
    char                    *keygen;
    ngx_http_certctl_put_t   put;

    ngx_memzero(&put, sizeof(ngx_http_certctl_put_t));

    keygen = call->args[NGX_HTTP_CERTCTL_ARG_KEYGEN];

    put.mcf = call->mcf;
    put.pem.data = call->body;
    put.pem.len = call->body_len;
    put.keygen = keygen && ngx_strcmp(keygen, "server") == 0;
    ngx_memcpy(put.name, call->name, sizeof(put.name));
    ngx_memcpy(put.if_match, call->if_match, sizeof(put.if_match));

    if (ngx_http_certctl_put_check(&put) == NGX_OK) {
        ngx_http_certctl_put_alone(&put);
    }

    call->done = put.done;
    call->err = put.err;

    if (put.rule) {
        ngx_http_certctl_request_error(call, put.status, put.rule);

    } else {
        CERTCTL_POINT("put.before_answer");
        ngx_http_certctl_request_live(call, &put.chain.leaf, put.generation,
                                      &put);
    }

    ngx_http_certctl_put_free(&put);
}
