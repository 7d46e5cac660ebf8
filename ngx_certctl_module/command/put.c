
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


/* Attempts to replace the version that was read. */
#define NGX_HTTP_CERTCTL_PUT_TRIES  3


static const char *
ngx_http_certctl_put_parse(ngx_http_certctl_put_t *put)
{
    EVP_PKEY                   *key;
    const char                 *rule;
    struct certctl_pem_bundle   bundle;

    key = NULL;

    rule = certctl_pem_bundle((char *) put->pem.data, put->pem.len, &bundle);

    if (rule == NULL) {
        rule = ngx_http_certctl_put_take_key(put, &bundle, &key);
    }

    if (rule == NULL) {
        rule = certctl_chain_accept(&bundle, &ngx_http_certctl_keep_ca, key,
                                    time(NULL), &put->chain);
    }

    if (rule == NULL) {
        rule = ngx_http_certctl_put_take_staple(put, &bundle);
    }

    certctl_pem_bundle_free(&bundle);
    EVP_PKEY_free(key);

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


static ngx_int_t
ngx_http_certctl_put_failed(ngx_http_certctl_put_t *put, int rc)
{
    put->err = ngx_errno;
    put->rule = ngx_http_certctl_store_rule(rc, &put->status);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_certctl_put_if_match(ngx_http_certctl_put_t *put, uint64_t generation)
{
    return ngx_http_certctl_record_matches(put->if_match, generation)
           ? NGX_OK
           : ngx_http_certctl_put_refuse(put, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
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

        rule = ngx_http_certctl_put_identity(put);
    }

    return rule ? ngx_http_certctl_put_refuse(put, 422, rule) : NGX_OK;
}


/* Forgets what was read from the store. */

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


/* What no handshake could use does not replace what handshakes use. */

static const char *
ngx_http_certctl_put_try(ngx_http_certctl_put_t *put, certctl_blob_t *key)
{
    const char  *rule, *warning;

    rule = ngx_certctl_trial(&put->mcf->certctl, put->name, &put->chain, key,
                             &warning);

    warning = rule ? rule : warning ? warning : "";
    ngx_cpystrn((u_char *) put->warning, (u_char *) warning,
                sizeof(put->warning));

    return rule;
}


/*
 * The chain is live: of what was sent only the staple may be new.  As with PUT
 * ocsp the version before stays the one to go back to.
 */

static ngx_int_t
ngx_http_certctl_put_again(ngx_http_certctl_put_t *put)
{
    int              rc;
    certctl_blob_t  *staple;

    put->generation = put->old.generation;
    put->status = NGX_HTTP_OK;
    staple = &put->record.staple;

    /* NGINX's configuration may have changed since it became live */

    (void) ngx_http_certctl_put_try(put, &put->old.key);

    if (staple->len == 0
        || put->newer_staple
        || (staple->len == put->old.staple.len
            && ngx_memcmp(staple->data, put->old.staple.data, staple->len)
               == 0))
    {
        /* before If-Match: the change was made already (RFC 9110 13.1.1) */

        return NGX_DONE;
    }

    if (ngx_http_certctl_put_if_match(put, put->generation) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = certctl_store_staple(put->mcf->certctl.store, put->name,
                              put->chain.leaf.digest, staple,
                              put->record.staple_until, &put->generation,
                              ngx_certctl_invalidate, &put->mcf->certctl);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        return ngx_http_certctl_put_refuse(put, NGX_HTTP_CONFLICT,
                                   "another request has changed this record");
    }

    if (rc == CERTCTL_STORE_OLDER) {
        put->newer_staple = 1;
        return NGX_DONE;
    }

    if (rc != CERTCTL_STORE_OK) {
        return ngx_http_certctl_put_failed(put, rc);
    }

    put->done = "staple is live";

    return NGX_DONE;
}


/* Whether the store has, and keeps, a later staple of the same certificate. */

static ngx_uint_t
ngx_http_certctl_put_newer_staple(ngx_http_certctl_put_t *put)
{
    size_t  len;

    len = put->chain.leaf_len;

    return put->has_old
           && put->record.staple.len
           && put->old.chain.len >= len
           && ngx_memcmp(put->old.chain.data, put->chain.der, len) == 0
           && !certctl_staple_replaces(&put->record.staple,
                                       put->record.staple_until,
                                       &put->old.staple,
                                       put->old.staple_until);
}


/* What is live: the same chain again is no change, and no error. */

static ngx_int_t
ngx_http_certctl_put_old(ngx_http_certctl_put_t *put)
{
    int  rc;

    rc = certctl_store_read(put->mcf->certctl.store, put->name, &put->old);

    put->has_old = (rc == CERTCTL_STORE_OK);
    put->newer_staple = ngx_http_certctl_put_newer_staple(put);

    /* after a write that was interrupted, workers may not know of the chain */

    if (put->has_old
        && put->old.chain.len == put->chain.len
        && !certctl_store_unfinished(put->mcf->certctl.store, put->name)
        && ngx_memcmp(put->old.chain.data, put->chain.der, put->chain.len)
           == 0)
    {
        return ngx_http_certctl_put_again(put);
    }

    /* a good record may take the place of a damaged one */

    if (rc == CERTCTL_STORE_FULL || rc == CERTCTL_STORE_ERROR) {
        return ngx_http_certctl_put_failed(put, rc);
    }

    return ngx_http_certctl_put_if_match(put, put->has_old
                                              ? put->old.generation : 0);
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


/* With the key that is live a renewal has the names that are live. */

static const char *
ngx_http_certctl_put_same_names(ngx_http_certctl_put_t *put)
{
    const char           *rule;
    struct certctl_leaf   old;

    rule = certctl_leaf_read(put->old.chain.data, put->old.chain.len, &old);

    if (rule == NULL) {
        rule = old.names ? certctl_names_equal(put->chain.leaf.names, old.names)
                         : "the stored certificate has no subjectAltName";

        certctl_leaf_free(&old);
    }

    return rule;
}


/* Finds the private key of the leaf, and compares the names it was made for:
   NULL, or a rule. */

static const char *
ngx_http_certctl_put_find_key(ngx_http_certctl_put_t *put)
{
    certctl_pending_t  *pending;

    if (put->keygen) {
        put->record.key = put->key;
        return NULL;
    }

    pending = &put->pending;

    if (certctl_store_pending_get(put->mcf->certctl.store, put->name, pending)
        == CERTCTL_STORE_OK
        && ngx_http_certctl_put_is_key(put, pending->spki, &pending->key))
    {
        put->record.key = pending->key;

        return pending->sans.len
               ? certctl_names_are(put->chain.leaf.names,
                                   (char *) pending->sans.data)
               : "the pending CSR has no names";
    }

    /* the identity is renewed with the pending key only */

    if (put->identity) {
        return "the certificate does not match the pending key of the "
               "control listener's identity";
    }

    if (put->has_old
        && ngx_http_certctl_put_is_key(put, put->old.spki, &put->old.key))
    {
        put->record.key = put->old.key;

        return ngx_http_certctl_put_same_names(put);
    }

    return "the certificate matches neither the pending nor the stored key of "
           "this name";
}


ngx_int_t
ngx_http_certctl_put_fit(ngx_http_certctl_put_t *put)
{
    ngx_int_t    rc;
    const char  *rule;

    ngx_http_certctl_put_forget(put);

    rc = ngx_http_certctl_put_old(put);

    if (rc != NGX_OK) {
        return rc;
    }

    rule = ngx_http_certctl_put_find_key(put);

    if (rule == NULL) {
        rule = ngx_http_certctl_put_try(put, &put->record.key);
    }

    if (rule) {
        return ngx_http_certctl_put_refuse(put, 422, rule);
    }

    /* nothing but what was read may be replaced */

    put->record.generation = CERTCTL_STORE_NONE;

    if (put->has_old) {
        put->record.generation = put->old.generation;
        put->record.reused_key = ngx_memcmp(put->old.spki, put->record.spki,
                                            sizeof(put->record.spki))
                                 == 0;
    }

    return NGX_OK;
}


void
ngx_http_certctl_put_stored(ngx_http_certctl_put_t *put, int rc,
    uint64_t generation)
{
    if (rc != CERTCTL_STORE_OK) {
        (void) ngx_http_certctl_put_failed(put, rc);
        return;
    }

    put->status = NGX_HTTP_OK;
    put->generation = generation;
    put->done = "certificate is live";

    (void) ngx_atomic_fetch_add(&put->mcf->certctl.zone->swaps, 1);
}


void
ngx_http_certctl_put_commit(ngx_http_certctl_put_t *put)
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
ngx_http_certctl_put_answer(ngx_http_certctl_put_t *put,
    ngx_http_certctl_json_t *json, char *fingerprint)
{
    ngx_uint_t   i, open;
    const char  *warnings[3];

    ngx_http_certctl_record_members(json, put->name, &put->chain.leaf,
                                    put->generation, fingerprint);

    if (put->newer_staple) {
        ngx_http_certctl_json_flag(json, "newer_staple_kept", 1);
    }

    warnings[0] = put->chain.warning;
    warnings[1] = put->warning[0] ? put->warning : NULL;
    warnings[2] = ngx_http_certctl_put_ip(put);

    for (i = 0, open = 0; i < sizeof(warnings) / sizeof(warnings[0]); i++) {

        if (warnings[i] == NULL) {
            continue;
        }

        if (!open) {
            ngx_http_certctl_json_open(json, "warnings", '[');
            open = 1;
        }

        ngx_http_certctl_json_text(json, NULL, warnings[i]);
    }

    if (open) {
        ngx_http_certctl_json_close(json, ']');
    }
}


void
ngx_http_certctl_put_free(ngx_http_certctl_put_t *put)
{
    ngx_http_certctl_put_forget(put);

    certctl_accepted_free(&put->chain);
    OPENSSL_clear_free(put->key.data, put->key.len);
    OPENSSL_free(put->record.staple.data);
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
        ngx_http_certctl_put_commit(&put);
    }

    call->done = put.done;
    call->err = put.err;
    call->generation = put.generation;

    if (put.rule) {
        ngx_http_certctl_request_error(call, put.status, put.rule);

    } else {
        CERTCTL_POINT("put.before_answer");

        ngx_http_certctl_answer_open(call);
        ngx_http_certctl_put_answer(&put, &call->json, call->fingerprint);
        ngx_http_certctl_json_close(&call->json, '}');

        if (put.identity) {
            (void) ngx_http_certctl_agent_fingerprint(
                                        (char *) call->mcf->store_path.data,
                                        call->fingerprint);
        }
    }

    ngx_http_certctl_put_free(&put);
}
