
/* Answers of control requests: JSON or PEM, never to be kept by anyone. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


/* The last row is for whatever else goes wrong. */

static const struct {
    int          rc;
    ngx_uint_t   status;
    const char  *rule;
} ngx_http_certctl_store_rules[] = {

    { CERTCTL_STORE_NOT_FOUND, NGX_HTTP_NOT_FOUND,
      "no stored certificate has this name" },

    { CERTCTL_STORE_DAMAGED, NGX_HTTP_INTERNAL_SERVER_ERROR,
      "the record is damaged: the certificate that is served is unchanged" },

    { CERTCTL_STORE_FULL, NGX_HTTP_INSUFFICIENT_STORAGE,
      "the disk of the store is full: the certificate that is served is "
      "unchanged" },

    { 0, NGX_HTTP_INTERNAL_SERVER_ERROR,
      "the store could not be read or written: the certificate that is "
      "served is unchanged" }
};


void
ngx_http_certctl_answer_open(ngx_http_certctl_call_t *call)
{
    call->status = NGX_HTTP_OK;

    ngx_http_certctl_json_open(&call->json, NULL, '{');
}


void
ngx_http_certctl_answer_deleted(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_answer_open(call);
    ngx_http_certctl_json_text(&call->json, "name", call->name);
    ngx_http_certctl_json_flag(&call->json, "deleted", 1);
    ngx_http_certctl_json_close(&call->json, '}');
}


ngx_int_t
ngx_http_certctl_request_error(ngx_http_certctl_call_t *call,
    ngx_uint_t status, const char *rule)
{
    ngx_http_certctl_json_free(&call->json);

    call->status = status;
    call->media = NULL;
    call->etag[0] = '\0';

    ngx_http_certctl_json_open(&call->json, NULL, '{');
    ngx_http_certctl_json_text(&call->json, "error", rule);
    ngx_http_certctl_json_close(&call->json, '}');

    if (status < NGX_HTTP_INTERNAL_SERVER_ERROR && call->mcf->certctl.zone) {
        (void) ngx_atomic_fetch_add(&call->mcf->certctl.zone->rejects, 1);
    }

    return NGX_DECLINED;
}


const char *
ngx_http_certctl_store_rule(int rc, ngx_uint_t *status)
{
    ngx_uint_t  i;

    for (i = 0; ngx_http_certctl_store_rules[i].rc; i++) {
        if (ngx_http_certctl_store_rules[i].rc == rc) {
            break;
        }
    }

    *status = ngx_http_certctl_store_rules[i].status;

    return ngx_http_certctl_store_rules[i].rule;
}


ngx_int_t
ngx_http_certctl_request_store_error(ngx_http_certctl_call_t *call, int rc)
{
    const char  *rule;
    ngx_uint_t   status;

    rule = ngx_http_certctl_store_rule(rc, &status);
    call->err = rc == CERTCTL_STORE_NOT_FOUND ? 0 : ngx_errno;

    return ngx_http_certctl_request_error(call, status, rule);
}


/* The values live as long as the call does, that is as long as the request. */

static ngx_int_t
ngx_http_certctl_answer_fields(ngx_http_certctl_call_t *call)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    struct {
        const char   *key;
        const char   *value;
    } field[] = {
        { "Cache-Control", "no-store" },
        { "ETag",          call->etag[0] ? call->etag : NULL },
        { "Allow",         call->allow },
        { "Retry-After",   call->status == NGX_HTTP_SERVICE_UNAVAILABLE
                           ? "1" : NULL }
    };

    for (i = 0; i < sizeof(field) / sizeof(field[0]); i++) {

        if (field[i].value == NULL) {
            continue;
        }

        h = ngx_list_push(&call->request->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key.data = (u_char *) field[i].key;
        h->key.len = ngx_strlen(field[i].key);
        h->value.data = (u_char *) field[i].value;
        h->value.len = ngx_strlen(field[i].value);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_answer_headers(ngx_http_certctl_call_t *call)
{
    size_t               len;
    const char          *media;
    ngx_http_request_t  *r;

    r = call->request;
    media = call->media ? call->media : "application/json";
    len = ngx_strlen(media);

    /* If-Match is the generation of a record, no entity tag of the answer */

    r->disable_not_modified = 1;
    r->allow_ranges = 0;

    r->headers_out.status = call->status;

    if (call->status == NGX_HTTP_NOT_MODIFIED) {
        r->header_only = 1;

    } else {
        r->headers_out.content_length_n = call->json.size;
        r->headers_out.content_type.data = (u_char *) media;
        r->headers_out.content_type.len = len;
        r->headers_out.content_type_len = len;
    }

    return ngx_http_certctl_answer_fields(call);
}


/* The blocks as they are: they are freed with the call, after the request. */

ngx_chain_t *
ngx_http_certctl_answer_body(ngx_http_certctl_call_t *call)
{
    ngx_chain_t                    *out, **last;
    ngx_http_certctl_json_block_t  *block;

    last = &out;

    for (block = call->json.first; block; block = block->next) {
        ngx_memzero(&block->buf, sizeof(ngx_buf_t));

        block->buf.pos = block->data;
        block->buf.last = block->data + block->len;
        block->buf.memory = 1;
        block->buf.last_buf = (block->next == NULL);
        block->buf.last_in_chain = (block->next == NULL);

        block->cl.buf = &block->buf;
        *last = &block->cl;
        last = &block->cl.next;
    }

    *last = NULL;

    return out;
}


ngx_int_t
ngx_http_certctl_request_answer(ngx_http_certctl_call_t *call)
{
    ngx_int_t            rc;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = call->request;

    if (r->request_body == NULL) {

        if (call->status >= NGX_HTTP_BAD_REQUEST) {

            /* no "100 Continue" for a body that is not read */

            r->expect_tested = 1;

            if (r->headers_in.content_length_n > 0 || r->headers_in.chunked) {
                r->keepalive = 0;
            }
        }

        rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_http_certctl_answer_headers(call) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    call->answered = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out = ngx_http_certctl_answer_body(call);

    return out ? ngx_http_output_filter(r, out) : NGX_ERROR;
}
