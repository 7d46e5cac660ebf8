
/* The names that clients may ask a server for, and which belong together. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"


typedef struct {
    const u_char  *digest;
    ngx_uint_t     index;
} ngx_http_certctl_asked_key_t;


static ngx_str_t *
ngx_http_certctl_report_ask(ngx_http_certctl_report_t *report,
    ngx_array_t *asked, const char *prefix, ngx_str_t *name)
{
    ngx_http_certctl_asked_t  *ask;

    ask = ngx_array_push(asked);
    if (ask == NULL) {
        return NULL;
    }

    ngx_memzero(ask, sizeof(ngx_http_certctl_asked_t));

    ask->name = *name;

    if (prefix[0]) {
        ask->name.data = ngx_pnalloc(report->inside, name->len + 1);
        if (ask->name.data == NULL) {
            return NULL;
        }

        ask->name.len = ngx_sprintf(ask->name.data, "%s%V", prefix, name)
                        - ask->name.data;
    }

    return &ask->name;
}


/* The names a client could ask this server for; "" for one without SNI. */

ngx_int_t
ngx_http_certctl_report_asked(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked)
{
    u_char      *reached;
    ngx_str_t   *name, none;
    ngx_uint_t   i;

    if (ngx_array_init(asked, report->inside, server->names.nelts + 1,
                       sizeof(ngx_http_certctl_asked_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&none, "");
    name = server->names.elts;

    reached = server->reached.elts;

    /* who asks for none gets what the first name does, if that is asked for */

    if (server->agent
        || (server->first
            && (server->names.nelts == 0 || !reached[0])))
    {
        if (ngx_http_certctl_report_ask(report, asked, "", &none) == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < server->names.nelts && !server->agent; i++) {

        if (!reached[i]) {
            continue;
        }

        /* ".example.com" is two names: the domain and its wildcard */

        if (name[i].data[0] == '.') {
            none.data = name[i].data + 1;
            none.len = name[i].len - 1;

            if (ngx_http_certctl_report_ask(report, asked, "", &none) == NULL
                || ngx_http_certctl_report_ask(report, asked, "*", &name[i])
                   == NULL)
            {
                return NGX_ERROR;
            }

        } else if (ngx_http_certctl_report_ask(report, asked, "", &name[i])
                   == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_certctl_asked_compare(const void *one, const void *two)
{
    int                                  rc;
    const ngx_http_certctl_asked_key_t  *a, *b;

    a = one;
    b = two;
    rc = ngx_memcmp(a->digest, b->digest, 32);

    return rc ? rc : (a->index > b->index) - (a->index < b->index);
}


/* By sorting: a server may have thousands of names. */

ngx_int_t
ngx_http_certctl_report_chain(ngx_array_t *asked)
{
    ngx_uint_t                     i, n, kind;
    ngx_http_certctl_asked_t      *ask;
    ngx_http_certctl_asked_key_t  *key;

    ask = asked->elts;

    key = ngx_alloc(asked->nelts * sizeof(*key) + 1, ngx_cycle->log);
    if (key == NULL) {
        return NGX_ERROR;
    }

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {

        for (n = 0, i = 0; i < asked->nelts; i++) {
            if (ask[i].given[kind]) {
                key[n].digest = ask[i].digest[kind];
                key[n++].index = i;
            }
        }

        ngx_qsort(key, n, sizeof(*key), ngx_http_certctl_asked_compare);

        for (i = 1; i < n; i++) {
            if (ngx_memcmp(key[i - 1].digest, key[i].digest, 32) == 0) {
                ask[key[i - 1].index].next[kind] = key[i].index;
                ask[key[i].index].follows[kind] = 1;
            }
        }
    }

    ngx_free(key);

    return NGX_OK;
}
