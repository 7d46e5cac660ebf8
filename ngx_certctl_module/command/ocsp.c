
/*
 * PUT ocsp/{fingerprint}: keeps a response for the certificate with this
 * SHA-256, stored or static, when it may be stapled (RFC 6960, RFC 6066 8).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "x509_chain.h"
#include "x509_ocsp.h"
#include "point.h"


typedef struct {
    ngx_http_certctl_call_t   *call;
    u_char                     digest[SHA256_DIGEST_LENGTH];
    certctl_blob_t             der;
    struct certctl_ocsp_info   info;
    ngx_uint_t                 found;
    uint64_t                   generation;
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
                    "a fingerprint is 64 hex digits, the SHA-256 of the DER");
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


static const char *
ngx_http_certctl_ocsp_check(ngx_http_certctl_ocsp_t *ocsp, X509 *cert,
    X509 *issuer)
{
    time_t       now;
    const char  *rule;

    if (issuer == NULL) {
        return "the certificate's issuer is not in its chain";
    }

    now = time(NULL);

    rule = certctl_ocsp_check(ocsp->der.data, ocsp->der.len, cert, issuer, now,
                              &ocsp->info);

    return rule ? rule : certctl_ocsp_staple_check(&ocsp->info, cert, now);
}


static ngx_int_t
ngx_http_certctl_ocsp_staple(ngx_http_certctl_ocsp_t *ocsp,
    certctl_record_t *record)
{
    int              rc;
    u_char           digest[EVP_MAX_MD_SIZE];
    X509            *leaf, *issuer;
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
    issuer = sk_X509_num(chain) > 1 ? sk_X509_value(chain, 1) : NULL;

    if (X509_digest(leaf, EVP_sha256(), digest, NULL) == 0
        || ngx_memcmp(digest, ocsp->digest, sizeof(ocsp->digest)) != 0)
    {
        sk_X509_pop_free(chain, X509_free);
        return NGX_OK;
    }

    rule = ngx_http_certctl_ocsp_check(ocsp, leaf, issuer);

    sk_X509_pop_free(chain, X509_free);

    if (rule) {
        ngx_http_certctl_request_error(ocsp->call, 422, rule);
        return NGX_ERROR;
    }

    CERTCTL_POINT("ocsp.before_commit");

    rc = certctl_store_staple(ocsp->call->mcf->certctl.store, record->name,
                              ocsp->digest, &ocsp->der,
                              ocsp->info.next_update, &ocsp->generation,
                              ngx_certctl_touched, &ocsp->call->mcf->certctl);

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(ocsp->call, rc);
        return NGX_ERROR;
    }

    ocsp->found = 1;

    return NGX_OK;
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
    int                       rc;
    const char               *rule;
    ngx_http_certctl_call_t  *call;
    ngx_certctl_cert_t       *cert;

    call = ocsp->call;

    cert = ngx_certctl_static(&call->mcf->certctl, ocsp->digest);
    if (cert == NULL) {
        return NGX_OK;
    }

    rule = ngx_http_certctl_ocsp_check(ocsp, cert->x509,
                                       sk_X509_num(cert->chain) > 0
                                       ? sk_X509_value(cert->chain, 0) : NULL);
    if (rule) {
        ngx_http_certctl_request_error(call, 422, rule);
        return NGX_ERROR;
    }

    CERTCTL_POINT("ocsp.before_static_commit");

    rc = certctl_store_static_staple_put(call->mcf->certctl.store, ocsp->digest,
                                         &ocsp->der, ngx_certctl_touched,
                                         &call->mcf->certctl);
    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return NGX_ERROR;
    }

    ocsp->found = 1;

    return NGX_OK;
}


static void
ngx_http_certctl_ocsp_answer(ngx_http_certctl_ocsp_t *ocsp)
{
    ngx_http_certctl_call_t  *call;

    call = ocsp->call;

    call->generation = ocsp->generation;
    ngx_http_certctl_record_live(call->mcf);
    call->done = "staple is live";

    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');
    ngx_http_certctl_json_text(&call->json, "fingerprint", call->fingerprint);
    ngx_http_certctl_json_number(&call->json, "generation", ocsp->generation);
    ngx_http_certctl_json_time(&call->json, "this_update",
                               ocsp->info.this_update);
    ngx_http_certctl_json_time(&call->json, "next_update",
                               ocsp->info.next_update);
    ngx_http_certctl_json_close(&call->json, '}');
}


void
ngx_http_certctl_request_ocsp(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_ocsp_t  ocsp;

    ngx_memzero(&ocsp, sizeof(ngx_http_certctl_ocsp_t));

    ocsp.call = call;
    ocsp.der.data = call->body;
    ocsp.der.len = call->body_len;

    if (ngx_http_certctl_ocsp_digest(&ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_stored(&ocsp) != NGX_OK
        || ngx_http_certctl_ocsp_static(&ocsp) != NGX_OK)
    {
        return;
    }

    if (!ocsp.found) {
        ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                             "no certificate here has this fingerprint");
        return;
    }

    ngx_http_certctl_ocsp_answer(&ocsp);
}
