
/*
 * PUT ocsp/{fingerprint}: keeps a response for the certificate with this
 * SHA-256, stored or static, when it may be stapled (RFC 6960, RFC 6066 8).
 * After one that says "revoked", and after DELETE ocsp/{fingerprint}, the
 * response that is kept is not stapled.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "x509_chain.h"
#include "x509_facts.h"
#include "x509_ocsp.h"
#include "x509_rule.h"
#include "point.h"


typedef struct {
    ngx_http_certctl_call_t   *call;
    u_char                     digest[SHA256_DIGEST_LENGTH];
    certctl_blob_t             der;         /* empty: withdraw */
    struct certctl_ocsp_info   info;
    certctl_record_t           record;      /* of the certificate */
    uint64_t                   generation;
    time_t                     newer;       /* thisUpdate of one that stays */

    unsigned                   found:1;     /* the certificate */
    unsigned                   done:1;
} ngx_http_certctl_ocsp_t;


/* The fingerprint in the path, which the route took for a name. */

static ngx_int_t
ngx_http_certctl_ocsp_digest(ngx_http_certctl_ocsp_t *ocsp)
{
    size_t  len;

    if (OPENSSL_hexstr2buf_ex(ocsp->digest, sizeof(ocsp->digest), &len,
                              ocsp->call->name, '\0')
        != 1
        || len != sizeof(ocsp->digest))
    {
        return ngx_http_certctl_request_error(ocsp->call, NGX_HTTP_BAD_REQUEST,
                    "fingerprint must be 64 hexadecimal digits (SHA-256)");
    }

    certctl_hex(ocsp->digest, len, ocsp->call->fingerprint);
    ngx_memcpy(ocsp->call->name, ocsp->call->fingerprint, CERTCTL_HEX256);

    return NGX_OK;
}


/* Whether the record is of the certificate. */

static ngx_uint_t
ngx_http_certctl_ocsp_matches(ngx_http_certctl_ocsp_t *ocsp)
{
    int              tag, class;
    long             len;
    u_char           digest[SHA256_DIGEST_LENGTH];
    const u_char    *p;
    certctl_blob_t  *chain;

    chain = &ocsp->record.chain;
    p = chain->data;

    if (ASN1_get_object(&p, &len, &tag, &class, chain->len) & 0x80) {
        return 0;
    }

    (void) SHA256(chain->data, p - chain->data + len, digest);

    return ngx_memcmp(digest, ocsp->digest, sizeof(digest)) == 0;
}


/* certctl_store_each(): 1 stops it. */

static int
ngx_http_certctl_ocsp_try(const char *name, void *data)
{
    ngx_http_certctl_ocsp_t *ocsp = data;

    if (certctl_store_read(ocsp->call->mcf->certctl.store, name, &ocsp->record)
        != CERTCTL_STORE_OK)
    {
        return 0;
    }

    ocsp->found = ngx_http_certctl_ocsp_matches(ocsp);

    if (!ocsp->found) {
        certctl_record_free(&ocsp->record);
    }

    return ocsp->found;
}


/* By the name the client gave; else by the fingerprint's entry in names/, and
   should a crash have lost that, by looking at every record. */

static int
ngx_http_certctl_ocsp_read(ngx_http_certctl_ocsp_t *ocsp)
{
    int               rc;
    char             *name;
    ngx_uint_t        kind;
    certctl_store_t  *store;

    store = ocsp->call->mcf->certctl.store;
    name = ocsp->call->args[NGX_HTTP_CERTCTL_ARG_NAME];

    if (name) {
        return certctl_store_read(store, name, &ocsp->record);
    }

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {
        rc = certctl_store_find(store, kind, ocsp->call->fingerprint,
                                &ocsp->record);

        if (rc != CERTCTL_STORE_NOT_FOUND) {
            return rc;
        }
    }

    rc = certctl_store_each(store, ngx_http_certctl_ocsp_try, ocsp);

    return ocsp->found ? CERTCTL_STORE_OK
           : rc == CERTCTL_STORE_OK ? CERTCTL_STORE_NOT_FOUND : rc;
}


