
/* The names that clients may ask a server for, and which belong together. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"


typedef struct {
    const u_char  *digest;
    ngx_uint_t     index;
} ngx_http_certctl_host_key_t;


ngx_int_t
ngx_http_certctl_host_add(ngx_array_t *hosts, const char *prefix,
    ngx_str_t *name)
{
    ngx_http_certctl_host_t  *host;

    host = ngx_array_push(hosts);
    if (host == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(host, sizeof(ngx_http_certctl_host_t));

    host->name = *name;

    if (prefix[0]) {
        host->name.data = ngx_pnalloc(hosts->pool, name->len + 1);
        if (host->name.data == NULL) {
            return NGX_ERROR;
        }

        host->name.len = ngx_sprintf(host->name.data, "%s%V", prefix, name)
                         - host->name.data;
    }

    return NGX_OK;
}


/* ".example.com" is two names: the domain and its wildcard. */

static ngx_int_t
ngx_http_certctl_host_add_name(ngx_array_t *hosts, ngx_str_t *name)
{
    ngx_str_t  domain;

    if (name->data[0] != '.') {
        return ngx_http_certctl_host_add(hosts, "", name);
    }

    domain.data = name->data + 1;
    domain.len = name->len - 1;

    return ngx_http_certctl_host_add(hosts, "", &domain) == NGX_OK
           ? ngx_http_certctl_host_add(hosts, "*", name) : NGX_ERROR;
}


ngx_int_t
ngx_http_certctl_report_hosts(ngx_certctl_server_t *server,
    ngx_array_t *hosts, ngx_pool_t *pool)
{
    u_char      *reached;
    ngx_str_t   *name, none;
    ngx_uint_t   i;

    if (ngx_array_init(hosts, pool, server->names.nelts + 1,
                       sizeof(ngx_http_certctl_host_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&none, "");
    name = server->names.elts;
    reached = server->reached.elts;

    if ((server->agent || server->first)
        && ngx_http_certctl_host_add(hosts, "", &none) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < server->names.nelts && !server->agent; i++) {

        if (reached[i]
            && ngx_http_certctl_host_add_name(hosts, &name[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_certctl_report_add_host(ngx_array_t *hosts, ngx_str_t *name)
{
    ngx_uint_t                i;
    ngx_http_certctl_host_t  *host;

    host = hosts->elts;

    for (i = 0; i < hosts->nelts; i++) {

        if (host[i].name.len == name->len
            && ngx_memcmp(host[i].name.data, name->data, name->len) == 0)
        {
            return NGX_OK;
        }
    }

    return ngx_http_certctl_host_add(hosts, "", name);
}


static int ngx_libc_cdecl
ngx_http_certctl_host_compare(const void *one, const void *two)
{
    int                                 rc;
    const ngx_http_certctl_host_key_t  *a, *b;

    a = one;
    b = two;
    rc = ngx_memcmp(a->digest, b->digest, 32);

    return rc ? rc : (a->index > b->index) - (a->index < b->index);
}


/* By sorting: a server may have thousands of names. */

ngx_int_t
ngx_http_certctl_report_group(ngx_array_t *hosts)
{
    ngx_uint_t                    i, n, kind;
    ngx_http_certctl_host_t      *host;
    ngx_http_certctl_host_key_t  *key;

    host = hosts->elts;

    key = ngx_alloc(hosts->nelts * sizeof(*key) + 1, ngx_cycle->log);
    if (key == NULL) {
        return NGX_ERROR;
    }

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {

        for (n = 0, i = 0; i < hosts->nelts; i++) {
            if (host[i].served[kind]) {
                key[n].digest = host[i].digest[kind];
                key[n++].index = i;
            }
        }

        ngx_qsort(key, n, sizeof(*key), ngx_http_certctl_host_compare);

        for (i = 1; i < n; i++) {
            if (ngx_memcmp(key[i - 1].digest, key[i].digest, 32) == 0) {
                host[key[i - 1].index].next[kind] = key[i].index;
                host[key[i].index].grouped[kind] = 1;
            }
        }
    }

    ngx_free(key);

    return NGX_OK;
}
