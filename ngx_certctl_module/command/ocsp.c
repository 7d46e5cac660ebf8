
/*
 * PUT ocsp/{fingerprint}: keeps a response for the certificate with this
 * SHA-256, stored or static, when it may be stapled (RFC 6960, RFC 6066 8).
 * One that says "revoked" ends the stapling of what was kept before, and so does
 * DELETE ocsp/{fingerprint}.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "x509_chain.h"
#include "x509_facts.h"
#include "x509_ocsp.h"
#include "point.h"


typedef struct {
    ngx_http_certctl_call_t   *call;
    u_char                     digest[SHA256_DIGEST_LENGTH];
    certctl_blob_t             der;         /* empty: withdraw */
    struct certctl_ocsp_info   info;
    uint64_t                   generation;
    time_t                     newer;       /* thisUpdate of one that stays */

    unsigned                   found:1;     /* the certificate */
    unsigned                   done:1;
} ngx_http_certctl_ocsp_t;


typedef struct {
    certctl_store_t           *store;
    const u_char              *digest;
    certctl_record_t          *record;
    ngx_uint_t                 found;
} ngx_http_certctl_ocsp_walk_t;


/* The fingerprint in the path, which the route took for a name. */

static ngx_int_t
ngx_http_certctl_ocsp_digest(ngx_http_certctl_ocsp_t *ocsp)
{
    char        *p;
    ngx_int_t    n;
    ngx_uint_t   i;

    p = ocsp->call->name;
    n = ngx_strlen(p) == 2 * sizeof(ocsp->digest) ? 0 : NGX_ERROR;

    for (i = 0; i < sizeof(ocsp->digest) && n != NGX_ERROR; i++) {
        n = ngx_hextoi((u_char *) &p[2 * i], 2);
        ocsp->digest[i] = (u_char) n;
    }

    if (n == NGX_ERROR) {
        ngx_http_certctl_request_error(ocsp->call, NGX_HTTP_BAD_REQUEST,
                    "fingerprint must be 64 hexadecimal digits (SHA-256)");
        return NGX_ERROR;
    }

    certctl_hex(ocsp->digest, sizeof(ocsp->digest), p);
    ngx_memcpy(ocsp->call->fingerprint, p, CERTCTL_HEX256);

    return NGX_OK;
}


/* 1 ends the walk: this is the record. */

static int
ngx_http_certctl_ocsp_walk(const char *name, void *data)
{
    ngx_http_certctl_ocsp_walk_t *walk = data;

    long           len;
    int            tag, class;
    u_char         digest[SHA256_DIGEST_LENGTH];
    const u_char  *p, *leaf;

    if (certctl_store_read(walk->store, name, walk->record)
        != CERTCTL_STORE_OK)
    {
        return 0;
    }

    leaf = walk->record->chain.data;
    p = leaf;

    if (!(ASN1_get_object(&p, &len, &tag, &class, walk->record->chain.len)
          & 0x80))
    {
        (void) SHA256(leaf, p - leaf + len, digest);

        walk->found = ngx_memcmp(digest, walk->digest, sizeof(digest)) == 0;
    }

    if (walk->found) {
        return 1;
    }

    certctl_record_free(walk->record);

    return 0;
}


/* By the name the client gave; else by the fingerprint's entry in names/, and
   should a crash have lost that, by looking at every record. */

static int
ngx_http_certctl_ocsp_read(ngx_http_certctl_ocsp_t *ocsp,
    certctl_record_t *record)
{
    int                            rc;
    ngx_uint_t                     kind;
    certctl_store_t               *store;
    ngx_http_certctl_call_t       *call;
    ngx_http_certctl_ocsp_walk_t   walk;

    call = ocsp->call;
    store = call->mcf->certctl.store;

    if (call->args[NGX_HTTP_CERTCTL_ARG_NAME]) {
        return certctl_store_read(store, call->args[NGX_HTTP_CERTCTL_ARG_NAME],
                                  record);
    }

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {
        rc = certctl_store_find(store, kind, call->fingerprint, record);

        if (rc != CERTCTL_STORE_NOT_FOUND) {
            return rc;
        }
    }

    walk.store = store;
    walk.digest = ocsp->digest;
    walk.record = record;

    walk.found = 0;

    rc = certctl_store_each(store, ngx_http_certctl_ocsp_walk, &walk);

    return walk.found ? CERTCTL_STORE_OK
           : rc == CERTCTL_STORE_OK ? CERTCTL_STORE_NOT_FOUND : rc;
}


/*
 * What the store is to keep of the response as its end.  A response that may not
 * be stapled, and does not say "revoked", is refused.
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
        ngx_http_certctl_request_error(ocsp->call, 422, rule);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* What the store said; kept is what it had before. */

