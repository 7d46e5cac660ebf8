
/*
 * Lists of entity tags: If-Match and If-None-Match (RFC 9110 8.8.3, 13.1).  Of
 * each NGINX takes one line only.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


static u_char *
ngx_http_certctl_tag_blank(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


/* What is behind one tag, or NULL.  A generation may come without quotes. */

static u_char *
ngx_http_certctl_tag_read(u_char *p, u_char *last, ngx_str_t *tag)
{
    u_char  *end;

    if (p < last && *p == '"') {
        end = ngx_strlchr(++p, last, '"');

        if (end == NULL) {
            return NULL;
        }

        tag->data = p;
        tag->len = end - p;

        return end + 1;
    }

    for (end = p; end < last && *end >= '0' && *end <= '9'; end++) {
        /* void */
    }

    tag->data = p;
    tag->len = end - p;

    return tag->len ? end : NULL;
}


/* A list that is not understood ends where it is not. */

ngx_uint_t
ngx_http_certctl_tag_listed(ngx_str_t *list, ngx_str_t *tag, ngx_uint_t weak)
{
    u_char      *p, *last;
    ngx_str_t    found;
    ngx_uint_t   is_weak;

    p = list->data;
    last = p + list->len;

    for ( ;; ) {
        p = ngx_http_certctl_tag_blank(p, last);

        while (p < last && *p == ',') {
            p = ngx_http_certctl_tag_blank(p + 1, last);
        }

        is_weak = (last - p > 2 && p[0] == 'W' && p[1] == '/' && p[2] == '"');

        p = ngx_http_certctl_tag_read(is_weak ? p + 2 : p, last, &found);
        if (p == NULL) {
            return 0;
        }

        p = ngx_http_certctl_tag_blank(p, last);

        if (p < last && *p != ',') {
            return 0;
        }

        if (found.len == tag->len && (weak || !is_weak)
            && ngx_memcmp(found.data, tag->data, tag->len) == 0)
        {
            return 1;
        }
    }
}


ngx_uint_t
ngx_http_certctl_record_matches(const char *if_match, uint64_t generation)
{
    u_char     text[NGX_INT64_LEN + 1];
    ngx_str_t  list, tag;

    if (if_match[0] == '\0') {
        return 1;
    }

    if (ngx_strcmp(if_match, "*") == 0) {
        return generation != 0;
    }

    list.data = (u_char *) if_match;
    list.len = ngx_strlen(if_match);

    tag.data = text;
    tag.len = ngx_sprintf(text, "%uL", generation) - text;

    return ngx_http_certctl_tag_listed(&list, &tag, 0);
}


/*
 * Keeps If-Match for the thread, which may outlive the client's headers.  What
 * is empty, too long or no text fits nothing.
 */

void
ngx_http_certctl_request_if_match(ngx_http_certctl_call_t *call)
{
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    h = call->request->headers_in.if_match;

    if (h == NULL) {
        return;
    }

    value = h->value;

    if (value.len == 0 || value.len >= sizeof(call->if_match)
        || ngx_strlchr(value.data, value.data + value.len, '\0'))
    {
        ngx_str_set(&value, "?");
    }

    ngx_memcpy(call->if_match, value.data, value.len);
    call->if_match[value.len] = '\0';
}


/*
 * The generation before the walk: what changes meanwhile is asked for again.
 * And the configuration, as a worker of the one before may still answer when
 * the next one has begun.
 */

void
ngx_http_certctl_report_etag(ngx_http_certctl_call_t *call)
{
    ngx_str_t            tag;
    ngx_table_elt_t     *h;
    ngx_certctl_zone_t  *zone;

    zone = call->mcf->certctl.zone;
    call->generation = zone->generation;

    /* weak: handshakes are counted, and time goes by, without a write */

    *ngx_snprintf((u_char *) call->etag, sizeof(call->etag) - 1,
                  "W/\"%xA-%uA-%uA\"", zone->epoch,
                  call->mcf->certctl.number,
                  (ngx_atomic_uint_t) call->generation) = '\0';

    tag.data = (u_char *) call->etag + sizeof("W/\"") - 1;
    tag.len = ngx_strlen(tag.data) - 1;

    h = call->request->headers_in.if_none_match;

    if (h && ((h->value.len == 1 && h->value.data[0] == '*')
              || ngx_http_certctl_tag_listed(&h->value, &tag, 1)))
    {
        call->status = NGX_HTTP_NOT_MODIFIED;
    }
}
