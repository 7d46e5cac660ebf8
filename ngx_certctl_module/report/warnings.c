
/* The warnings of a report. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "x509_usage.h"


#define NGX_HTTP_CERTCTL_WARNINGS_MAX  100

/* Longest text, without the name. */
#define NGX_HTTP_CERTCTL_WARNING_MAX   512


void
ngx_http_certctl_report_warn(ngx_http_certctl_report_t *report,
    const char *code, ngx_str_t *name, const char *fmt, ...)
{
    u_char                     *p, *last;
    va_list                     args;
    ngx_http_certctl_warned_t  *warned;

    if (report->warnings.nelts == NGX_HTTP_CERTCTL_WARNINGS_MAX) {
        report->warnings_left_out++;
        return;
    }

    p = ngx_pnalloc(report->pool, name->len + NGX_HTTP_CERTCTL_WARNING_MAX);
    warned = p ? ngx_array_push(&report->warnings) : NULL;

    if (warned == NULL) {
        report->failed = 1;
        return;
    }

    last = p + name->len + NGX_HTTP_CERTCTL_WARNING_MAX;

    warned->code = code;
    warned->text.data = p;

    p = ngx_slprintf(p, last, "\"%V\" ", name);

    va_start(args, fmt);
    warned->text.len = ngx_vslprintf(p, last, fmt, args) - warned->text.data;
    va_end(args);
}


/* One that was deleted since it was listed is no loss. */

void
ngx_http_certctl_report_unreadable(ngx_http_certctl_report_t *report,
    ngx_str_t *name)
{
    int               rc;
    certctl_record_t  rec;

    rc = certctl_store_read(report->conf->store, (char *) name->data, &rec);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_free(&rec);

    } else if (rc != CERTCTL_STORE_NOT_FOUND) {
        ngx_http_certctl_report_warn(report, "record_unreadable", name,
            rc == CERTCTL_STORE_DAMAGED
            ? "is damaged on disk: push its certificate again"
            : "cannot be read from disk");
    }
}


void
ngx_http_certctl_report_check(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    ngx_certctl_staple_e staple)
{
    const char  *usage;

    /* a static one may have a staple that NGINX itself has fetched */

    if (cert->must_staple
        && staple != NGX_CERTCTL_STAPLE_FRESH
        && !(server && server->status_cb
             && cert->source != NGX_CERTCTL_STORE))
    {
        ngx_http_certctl_report_warn(report, "must_staple_without_staple",
            &cert->name,
            "must be stapled (RFC 7633), but has no valid staple: clients that "
            "enforce this refuse it");
    }

    usage = cert->x509 ? certctl_usage_warning(cert->x509) : NULL;

    if (server && usage) {
        ngx_http_certctl_report_warn(report, "key_usage", &cert->name,
                                     "loses clients: %s", usage);
    }

    if (server && cert->not_after <= report->now) {
        ngx_http_certctl_report_warn(report, "certificate_expired",
                                     &cert->name,
                                     "is served, but has expired");
    }

    /* the report's own copy is the last good one */

    if (cert->source == NGX_CERTCTL_STORE
        && ((ngx_certctl_stored_t *) cert)->outdated)
    {
        ngx_http_certctl_report_unreadable(report, &cert->name);
    }
}


void
ngx_http_certctl_report_warnings(ngx_http_certctl_report_t *report)
{
    ngx_uint_t                  i;
    ngx_http_certctl_json_t    *json;
    ngx_http_certctl_warned_t  *warned;

    json = report->json;
    warned = report->warnings.elts;

    ngx_http_certctl_json_open(json, "warnings", '[');

    for (i = 0; i < report->warnings.nelts; i++) {
        ngx_http_certctl_json_open(json, NULL, '{');
        ngx_http_certctl_json_text(json, "code", warned[i].code);
        ngx_http_certctl_json_string(json, "text", warned[i].text.data,
                                     warned[i].text.len);
        ngx_http_certctl_json_close(json, '}');
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_number(json, "warnings_left_out",
                                 report->warnings_left_out);
}