/*
 * Until when the store is to have the response stapled.  One that may not be
 * stapled, and does not say "revoked", is refused.
 */

static ngx_int_t
ngx_http_certctl_ocsp_check(ngx_http_certctl_ocsp_t *ocsp, X509 *cert,
    STACK_OF(X509) *chain, int64_t *until)
{
    const char  *rule;

    *until = CERTCTL_STAPLE_WITHDRAWN;

    if (ocsp->der.len == 0) {
        return NGX_OK;
    }

    rule = certctl_ocsp_check_staple(ocsp->der.data, ocsp->der.len, cert,
                                     chain, time(NULL), &ocsp->info);

    if (rule == NULL) {
        *until = ocsp->info.next_update;

    } else if (ocsp->info.answers == 0
               || ocsp->info.status != CERTCTL_OCSP_REVOKED)
    {
        return ngx_http_certctl_request_error(ocsp->call, 422, rule);
    }

    return NGX_OK;
}


/* What the store answered; old is the response that it had. */

static ngx_int_t
ngx_http_certctl_ocsp_written(ngx_http_certctl_ocsp_t *ocsp, int rc,
    const certctl_blob_t *old)
{
    if (rc == CERTCTL_STORE_OLDER) {
        ocsp->newer = certctl_ocsp_this_update(old->data, old->len);
        return NGX_OK;
    }

    if (rc != CERTCTL_STORE_OK) {
        return ngx_http_certctl_request_store_error(ocsp->call, rc);
    }

    ocsp->done = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_ocsp_write(ngx_http_certctl_ocsp_t *ocsp)
{
    int                rc;
    int64_t            until;
    ngx_int_t          checked;
    const char        *rule;
    STACK_OF(X509)    *chain;
    certctl_record_t  *record;

    record = &ocsp->record;
    ocsp->found = 1;

    chain = certctl_chain_from_der(record->chain.data, record->chain.len,
                                   &rule);
    if (chain == NULL) {
        return ngx_http_certctl_request_store_error(ocsp->call,
                                                    CERTCTL_STORE_DAMAGED);
    }

    checked = ngx_http_certctl_ocsp_check(ocsp, sk_X509_value(chain, 0), chain,
                                          &until);

    sk_X509_pop_free(chain, X509_free);

    if (checked != NGX_OK || (ocsp->der.len == 0 && record->staple.len == 0)) {
        return checked;
    }

    CERTCTL_POINT("ocsp.before_commit");

    rc = certctl_store_staple(ocsp->call->mcf->certctl.store, record->name,
                              ocsp->digest, &ocsp->der, until,
                              &ocsp->generation, ngx_certctl_invalidate,
                              &ocsp->call->mcf->certctl);

    return ngx_http_certctl_ocsp_written(ocsp, rc, &record->staple);
}


static ngx_int_t
ngx_http_certctl_ocsp_stored(ngx_http_certctl_ocsp_t *ocsp)
{
    int        rc;
    ngx_int_t  done;

    rc = ngx_http_certctl_ocsp_read(ocsp);

    if (rc != CERTCTL_STORE_OK) {
        return rc == CERTCTL_STORE_NOT_FOUND
               ? NGX_OK : ngx_http_certctl_request_store_error(ocsp->call, rc);
    }

    done = ngx_http_certctl_ocsp_matches(ocsp)
           ? ngx_http_certctl_ocsp_write(ocsp) : NGX_OK;

    certctl_record_free(&ocsp->record);

    return done;
}


/* A certificate of the configuration: both parts of it never change. */

static ngx_int_t
ngx_http_certctl_ocsp_static(ngx_http_certctl_ocsp_t *ocsp)
{
    int                  rc;
    int64_t              until, old_until;
    ngx_int_t            done;
    ngx_certctl_t       *certctl;
    certctl_blob_t       old;
    ngx_certctl_cert_t  *cert;

    certctl = &ocsp->call->mcf->certctl;

    cert = ngx_certctl_static(certctl, ocsp->digest);
    if (cert == NULL) {
        return NGX_OK;
    }

    ocsp->found = 1;

    if (ngx_http_certctl_ocsp_check(ocsp, cert->x509, cert->chain, &until)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&old, sizeof(certctl_blob_t));

    rc = certctl_store_static_staple_get(certctl->store, ocsp->digest, &old,
                                         &old_until);

    if (ocsp->der.len || rc == CERTCTL_STORE_OK) {
        CERTCTL_POINT("ocsp.before_static_commit");

        rc = certctl_store_static_staple_put(certctl->store, ocsp->digest,
                                       ocsp->der.len ? &ocsp->der : &old,
                                       until, ngx_certctl_invalidate, certctl);

    } else if (rc == CERTCTL_STORE_NOT_FOUND) {
        return NGX_OK;
    }

    done = ngx_http_certctl_ocsp_written(ocsp, rc, &old);

    free(old.data);

    return done;
}


static void
ngx_http_certctl_ocsp_answer(ngx_http_certctl_ocsp_t *ocsp)
{
    ngx_uint_t                good;
    ngx_http_certctl_call_t  *call;

    call = ocsp->call;
    good = ocsp->der.len && ocsp->info.status == CERTCTL_OCSP_GOOD;

    call->generation = ocsp->generation;
    call->done = good ? "staple is live" : "staple is withdrawn";

    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_text(&call->json, "fingerprint", call->fingerprint);
    ngx_http_certctl_json_number(&call->json, "generation", ocsp->generation);
    ngx_http_certctl_json_text(&call->json, "status",
                               ocsp->der.len == 0 ? "withdrawn"
                               : good ? "good" : "revoked");

    if (ocsp->der.len) {
        ngx_http_certctl_json_time(&call->json, "this_update",
                                   ocsp->info.this_update);
        ngx_http_certctl_json_time(&call->json, "next_update",
                                   ocsp->info.next_update);
    }

    ngx_http_certctl_json_close(&call->json, '}');
}


static char *
ngx_http_certctl_ocsp_time(time_t when, char *buf, size_t size)
{
    struct tm  tm;

    return gmtime_r(&when, &tm)
           && strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) ? buf : "?";
}


