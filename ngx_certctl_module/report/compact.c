
/* One certificate in the compact report: what a poller compares. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"


void
ngx_http_certctl_report_compact(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index)
{
    ngx_http_certctl_json_t  *json;
    ngx_certctl_staple_e      staple;

    json = report->json;
    staple = ngx_http_certctl_report_staple(report, cert);

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_string(json,
                                 cert->source == NGX_CERTCTL_STORE
                                 ? "name" : "file",
                                 cert->name.data, cert->name.len);
    ngx_http_certctl_json_text(json, "fingerprint", cert->fingerprint);
    ngx_http_certctl_json_time(json, "not_after", cert->not_after);
    ngx_http_certctl_json_text(json, "source",
                               ngx_certctl_source_text[cert->source]);
    ngx_http_certctl_json_text(json, "staple",
                               ngx_certctl_staple_text[staple]);

    if (cert->staple_info.next_update) {
        ngx_http_certctl_json_number(json, "staple_next_update",
                                     cert->staple_info.next_update);
    }

    if (server) {
        ngx_http_certctl_json_number(json, "line", server->line);
    }

    ngx_http_certctl_json_close(json, '}');

    ngx_http_certctl_report_check(report, server, cert, staple);
}


ngx_certctl_staple_e
ngx_http_certctl_report_staple(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert)
{
    time_t  until;

    if (cert->x509) {
        return ngx_certctl_staple_state(&report->full, cert, report->now);
    }

    if (cert->staple_withdrawn) {
        return NGX_CERTCTL_STAPLE_WITHDRAWN;
    }

    until = cert->staple_info.next_update;

    if (until == 0) {
        return cert->ocsp ? NGX_CERTCTL_STAPLE_MISSING
                          : NGX_CERTCTL_STAPLE_NOT_APPLICABLE;
    }

    /* both ends: the clock may have been set back since */

    until = ngx_min(until, cert->not_after);

    return (report->now < until
            && cert->staple_info.this_update
               <= report->now + NGX_HTTP_CERTCTL_REPORT_SKEW)
           ? NGX_CERTCTL_STAPLE_FRESH : NGX_CERTCTL_STAPLE_STALE;
}
