
/* GET certificates: the report in JSON, full or compact, whole or in pages. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_certctl_agent.h"
#include "ngx_http_certctl_report.h"


/* The generation before the walk: what changes meanwhile is asked for again. */

void
ngx_http_certctl_report_etag(ngx_http_certctl_call_t *call)
{
    size_t               len;
    ngx_str_t           *value;
    ngx_table_elt_t     *h;
    ngx_certctl_zone_t  *zone;

    zone = call->mcf->certctl.zone;

    *ngx_snprintf((u_char *) call->etag, sizeof(call->etag) - 1, "\"%xA-%uA\"",
                  zone->epoch, zone->generation) = '\0';

    h = call->request->headers_in.if_none_match;

    if (h == NULL) {
        return;
    }

    value = &h->value;
    len = ngx_strlen(call->etag);

    if ((value->len == 1 && value->data[0] == '*')
        || (value->len >= len
            && ngx_strnstr(value->data, call->etag, value->len) != NULL))
    {
        call->status = NGX_HTTP_NOT_MODIFIED;
    }
}


static void
ngx_http_certctl_report_write(ngx_http_certctl_report_t *report)
{
    ngx_uint_t              i;
    ngx_certctl_server_t  **server;

    ngx_http_certctl_json_open(report->json, NULL, '{');
    ngx_http_certctl_json_open(report->json, "certificates", '[');

    ngx_http_certctl_report_servers(report);

    ngx_http_certctl_json_close(report->json, ']');
    ngx_http_certctl_json_open(report->json, "unserved", '[');

    ngx_http_certctl_report_unserved(report);

    ngx_http_certctl_json_close(report->json, ']');
    ngx_http_certctl_json_open(report->json, "variable", '[');

    server = report->conf->servers.elts;

    for (i = 0; i < report->conf->servers.nelts; i++) {
        if (server[i]->expressions) {
            ngx_http_certctl_report_variable(report, server[i]);
        }
    }

    ngx_http_certctl_json_close(report->json, ']');

    ngx_http_certctl_report_warnings(report);

    if (report->more) {
        ngx_http_certctl_json_text(report->json, "next", report->next);
    }

    ngx_http_certctl_json_close(report->json, '}');
}


void
ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call)
{
    const char                 *form;
    ngx_uint_t                  compact;
    ngx_http_certctl_report_t   report;

    form = call->args[NGX_HTTP_CERTCTL_ARG_FORM];
    compact = (form && ngx_strcmp(form, "compact") == 0);

    if (ngx_http_certctl_report_open(&report, call,
                                     compact ? ngx_http_certctl_report_compact
                                             : ngx_http_certctl_report_entry,
                                     !compact)
        == NGX_OK)
    {
        ngx_http_certctl_report_write(&report);
        call->status = NGX_HTTP_OK;

    } else {
        report.failed = 1;
    }

    call->json.failed |= report.failed;

    ngx_http_certctl_report_close(&report);
}
