
/*
 * What the control requests share: a record's facts, and telling the workers;
 * and the two requests that need no more, rollback and DELETE.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_certctl_agent.h"
#include "x509_key.h"


static ngx_int_t ngx_http_certctl_record_asked(ngx_http_certctl_call_t *call,
    uint64_t *replaces);
static void ngx_http_certctl_record_declined(ngx_http_certctl_call_t *call);
static void ngx_http_certctl_record_answer(ngx_http_certctl_call_t *call,
    uint64_t generation);


ngx_int_t
ngx_http_certctl_record_fill(certctl_record_t *record, const char *name,
    X509 *leaf)
{
    int      len;
    u_char  *spki;

    spki = NULL;
    len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &spki);

    if (len <= 0) {
        return NGX_ERROR;
    }

    (void) SHA256(spki, len, record->spki);
    OPENSSL_free(spki);

    ngx_memcpy(record->name, name, ngx_strlen(name) + 1);

    record->stored = time(NULL);
    record->kind = EVP_PKEY_base_id(X509_get0_pubkey(leaf)) == EVP_PKEY_RSA
                   ? CERTCTL_KIND_RSA : CERTCTL_KIND_ECDSA;

    return NGX_OK;
}


void
ngx_http_certctl_record_live(ngx_http_certctl_main_conf_t *mcf)
{
    (void) ngx_atomic_fetch_add(&mcf->certctl.zone->commits, 1);
}


ngx_int_t
ngx_http_certctl_record_facts(ngx_http_certctl_json_t *json,
    const char *name, X509 *leaf, uint64_t generation, char *fingerprint)
{
    struct certctl_x509_info  info;

    if (certctl_x509_info(leaf, &info) != NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(fingerprint, info.fingerprint, CERTCTL_HEX256);

    ngx_http_certctl_json_text(json, "name", name);
    ngx_http_certctl_json_number(json, "generation", generation);
    ngx_http_certctl_json_text(json, "fingerprint", info.fingerprint);
    ngx_http_certctl_json_time(json, "not_after", info.not_after);

    return NGX_OK;
}


void
ngx_http_certctl_request_live(ngx_http_certctl_call_t *call, X509 *leaf,
    uint64_t generation)
{
    call->generation = generation;
    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');

    if (ngx_http_certctl_record_facts(&call->json, call->name, leaf,
                                      generation, call->fingerprint)
        != NGX_OK)
    {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "the live certificate is not readable");
        return;
    }

    ngx_http_certctl_json_close(&call->json, '}');

    if (ngx_strcmp(call->name, CERTCTL_WIRE_IDENTITY) == 0) {
        (void) ngx_http_certctl_agent_fingerprint(
                                        (char *) call->mcf->store_path.data,
                                        call->fingerprint);
    }
}


/*
 * Which generation the store is to replace, by If-Match: it looks again, when
 * it has the record's lock.  NGX_DECLINED with an error answered.
 */

static ngx_int_t
ngx_http_certctl_record_asked(ngx_http_certctl_call_t *call,
    uint64_t *replaces)
{
    int                rc;
    certctl_record_t   record;

    *replaces = 0;

    rc = certctl_store_read(call->mcf->certctl.store, call->name, &record);

    if (rc == CERTCTL_STORE_OK) {
        call->generation = record.generation;
        certctl_record_free(&record);

        if (!ngx_http_certctl_record_matches(call->if_match,
                                             call->generation))
        {
            ngx_http_certctl_record_declined(call);
            return NGX_DECLINED;
        }
    }

    if (call->if_match[0] && ngx_strcmp(call->if_match, "*") != 0) {
        *replaces = rc == CERTCTL_STORE_OK ? call->generation
                                           : CERTCTL_STORE_NONE;
    }

    return NGX_OK;
}


static void
ngx_http_certctl_record_declined(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_request_error(call, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
}


void
ngx_http_certctl_request_rollback(ngx_http_certctl_call_t *call)
{
    int       rc;
    uint64_t  generation, replaces;

    if (ngx_http_certctl_record_asked(call, &replaces) != NGX_OK) {
        return;
    }

    rc = certctl_store_rollback(call->mcf->certctl.store, call->name, replaces,
                                &generation, ngx_certctl_touched,
                                &call->mcf->certctl);

    if (rc == CERTCTL_STORE_CONFLICT) {
        ngx_http_certctl_record_declined(call);
        return;
    }

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                               "there is no previous version to go back to");
        return;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    ngx_http_certctl_record_live(call->mcf);
    (void) ngx_atomic_fetch_add(&call->mcf->certctl.zone->swaps, 1);
    call->done = "rolled back";

    ngx_http_certctl_record_answer(call, generation);
}


/* Answers what is live now: generation, unless somebody was quicker. */

static void
ngx_http_certctl_record_answer(ngx_http_certctl_call_t *call,
    uint64_t generation)
{
    int                rc;
    X509              *leaf;
    const u_char      *p;
    certctl_record_t   record;

    rc = certctl_store_read(call->mcf->certctl.store, call->name, &record);

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    p = record.chain.data;
    leaf = d2i_X509(NULL, &p, record.chain.len);

    if (leaf) {
        ngx_http_certctl_request_live(call, leaf, generation);

    } else {
        ngx_http_certctl_request_store_error(call, CERTCTL_STORE_DAMAGED);
    }

    X509_free(leaf);
    certctl_record_free(&record);
}


void
ngx_http_certctl_request_delete(ngx_http_certctl_call_t *call)
{
    int       rc;
    uint64_t  replaces;

    if (ngx_strcmp(call->name, CERTCTL_WIRE_IDENTITY) == 0) {
        ngx_http_certctl_request_error(call, NGX_HTTP_FORBIDDEN,
                       "the control listener's own identity cannot be deleted");
        return;
    }

    if (ngx_http_certctl_record_asked(call, &replaces) != NGX_OK) {
        return;
    }

    rc = certctl_store_delete(call->mcf->certctl.store, call->name, replaces,
                              ngx_certctl_touched, &call->mcf->certctl);

    if (rc == CERTCTL_STORE_CONFLICT) {
        ngx_http_certctl_record_declined(call);
        return;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    ngx_http_certctl_record_live(call->mcf);

    call->done = "deleted";

    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');
    ngx_http_certctl_json_text(&call->json, "name", call->name);
    ngx_http_certctl_json_flag(&call->json, "deleted", 1);
    ngx_http_certctl_json_close(&call->json, '}');
}
