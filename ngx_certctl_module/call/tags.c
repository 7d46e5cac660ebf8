
/*
 * Lists of entity tags: If-Match and If-None-Match (RFC 9110 8.8.3, 13.1).  Of
 * each NGINX takes one line only.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


/* A generation may come without quotes.  A list is read up to an error. */

ngx_uint_t
ngx_http_certctl_tag_listed(ngx_str_t *list, ngx_str_t *tag, ngx_uint_t weak)
{
    u_char      *p, *end, *next, *last;
    ngx_uint_t   is_weak, quoted;

    last = list->data + list->len;

    for (p = list->data; p < last; p = next) {

        if (*p == ',' || *p == ' ' || *p == '\t') {
            next = p + 1;
            continue;
        }

        is_weak = (last - p > 2 && p[0] == 'W' && p[1] == '/' && p[2] == '"');
        p += is_weak ? 2 : 0;

        quoted = (*p == '"');
        p += quoted;

        for (end = p;
             end < last && (quoted ? *end != '"' : *end >= '0' && *end <= '9');
             end++)
        {
            /* void */
        }

        if (quoted ? end == last : end == p) {
            return 0;
        }

        next = end + quoted;

        while (next < last && (*next == ' ' || *next == '\t')) {
            next++;
        }

        if (next < last && *next != ',') {
            return 0;
        }

        if ((size_t) (end - p) == tag->len && (weak || !is_weak)
            && ngx_memcmp(p, tag->data, tag->len) == 0)
        {
            return 1;
        }
    }

    return 0;
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
 * The generation before the report is made: what changes meanwhile is asked for
 * again.  And the configuration, as workers of an older one may still answer.
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
