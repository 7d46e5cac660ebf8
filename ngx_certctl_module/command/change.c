
/*
 * What the control requests share: a record's facts, and telling the workers;
 * and the two requests that need no more, rollback and DELETE.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/put.h"
#include "x509_info.h"
#include "x509_leaf.h"


void
ngx_http_certctl_record_live(ngx_http_certctl_main_conf_t *mcf)
{
    (void) ngx_atomic_fetch_add(&mcf->certctl.zone->commits, 1);
}


void
ngx_http_certctl_record_facts(ngx_http_certctl_json_t *json,
    const char *name, const struct certctl_leaf *leaf, uint64_t generation,
    ngx_uint_t newer_staple, char *fingerprint)
{
    certctl_hex(leaf->digest, sizeof(leaf->digest), fingerprint);

    ngx_http_certctl_json_text(json, "name", name);
    ngx_http_certctl_json_number(json, "generation", generation);
    ngx_http_certctl_json_text(json, "fingerprint", fingerprint);
    ngx_http_certctl_json_time(json, "not_after", leaf->not_after);

    if (newer_staple) {
        ngx_http_certctl_json_flag(json, "newer_staple_kept", 1);
    }
}


void
ngx_http_certctl_request_live(ngx_http_certctl_call_t *call,
    const struct certctl_leaf *leaf, uint64_t generation,
    ngx_http_certctl_put_t *put)
{
    call->generation = generation;
    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');
    ngx_http_certctl_record_facts(&call->json, call->name, leaf, generation,
                                  put ? put->newer_staple : 0,
                                  call->fingerprint);

    if (put) {
        ngx_http_certctl_put_warnings(put, &call->json);
    }

    ngx_http_certctl_json_close(&call->json, '}');

    if (ngx_strcmp(call->name, CERTCTL_WIRE_IDENTITY) == 0) {
        (void) ngx_http_certctl_agent_fingerprint(
                                        (char *) call->mcf->store_path.data,
                                        call->fingerprint);
    }
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


static void
ngx_http_certctl_record_declined(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_request_error(call, NGX_HTTP_PRECONDITION_FAILED,
                                  "If-Match is not the record's generation");
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


/* Answers what is live now: generation, unless somebody was quicker. */

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
        ngx_http_certctl_request_live(call, &leaf, generation, NULL);
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

    if (rc == CERTCTL_STORE_CONFLICT) {
        ngx_http_certctl_record_declined(call);
        return;
    }

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_request_error(call, NGX_HTTP_NOT_FOUND,
                               "no previous version is stored");
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
