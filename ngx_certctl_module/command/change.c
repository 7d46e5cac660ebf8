
/*
 * What the commands share about records, and the two that need no more:
 * rollback and DELETE.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "x509_key.h"
#include "x509_leaf.h"


EVP_PKEY *
ngx_http_certctl_record_key(ngx_http_certctl_call_t *call, const char *name,
    const char *missing)
{
    int                rc;
    EVP_PKEY          *key;
    certctl_record_t   record;

    key = NULL;
    rc = certctl_store_read(call->mcf->certctl.store, name, &record);

    if (rc == CERTCTL_STORE_OK) {
        key = certctl_key_from_der(record.key.data, record.key.len);
        certctl_record_free(&record);

        rc = CERTCTL_STORE_DAMAGED;
    }

    if (key == NULL && missing) {

        if (rc == CERTCTL_STORE_NOT_FOUND) {
            ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT, missing);

        } else {
            ngx_http_certctl_request_store_error(call, rc);
        }
    }

    return key;
}


void
ngx_http_certctl_record_members(ngx_http_certctl_json_t *json,
    const char *name, const struct certctl_leaf *leaf, uint64_t generation,
    char *fingerprint)
{
    certctl_hex(leaf->digest, sizeof(leaf->digest), fingerprint);

    ngx_http_certctl_json_text(json, "name", name);
    ngx_http_certctl_json_number(json, "generation", generation);
    ngx_http_certctl_json_text(json, "fingerprint", fingerprint);
    ngx_http_certctl_json_time(json, "not_after", leaf->not_after);
}


void
ngx_http_certctl_identity_before(ngx_http_certctl_call_t *call)
{
    if (ngx_strcmp(call->name, CERTCTL_WIRE_IDENTITY) == 0) {
        ngx_http_certctl_request_error(call, NGX_HTTP_FORBIDDEN,
                       "the control listener's identity can only be replaced, "
                       "by PUT certificates/" CERTCTL_WIRE_IDENTITY);
    }
}


/* What the store answered to a change. */

static ngx_int_t
ngx_http_certctl_record_changed(ngx_http_certctl_call_t *call, int rc)
{
    if (rc == CERTCTL_STORE_CONFLICT) {
        return ngx_http_certctl_request_error(call,
                                  NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
    }

    return rc == CERTCTL_STORE_OK
           ? NGX_OK : ngx_http_certctl_request_store_error(call, rc);
}


/*
 * Which generation the store is to replace, by If-Match: it compares again,
 * when it has the record's lock.
 */

static ngx_int_t
ngx_http_certctl_record_asked(ngx_http_certctl_call_t *call,
    uint64_t *replaces)
{
    certctl_record_t  record;

    if (certctl_store_read(call->mcf->certctl.store, call->name, &record)
        == CERTCTL_STORE_OK)
    {
        call->generation = record.generation;
        certctl_record_free(&record);

        if (!ngx_http_certctl_record_matches(call->if_match,
                                             call->generation))
        {
            return ngx_http_certctl_record_changed(call,
                                                   CERTCTL_STORE_CONFLICT);
        }
    }

    *replaces = 0;

    if (call->if_match[0] && ngx_strcmp(call->if_match, "*") != 0) {
        *replaces = call->generation ? call->generation : CERTCTL_STORE_NONE;
    }

    return NGX_OK;
}


/* Answers what is live now: generation, unless there was another write. */

static void
ngx_http_certctl_record_answer(ngx_http_certctl_call_t *call,
    uint64_t generation)
{
    int                   rc;
    certctl_record_t      record;
    struct certctl_leaf   leaf;

    rc = certctl_store_read(call->mcf->certctl.store, call->name, &record);

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    if (certctl_leaf_read(record.chain.data, record.chain.len, &leaf) == NULL) {
        call->generation = generation;

        ngx_http_certctl_answer_open(call);
        ngx_http_certctl_record_members(&call->json, call->name, &leaf,
                                        generation, call->fingerprint);
        ngx_http_certctl_json_close(&call->json, '}');

        certctl_leaf_free(&leaf);

    } else {
        ngx_http_certctl_request_store_error(call, CERTCTL_STORE_DAMAGED);
    }

    certctl_record_free(&record);
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
                                &generation, ngx_certctl_invalidate,
                                &call->mcf->certctl);

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                               "no previous version is stored");
        return;
    }

    if (ngx_http_certctl_record_changed(call, rc) == NGX_OK) {
        (void) ngx_atomic_fetch_add(&call->mcf->certctl.zone->swaps, 1);
        call->done = "rolled back";

        ngx_http_certctl_record_answer(call, generation);
    }
}


void
ngx_http_certctl_request_delete(ngx_http_certctl_call_t *call)
{
    int       rc;
    uint64_t  replaces;

    if (ngx_http_certctl_record_asked(call, &replaces) != NGX_OK) {
        return;
    }

    rc = certctl_store_delete(call->mcf->certctl.store, call->name, replaces,
                              ngx_certctl_invalidate, &call->mcf->certctl);

    if (ngx_http_certctl_record_changed(call, rc) == NGX_OK) {
        call->done = "deleted";
        ngx_http_certctl_answer_deleted(call);
    }
}
