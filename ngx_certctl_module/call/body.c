
/*
 * Reads a control request's body without NGINX's buffering, which would write
 * key material to a temporary file; what was read is wiped behind us.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"

#if (NGX_HTTP_V2)
#include <ngx_http_v2_module.h>
#endif


#if (NGX_HTTP_V2)

static ngx_event_t  ngx_http_certctl_body_wipe_event;


static void
ngx_http_certctl_body_wipe(ngx_event_t *ev)
{
    ngx_http_v2_main_conf_t *h2mcf = ev->data;

    if (h2mcf->recv_buffer) {
        ngx_explicit_memzero(h2mcf->recv_buffer, h2mcf->recv_buffer_size);
    }
}


/*
 * What we were given over HTTP/2 is a copy: the frames are still in the buffer
 * that all connections of a worker read into.  NGINX is in the middle of it
 * now, and will not be when posted events are handled.
 */

static void
ngx_http_certctl_body_wipe_later(ngx_http_request_t *r)
{
    ngx_uint_t    i;
    ngx_event_t  *ev;

    ev = &ngx_http_certctl_body_wipe_event;

    if (ev->posted) {
        return;
    }

    /* by its name: without HTTP/2 there is no such symbol to link with */

    for (i = 0; ngx_cycle->modules[i]; i++) {

        if (ngx_strcmp(ngx_cycle->modules[i]->name, "ngx_http_v2_module")
            == 0)
        {
            ev->data = r->main_conf[ngx_cycle->modules[i]->ctx_index];
            ev->handler = ngx_http_certctl_body_wipe;
            ev->log = ngx_cycle->log;

            ngx_post_event(ev, &ngx_posted_events);
            return;
        }
    }
}

#endif


/* Moves what has arrived to the call; nothing of it stays in NGINX. */

static ngx_int_t
ngx_http_certctl_body_take(ngx_http_certctl_call_t *call)
{
    size_t                   n;
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_chain_t             *cl;
    ngx_http_request_body_t *rb;

    rc = NGX_OK;
    rb = call->request->request_body;

    for (cl = rb->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (b->in_file) {
            rc = NGX_ERROR;
            continue;
        }

        n = b->last - b->pos;

        if (n == 0) {
            continue;
        }

        if (n > call->body_size - call->body_len) {
            rc = NGX_ERROR;

        } else {
            ngx_memcpy(call->body + call->body_len, b->pos, n);
            call->body_len += n;
        }

        ngx_explicit_memzero(b->pos, n);
        b->pos = b->last;
    }

    rb->bufs = NULL;

#if (NGX_HTTP_V2)
    if (call->request->stream) {
        ngx_http_certctl_body_wipe_later(call->request);
    }
#endif

    return rc;
}


/* Called when the first bytes are there, and again with each more of them. */

static void
ngx_http_certctl_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_certctl_call_t   *call;
    ngx_http_core_loc_conf_t  *clcf;

    call = ngx_http_get_module_ctx(r, ngx_http_certctl_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    for ( ;; ) {
        rc = ngx_http_certctl_body_take(call);

        if (rc != NGX_OK || !r->reading_body) {
            break;
        }

        /* between two reads NGINX watches; a drop a second is for us to end */

        if (ngx_current_msec - call->body_start > clcf->client_body_timeout) {
            ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
            return;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_certctl_body_handler;
            return;
        }
    }

    r->read_event_handler = ngx_http_block_reading;

    if (rc != NGX_OK || call->body_len != call->body_size) {
        ngx_http_finalize_request(r, NGX_HTTP_BAD_REQUEST);
        return;
    }

    ngx_http_certctl_request_run(call);
}


ngx_int_t
ngx_http_certctl_request_read_body(ngx_http_certctl_call_t *call)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = call->request;

    /* at most body_max: ngx_http_certctl_request_body_rules() */

    call->body_size = (size_t) r->headers_in.content_length_n;
    call->body_start = ngx_current_msec;

    call->body = ngx_alloc(call->body_size + 1, r->connection->log);
    if (call->body == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_certctl_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}
