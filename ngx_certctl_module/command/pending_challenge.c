
/*
 * PUT and DELETE challenges: what an ACME client has this host show to a
 * validator (RFC 8555 8.3, RFC 8737, RFC 8738).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"


#define NGX_HTTP_CERTCTL_CHALLENGE_DIGEST  32     /* SHA-256 */

#define NGX_HTTP_CERTCTL_CHALLENGE_BUSY                                       \
    "timed out while another challenge was written"


/* RFC 8555 8.1: the token, a dot, the thumbprint of the account's key. */

static const char *
ngx_http_certctl_challenge_auth(ngx_http_certctl_call_t *call,
    ngx_certctl_challenge_t *challenge)
{
    u_char  *dot;

    dot = call->body + challenge->key_len;

    if (call->body_len <= challenge->key_len || *dot != '.'
        || ngx_memcmp(call->body, challenge->key, challenge->key_len) != 0)
    {
        return "a key authorization begins with the token of the path and "
               "a dot (RFC 8555, section 8.1)";
    }

    if (call->body_len != challenge->key_len + 1 + NGX_CERTCTL_THUMBPRINT
        || !ngx_certctl_challenge_token(dot + 1, NGX_CERTCTL_THUMBPRINT))
    {
        return "a key authorization ends with the 43 base64url characters "
               "of a SHA-256 thumbprint (RFC 8555, section 8.1)";
    }

    ngx_memcpy(challenge->value, call->body, call->body_len);
    challenge->value_len = call->body_len;

    return NULL;
}


static const char *
ngx_http_certctl_challenge_digest(ngx_http_certctl_call_t *call,
    ngx_certctl_challenge_t *challenge)
{
    char  hex[2 * NGX_HTTP_CERTCTL_CHALLENGE_DIGEST + 1];

    if (call->body_len == sizeof(hex) - 1) {
        ngx_memcpy(hex, call->body, sizeof(hex) - 1);
        hex[sizeof(hex) - 1] = '\0';

        if (OPENSSL_hexstr2buf_ex(challenge->value,
                                  NGX_HTTP_CERTCTL_CHALLENGE_DIGEST,
                                  &challenge->value_len, hex, '\0')
            == 1
            && challenge->value_len == NGX_HTTP_CERTCTL_CHALLENGE_DIGEST)
        {
            return NULL;
        }
    }

    return "the body is the SHA-256 of the key authorization, 64 hex "
           "digits (RFC 8737, section 3)";
}


static void
ngx_http_certctl_challenge_put(ngx_http_certctl_call_t *call,
    ngx_certctl_challenge_t *challenge)
{
    char        *ttl;
    time_t       now;
    ngx_int_t    rc;
    const char  *rule;

    rule = challenge->type == NGX_CERTCTL_HTTP_01
           ? ngx_http_certctl_challenge_auth(call, challenge)
           : ngx_http_certctl_challenge_digest(call, challenge);

    if (rule) {
        ngx_http_certctl_request_error(call, 422, rule);
        return;
    }

    now = time(NULL);
    ttl = call->args[NGX_HTTP_CERTCTL_ARG_TTL];

    challenge->expires = now + (ttl ? ngx_atotm((u_char *) ttl,
                                                ngx_strlen(ttl))
                                    : NGX_CERTCTL_CHALLENGE_TTL);

    rc = ngx_certctl_challenge_put(&call->mcf->certctl.zone->challenges,
                                   challenge, now);

    ngx_explicit_memzero(challenge->value, sizeof(challenge->value));

    if (rc == NGX_DECLINED) {
        ngx_http_certctl_request_error(call, NGX_HTTP_INSUFFICIENT_STORAGE,
            "512 challenges are pending: delete one, or wait until one has "
            "expired");
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       NGX_HTTP_CERTCTL_CHALLENGE_BUSY);
        return;
    }

    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_text(&call->json, "name", call->name);
    ngx_http_certctl_json_time(&call->json, "expires", challenge->expires);
    ngx_http_certctl_json_close(&call->json, '}');
}


static void
ngx_http_certctl_challenge_change(ngx_http_certctl_call_t *call,
    ngx_certctl_challenge_t *challenge)
{
    if (call->route->media) {
        ngx_http_certctl_challenge_put(call, challenge);
        return;
    }

    if (ngx_certctl_challenge_delete(&call->mcf->certctl.zone->challenges,
                                     challenge, time(NULL))
        == NGX_OK)
    {
        ngx_http_certctl_answer_deleted(call);

    } else {
        ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       NGX_HTTP_CERTCTL_CHALLENGE_BUSY);
    }
}


/* The path's token or identifier was checked with the path. */

void
ngx_http_certctl_request_http01(ngx_http_certctl_call_t *call)
{
    ngx_certctl_challenge_t  challenge;

    ngx_memzero(&challenge, sizeof(ngx_certctl_challenge_t));

    challenge.type = NGX_CERTCTL_HTTP_01;
    challenge.key_len = ngx_strlen(call->name);
    ngx_memcpy(challenge.key, call->name, challenge.key_len);

    ngx_http_certctl_challenge_change(call, &challenge);
}


void
ngx_http_certctl_request_tlsalpn(ngx_http_certctl_call_t *call)
{
    ngx_certctl_challenge_t  challenge;

    ngx_memzero(&challenge, sizeof(ngx_certctl_challenge_t));

    challenge.type = NGX_CERTCTL_TLS_ALPN_01;
    (void) ngx_certctl_challenge_identifier(&challenge, call->name);

    ngx_http_certctl_challenge_change(call, &challenge);
}
