
/*
 * JSON for the errors that NGINX finds itself on a control listener, before a
 * control request is known or while its body is read.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "agent/agent.h"


/* The last row is for all others. */

static const struct {
    ngx_uint_t   status;
    const char  *rule;
} ngx_http_certctl_errors[] = {

    { NGX_HTTP_BAD_REQUEST,
      "the request is not valid HTTP, its header is longer than "
      "large_client_header_buffers allows, or its body has ended early "
      "(RFC 9112)" },

    { NGX_HTTP_NOT_FOUND, "unknown control request" },

    { NGX_HTTP_NOT_ALLOWED, "this method is not allowed here" },

    { NGX_HTTP_REQUEST_TIME_OUT,
      "the body has not arrived within client_body_timeout" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
      "the body is longer than client_max_body_size allows" },

    { NGX_HTTP_REQUEST_URI_TOO_LARGE,
      "the request line is longer than large_client_header_buffers allows: "
      "send the arguments of a CSR request in its body" },

    { NGX_HTTP_NOT_IMPLEMENTED,
      "this Transfer-Encoding is not supported (RFC 9112 6.1)" },

    { 0, "NGINX has refused the request" }
};


static ngx_http_output_header_filter_pt  ngx_http_certctl_next_header;
static ngx_http_output_body_filter_pt    ngx_http_certctl_next_body;


/* Before NGINX has found a location there may be no path. */

static ngx_uint_t
ngx_http_certctl_errors_ours(ngx_http_request_t *r)
{
    static ngx_str_t              prefix = ngx_string("/certctl/");
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_certctl_srv_conf_t  *scf;

    scf = ngx_http_get_module_srv_conf(r, ngx_http_certctl_module);

    if (!scf->agent || r != r->main
        || r->headers_out.status < NGX_HTTP_BAD_REQUEST)
    {
        return 0;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return clcf->handler == ngx_http_certctl_request_handler
           || r->uri.len == 0
           || (r->uri.len >= prefix.len
               && ngx_memcmp(r->uri.data, prefix.data, prefix.len) == 0);
}


static ngx_int_t
ngx_http_certctl_errors_header(ngx_http_request_t *r)
{
    ngx_uint_t                i;
    ngx_http_certctl_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_certctl_module);

    if ((call && call->answered) || !ngx_http_certctl_errors_ours(r)) {
        return ngx_http_certctl_next_header(r);
    }

    if (call == NULL) {
        call = ngx_http_certctl_request_create(r);
        if (call == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; ngx_http_certctl_errors[i].status; i++) {
        if (ngx_http_certctl_errors[i].status == r->headers_out.status) {
            break;
        }
    }

    ngx_http_certctl_request_error(call, r->headers_out.status,
                                   ngx_http_certctl_errors[i].rule);

    call->replaced = 1;

    return ngx_http_certctl_answer_headers(call) == NGX_OK
           ? ngx_http_certctl_next_header(r) : NGX_ERROR;
}


/* What NGINX would have sent is HTML, in its own memory. */

static ngx_int_t
ngx_http_certctl_errors_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t              *out;
    ngx_http_certctl_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_certctl_module);

    if (call == NULL || !call->replaced || in == NULL) {
        return ngx_http_certctl_next_body(r, in);
    }

    if (call->answered) {
        return NGX_OK;
    }

    call->answered = 1;

    out = ngx_http_certctl_answer_body(call);

    return out ? ngx_http_certctl_next_body(r, out) : NGX_ERROR;
}


void
ngx_http_certctl_agent_errors(void)
{
    ngx_http_certctl_next_header = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_certctl_errors_header;

    ngx_http_certctl_next_body = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_certctl_errors_body;
}