static ngx_int_t
ngx_http_certctl_ocsp_kept(ngx_http_certctl_ocsp_t *ocsp, int rc,
    const certctl_blob_t *kept)
{
    if (rc == CERTCTL_STORE_OLDER) {
        ocsp->newer = certctl_ocsp_this_update(kept->data, kept->len);
        return NGX_OK;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(ocsp->call, rc);
        return NGX_ERROR;
    }

    ocsp->done = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_ocsp_staple(ngx_http_certctl_ocsp_t *ocsp,
    certctl_record_t *record)
{
    int              rc;
    u_char           digest[EVP_MAX_MD_SIZE];
    X509            *leaf;
    int64_t          until;
    ngx_int_t        done;
    const char      *rule;
    STACK_OF(X509)  *chain;

    chain = certctl_chain_from_der(record->chain.data, record->chain.len,
                                   &rule);
    if (chain == NULL) {
        ngx_http_certctl_request_store_error(ocsp->call,
                                             CERTCTL_STORE_DAMAGED);
        return NGX_ERROR;
    }

    leaf = sk_X509_value(chain, 0);

    if (X509_digest(leaf, EVP_sha256(), digest, NULL) == 0
        || ngx_memcmp(digest, ocsp->digest, sizeof(ocsp->digest)) != 0)
    {
        sk_X509_pop_free(chain, X509_free);
        return NGX_OK;
    }

    ocsp->found = 1;
    done = ngx_http_certctl_ocsp_check(ocsp, leaf, chain, &until);

    sk_X509_pop_free(chain, X509_free);

    if (done != NGX_OK || (ocsp->der.len == 0 && record->staple.len == 0)) {
        return done;
    }

    CERTCTL_POINT("ocsp.before_commit");

    rc = certctl_store_staple(ocsp->call->mcf->certctl.store, record->name,
                              ocsp->digest, &ocsp->der, until,
                              &ocsp->generation, ngx_certctl_invalidate,
                              &ocsp->call->mcf->certctl);

    return ngx_http_certctl_ocsp_kept(ocsp, rc, &record->staple);
}


static ngx_int_t
ngx_http_certctl_ocsp_stored(ngx_http_certctl_ocsp_t *ocsp)
{
    int               rc;
    ngx_int_t         done;
    certctl_record_t  record;

    rc = ngx_http_certctl_ocsp_read(ocsp, &record);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        return NGX_OK;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(ocsp->call, rc);
        return NGX_ERROR;
    }

    done = ngx_http_certctl_ocsp_staple(ocsp, &record);

    certctl_record_free(&record);

    return done;
}


/* A certificate of the configuration: both parts of it never change. */

static ngx_int_t
ngx_http_certctl_ocsp_static(ngx_http_certctl_ocsp_t *ocsp)
{
    int                  rc;
    int64_t              until, old;
    ngx_int_t            done;
    ngx_certctl_t       *certctl;
    certctl_blob_t       kept;
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

    ngx_memzero(&kept, sizeof(certctl_blob_t));

    rc = certctl_store_static_staple_get(certctl->store, ocsp->digest, &kept,
                                         &old);

    if (ocsp->der.len == 0 && rc == CERTCTL_STORE_NOT_FOUND) {
        return NGX_OK;
    }

    if (ocsp->der.len || rc == CERTCTL_STORE_OK) {
        CERTCTL_POINT("ocsp.before_static_commit");

        rc = certctl_store_static_staple_put(certctl->store, ocsp->digest,
                                       ocsp->der.len ? &ocsp->der : &kept,
                                       until, ngx_certctl_invalidate, certctl);
    }

    done = ngx_http_certctl_ocsp_kept(ocsp, rc, &kept);

    free(kept.data);

    return done;
}


static void
ngx_http_certctl_ocsp_answer(ngx_http_certctl_ocsp_t *ocsp)
{
    ngx_http_certctl_call_t  *call;

    call = ocsp->call;

    call->generation = ocsp->generation;
    ngx_http_certctl_record_live(call->mcf);
    call->done = "staple is withdrawn";

    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');
    ngx_http_certctl_json_text(&call->json, "fingerprint", call->fingerprint);
    ngx_http_certctl_json_number(&call->json, "generation", ocsp->generation);

    if (ocsp->der.len == 0) {
        ngx_http_certctl_json_text(&call->json, "status", "withdrawn");

    } else {
        if (ocsp->info.status == CERTCTL_OCSP_GOOD) {
            call->done = "staple is live";
        }

        ngx_http_certctl_json_text(&call->json, "status",
                                   ocsp->info.status == CERTCTL_OCSP_GOOD
                                   ? "good" : "revoked");
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
    char  rule[256], sent[32], kept[32];

    (void) ngx_snprintf((u_char *) rule, sizeof(rule) - 1,
                        "thisUpdate of the OCSP response, %s, is not later "
                        "than that of the one that was stored or withdrawn "
                        "before, %s: send a newer response (RFC 6960 2.4)%Z",
                        ngx_http_certctl_ocsp_time(ocsp->info.this_update,
                                                   sent, sizeof(sent)),
                        ngx_http_certctl_ocsp_time(ocsp->newer, kept,
                                                   sizeof(kept)));

    ngx_http_certctl_request_error(ocsp->call, NGX_HTTP_CONFLICT, rule);
}


static void
ngx_http_certctl_ocsp(ngx_http_certctl_ocsp_t *ocsp)
{
    if (ngx_http_certctl_ocsp_digest(ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_stored(ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_static(ocsp) != NGX_OK)
    {
        return;
    }

    if (ocsp->done) {
        ngx_http_certctl_ocsp_answer(ocsp);

    } else if (ocsp->newer) {
        ngx_http_certctl_ocsp_older(ocsp);

    } else {
        ngx_http_certctl_request_error(ocsp->call, NGX_HTTP_NOT_FOUND,
                      ocsp->found
                      ? "the certificate with this fingerprint has no staple"
                      : "no certificate has this fingerprint");
    }
}


void
ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_ocsp_t  ocsp;

    ngx_memzero(&ocsp, sizeof(ngx_http_certctl_ocsp_t));

    ocsp.call = call;
    ocsp.der.data = call->body;
    ocsp.der.len = call->body_len;

    if (ocsp.der.len == 0) {
        ngx_http_certctl_request_error(call, 422,
                   "the OCSP response is not valid DER (RFC 6960 4.2.1)");
        return;
    }

    ngx_http_certctl_ocsp(&ocsp);
}


void
ngx_http_certctl_request_delete_ocsp(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_ocsp_t  ocsp;

    ngx_memzero(&ocsp, sizeof(ngx_http_certctl_ocsp_t));

    ocsp.call = call;

    ngx_http_certctl_ocsp(&ocsp);
}
