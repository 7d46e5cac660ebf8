
/*
 * PUT ticket-keys: a set of session ticket keys that a controller has encrypted
 * for the identity of this host, and of others (CMS, RFC 5083).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <openssl/cms.h>
#include "command/command.h"
#include "tls/sessions.h"
#include "x509_rule.h"


/* One key more than a set may have: then it is seen to have too many. */
#define NGX_HTTP_CERTCTL_TICKET_KEYS_TEXT  (CERTCTL_TICKET_SET + 104)


/* Authenticated encryption only: else a set could be changed on its way. */

static const char *
ngx_http_certctl_ticket_keys_decrypt(ngx_http_certctl_call_t *call,
    EVP_PKEY *key, u_char *text, int *len)
{
    BIO              *bio;
    const char       *rule;
    const u_char     *p;
    CMS_ContentInfo  *cms;

    p = call->body;
    cms = d2i_CMS_ContentInfo(NULL, &p, call->body_len);
    bio = BIO_new(BIO_s_mem());

    rule = NULL;
    *len = 0;

    if (cms == NULL || p != call->body + call->body_len
        || OBJ_obj2nid(CMS_get0_type(cms)) != NID_id_smime_ct_authEnvelopedData)
    {
        rule = "the body is not AuthEnvelopedData of CMS in DER (RFC 5083)";

    } else if (bio == NULL
               || CMS_decrypt(cms, key, NULL, NULL, bio, CMS_BINARY) != 1)
    {
        rule = "the set cannot be decrypted: encrypt it with AES-GCM for the "
               "certificate of this control listener, whose key is EC or RSA";

    } else {
        *len = BIO_read(bio, text, NGX_HTTP_CERTCTL_TICKET_KEYS_TEXT);
    }

    /* what a memory BIO has held is wiped */

    BIO_free(bio);
    CMS_ContentInfo_free(cms);
    ERR_clear_error();

    return rule;
}


static void
ngx_http_certctl_ticket_keys_put(ngx_http_certctl_call_t *call,
    const certctl_ticket_set_t *set)
{
    int             rc;
    uint64_t        kept, epoch;
    ngx_certctl_t  *certctl;

    certctl = &call->mcf->certctl;
    epoch = 0;

    rc = certctl_store_ticket_set_put(certctl->store, set, &kept, &epoch);

    /* a part of it may have been done */

    ngx_certctl_sessions_flush(certctl->zone, epoch);

    if (rc == CERTCTL_STORE_OLDER) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
               certctl_rule("the set has generation %llu, but this host has "
                            "generation %llu%s: send a later one",
                            (unsigned long long) set->generation,
                            (unsigned long long) kept,
                            set->generation == kept ? " with other keys" : ""));
        return;
    }

    if (rc != CERTCTL_STORE_OK) {
        ngx_http_certctl_request_store_error(call, rc);
        return;
    }

    (void) ngx_atomic_fetch_add(&certctl->zone->tickets, 1);

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "certctl: session ticket keys of generation %uL are live",
                  set->generation);

    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_number(&call->json, "generation", set->generation);
    ngx_http_certctl_json_number(&call->json, "keys", set->n);
    ngx_http_certctl_json_number(&call->json, "epoch",
                                 certctl->zone->sessions);
    ngx_http_certctl_json_close(&call->json, '}');
}


void
ngx_http_certctl_request_put_ticket_keys(ngx_http_certctl_call_t *call)
{
    int                    len;
    u_char                 text[NGX_HTTP_CERTCTL_TICKET_KEYS_TEXT];
    EVP_PKEY              *key;
    const char            *rule;
    certctl_ticket_set_t   set;

    if (!call->mcf->certctl.ticket_keys) {
        ngx_http_certctl_request_error(call, NGX_HTTP_CONFLICT,
                       "no server of this host has \"certctl_ticket_keys on\"");
        return;
    }

    key = ngx_http_certctl_record_key(call, CERTCTL_WIRE_IDENTITY,
                       "this host has no identity \"" CERTCTL_WIRE_IDENTITY
                       "\" to which a set could be encrypted");
    if (key == NULL) {
        return;
    }

    rule = ngx_http_certctl_ticket_keys_decrypt(call, key, text, &len);

    EVP_PKEY_free(key);

    if (rule == NULL) {
        rule = certctl_ticket_set_parse(text, ngx_max(len, 0), time(NULL),
                                        &set);
    }

    ngx_explicit_memzero(text, sizeof(text));

    if (rule) {
        ngx_http_certctl_request_error(call, 422, rule);
        return;
    }

    set.pushed = 1;

    ngx_http_certctl_ticket_keys_put(call, &set);

    ngx_explicit_memzero(&set, sizeof(certctl_ticket_set_t));
}
