
/* Which certificates a report is asked for: all, those of a name, a page. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
#include "tls/choose.h"


/*
 * What clients send that ask for the name: neither upper case nor a dot at the
 * end makes a difference to NGINX, and an IP address is not sent (RFC 6066
 * section 3).
 */

static void
ngx_http_certctl_report_sni(ngx_http_certctl_report_t *report)
{
    ngx_str_t  *name, *sni;

    name = &report->name;
    sni = &report->sni;

    sni->data = ngx_pnalloc(report->pool, name->len + 1);

    if (sni->data == NULL) {
        report->failed = 1;
        return;
    }

    ngx_strlow(sni->data, name->data, name->len + 1);
    sni->len = name->len;

    if (sni->len > 1 && sni->data[sni->len - 1] == '.') {
        sni->len--;
    }

    if (ngx_inet_addr(sni->data, sni->len) != INADDR_NONE
        || ngx_strlchr(sni->data, sni->data + sni->len, ':'))
    {
        sni->len = 0;
    }
}


/* Spelled as the store has it: RFC 5952. */

static void
ngx_http_certctl_report_ipv6(ngx_http_certctl_report_t *report)
{
    ngx_certctl_name_t  *name;

    name = ngx_palloc(report->pool, sizeof(ngx_certctl_name_t));

    if (name == NULL) {
        report->failed = 1;
        return;
    }

    ngx_certctl_name(&report->name, name);

    report->name.data = name->data;
    report->name.len = name->len;
}


/* Keeps the records that a handshake for the name would look at. */

static void
ngx_http_certctl_report_candidates(ngx_http_certctl_report_t *report)
{
    u_char                  lower[CERTCTL_NAME_MAX + 1], *dot;
    ngx_str_t               name;
    ngx_uint_t              i, wild;
    ngx_certctl_stored_t  **stored;

    name.data = lower;
    name.len = report->name.len;
    ngx_strlow(lower, report->name.data, name.len + 1);

    for (wild = 0; wild < 2; wild++) {

        stored = ngx_certctl_lookup(&report->brief, &name, 0);

        for (i = 0; stored && i < CERTCTL_KINDS; i++) {
            if (stored[i]) {
                ngx_http_certctl_report_add_name(report, &report->records,
                                                 stored[i]->cert.name.data,
                                                 stored[i]->cert.name.len);
            }
        }

        dot = ngx_strlchr(lower, lower + name.len, '.');

        if (dot == NULL || dot == lower) {
            break;
        }

        name.len -= dot - 1 - lower;
        name.data = dot - 1;
        name.data[0] = '*';
    }
}


ngx_int_t
ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call)
{
    const char  *text;

    text = call->args[NGX_HTTP_CERTCTL_ARG_LIMIT];
    report->limit = text ? (ngx_uint_t) ngx_atoi((u_char *) text,
                                                 ngx_strlen(text))
                         : NGX_HTTP_CERTCTL_LIMIT;

    text = call->args[NGX_HTTP_CERTCTL_ARG_AFTER];

    if (text && text[0] == 'u') {
        report->after_name = text + 1;
        report->after = NGX_MAX_INT_T_VALUE;

    } else if (text) {
        report->after = ngx_hextoi((u_char *) text + 1, ngx_strlen(text + 1));
    }

    text = call->args[NGX_HTTP_CERTCTL_ARG_HOST];

    if (text) {
        report->name.data = (u_char *) text;
        report->name.len = ngx_strlen(text);

        if (strchr(text, ':')) {
            ngx_http_certctl_report_ipv6(report);
        }

        ngx_http_certctl_report_sni(report);
        ngx_http_certctl_report_candidates(report);
        ngx_http_certctl_report_asked(report);
    }

    return report->failed ? NGX_ERROR : NGX_OK;
}


/* Whether cert is one of those that ?name= asks for. */

ngx_uint_t
ngx_http_certctl_report_wanted(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *hosts, ngx_uint_t index)
{
    ngx_uint_t                i;
    ngx_http_certctl_host_t  *host;

    if (report->name.len == 0
        || (cert->name.len == report->name.len
            && ngx_memcmp(cert->name.data, report->name.data, cert->name.len)
               == 0))
    {
        return 1;
    }

    if (hosts == NULL) {
        return 0;
    }

    host = hosts->elts;
    i = index;

    do {
        if (host[i].name.len == report->sni.len
            && ngx_memcmp(host[i].name.data, report->sni.data,
                          report->sni.len)
               == 0)
        {
            return 1;
        }

        i = host[i].next[cert->kind];

    } while (i);

    return 0;
}


ngx_uint_t
ngx_http_certctl_report_next(ngx_http_certctl_report_t *report)
{
    if (report->limit
        && (report->count == report->limit
            || report->json->size + report->unserved.size
               >= NGX_HTTP_CERTCTL_PAGE_SIZE))
    {
        report->more = 1;
        return 0;
    }

    report->count++;

    return !report->failed && !report->json->failed;
}


void
ngx_http_certctl_report_add_name(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len)
{
    ngx_str_t  *name;

    name = ngx_array_push(names);

    if (name == NULL) {
        report->failed = 1;
        return;
    }

    name->len = len;
    name->data = ngx_pnalloc(report->pool, len + 1);

    if (name->data == NULL) {
        names->nelts--;
        report->failed = 1;
        return;
    }

    ngx_cpystrn(name->data, (u_char *) data, len + 1);
}