static void
ngx_http_certctl_ocsp_older(ngx_http_certctl_ocsp_t *ocsp)
{
    char  sent[32], old[32];

    ngx_http_certctl_request_error(ocsp->call, NGX_HTTP_CONFLICT,
               certctl_rule("thisUpdate of the OCSP response, %s, is not later "
                            "than that of the one that was stored or withdrawn "
                            "before, %s: send a newer response (RFC 6960 2.4)",
                            ngx_http_certctl_ocsp_time(ocsp->info.this_update,
                                                       sent, sizeof(sent)),
                            ngx_http_certctl_ocsp_time(ocsp->newer, old,
                                                       sizeof(old))));
}


void
ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_ocsp_t  ocsp;

    ngx_memzero(&ocsp, sizeof(ngx_http_certctl_ocsp_t));

    ocsp.call = call;
    ocsp.der.data = call->body;
    ocsp.der.len = call->body_len;

    if (call->route->media && ocsp.der.len == 0) {
        ngx_http_certctl_request_error(call, 422,
                   "the OCSP response is not valid DER (RFC 6960 4.2.1)");
        return;
    }

    if (ngx_http_certctl_ocsp_digest(&ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_stored(&ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_static(&ocsp) != NGX_OK)
    {
        return;
    }

    if (ocsp.done) {
        ngx_http_certctl_ocsp_answer(&ocsp);

    } else if (ocsp.newer) {
        ngx_http_certctl_ocsp_older(&ocsp);

    } else {
        ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                      ocsp.found
                      ? "the certificate with this fingerprint has no staple"
                      : "no certificate has this fingerprint");
    }
}
