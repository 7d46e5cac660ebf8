
/*
 * HTTP-01 (RFC 8555 8.3): answered before redirects, access rules and
 * authentication are looked at.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/http_module.h"


#define NGX_HTTP_CERTCTL_WELL_KNOWN  "/.well-known/acme-challenge/"


static ngx_int_t
ngx_http_certctl_http01_answer(ngx_http_request_t *r,
    ngx_certctl_challenge_t *challenge)
{
    ngx_http_complex_value_t  cv;

    static ngx_str_t  type = ngx_string("application/octet-stream");

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    cv.value.len = challenge->value_len;
    cv.value.data = ngx_pnalloc(r->pool, challenge->value_len);

    if (cv.value.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(cv.value.data, challenge->value, challenge->value_len);

    r->keepalive = 0;

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &cv);
}


/* What is not ours goes on as without us: another client may answer it. */

static ngx_int_t
ngx_http_certctl_http01_handler(ngx_http_request_t *r)
{
    size_t                         len;
    u_char                        *token;
    ngx_certctl_challenge_t        challenge;
    ngx_http_certctl_srv_conf_t   *scf;
    ngx_http_certctl_main_conf_t  *mcf;

    len = sizeof(NGX_HTTP_CERTCTL_WELL_KNOWN) - 1;

    if (r->uri.len <= len
        || ngx_memcmp(r->uri.data, NGX_HTTP_CERTCTL_WELL_KNOWN, len) != 0
        || !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)))
    {
        return NGX_DECLINED;
    }

    scf = ngx_http_get_module_srv_conf(r, ngx_http_certctl_module);
    mcf = ngx_http_get_module_main_conf(r, ngx_http_certctl_module);

    if (!scf->common.challenge || scf->agent || mcf->certctl.zone == NULL) {
        return NGX_DECLINED;
    }

    token = r->uri.data + len;
    len = r->uri.len - len;

    if (!ngx_certctl_challenge_token(token, len)
        || ngx_certctl_challenge_find(&mcf->certctl.zone->challenges,
                                      NGX_CERTCTL_HTTP_01, token, len,
                                      ngx_time(), &challenge)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "certctl: an HTTP-01 challenge is answered");

    (void) ngx_atomic_fetch_add(&mcf->certctl.zone->challenges.answered, 1);

    ngx_http_finalize_request(r,
                              ngx_http_certctl_http01_answer(r, &challenge));

    return NGX_DONE;
}


ngx_int_t
ngx_http_certctl_init_http01(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_certctl_http01_handler;

    return NGX_OK;
}
