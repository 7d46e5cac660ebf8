
/* Which certificates a report is asked for: all, those of a name, a page. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
#include "tls/choose.h"


/* Adds the records that the store has for a name. */

static void
ngx_http_certctl_page_lookup(ngx_http_certctl_report_t *report, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_certctl_stored_t  **stored;

    stored = ngx_certctl_lookup(&report->brief, name, 0);

    for (i = 0; stored && i < CERTCTL_KINDS; i++) {

        if (stored[i]) {
            ngx_http_certctl_report_add_name(report, &report->records,
                                             stored[i]->cert.name.data,
                                             stored[i]->cert.name.len);
        }
    }
}


/*
 * What clients send that ask for the name: neither upper case nor a dot at the
 * end makes a difference to NGINX, and an IP address is not sent (RFC 6066
 * section 3).  And the records that a handshake for it would look at.
 */

static void
ngx_http_certctl_page_name(ngx_http_certctl_report_t *report, char *text)
{
    u_char               *dot, wildcard[CERTCTL_NAME_MAX + 1];
    ngx_str_t            *sni, name;
    ngx_certctl_name_t   *ipv6;

    report->name.data = (u_char *) text;
    report->name.len = ngx_strlen(text);

    /* spelled as the store has it: RFC 5952 */

    if (strchr(text, ':')) {
        ipv6 = ngx_palloc(report->pool, sizeof(ngx_certctl_name_t));

        if (ipv6 == NULL) {
            report->failed = 1;
            return;
        }

        ngx_certctl_name(&report->name, ipv6);

        report->name.data = ipv6->data;
        report->name.len = ipv6->len;
    }

    sni = &report->sni;
    sni->data = ngx_pnalloc(report->pool, report->name.len + 1);

    if (sni->data == NULL) {
        report->failed = 1;
        return;
    }

    ngx_strlow(sni->data, report->name.data, report->name.len + 1);
    sni->len = report->name.len;

    if (sni->len > 1 && sni->data[sni->len - 1] == '.') {
        sni->len--;
    }

    ngx_http_certctl_page_lookup(report, sni);

    dot = ngx_strlchr(sni->data, sni->data + sni->len, '.');

    if (dot && dot != sni->data) {
        name.data = wildcard;
        name.len = ngx_sprintf(wildcard, "*%*s",
                               (size_t) (sni->data + sni->len - dot), dot)
                   - wildcard;
        ngx_http_certctl_page_lookup(report, &name);
    }

    if (ngx_inet_addr(sni->data, sni->len) != INADDR_NONE
        || ngx_strlchr(sni->data, sni->data + sni->len, ':'))
    {
        sni->len = 0;
    }

    ngx_http_certctl_report_find_servers(report);
}


ngx_int_t
ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call)
{
    char  *text;

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
        ngx_http_certctl_page_name(report, text);
    }

    return report->failed ? NGX_ERROR : NGX_OK;
}


ngx_uint_t
ngx_http_certctl_report_listed(ngx_array_t *names, ngx_str_t *name)
{
    ngx_str_t   *listed;
    ngx_uint_t   i;

    listed = names->elts;

    for (i = 0; i < names->nelts; i++) {

        if (listed[i].len == name->len
            && ngx_memcmp(listed[i].data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_certctl_report_wanted(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *names)
{
    return report->name.len == 0
           || ngx_strcmp(cert->name.data, report->name.data) == 0
           || (names && ngx_http_certctl_report_listed(names, &report->sni));
}


void
ngx_http_certctl_report_add(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry)
{
    u_char                    *p;
    ngx_certctl_cert_t        *cert;
    ngx_http_certctl_json_t   *json;

    json = report->json;
    cert = entry->cert;

    if (report->limit
        && (report->count == report->limit
            || json->size + report->unserved.size
               >= NGX_HTTP_CERTCTL_PAGE_SIZE))
    {
        report->more = 1;
        return;
    }

    report->count++;

    if (report->details && cert->source == NGX_CERTCTL_STORE) {
        entry->cert = ngx_certctl_record(&report->full, &cert->name);

        if (entry->cert == NULL) {
            ngx_http_certctl_report_unreadable(report, &cert->name);
            return;
        }
    }

    p = entry->place
        ? ngx_sprintf((u_char *) report->cursor, "s%xi", entry->place)
        : ngx_snprintf((u_char *) report->cursor, sizeof(report->cursor) - 1,
                       "u%V", &cert->name);
    *p = '\0';

    if (entry->server == NULL) {
        report->json = &report->unserved;
    }

    report->write(report, entry);
    report->json = json;

    if (report->limit && cert->source == NGX_CERTCTL_STORE
        && entry->server && !entry->server->agent)
    {
        ngx_http_certctl_report_check_ip(report,
                                         (ngx_certctl_stored_t *) cert);
    }
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
