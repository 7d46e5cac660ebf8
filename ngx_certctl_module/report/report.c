
/* GET certificates: the report in JSON, full or compact, piece by piece. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"


/*
 * The answer is written in stages, and a full piece may end within one: then
 * it goes on there when the client has read what was written.
 */

static ngx_int_t
ngx_http_certctl_stage_begin(ngx_http_certctl_report_t *report)
{
    ngx_http_certctl_json_open(report->json, NULL, '{');
    ngx_http_certctl_json_open(report->json, "certificates", '[');

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_stage_between(ngx_http_certctl_report_t *report)
{
    ngx_http_certctl_json_close(report->json, ']');
    ngx_http_certctl_json_open(report->json, "unserved", '[');

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_stage_end(ngx_http_certctl_report_t *report)
{
    ngx_uint_t              i;
    ngx_certctl_server_t  **server;

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

    ngx_http_certctl_json_flag(report->json, "changed_meanwhile",
                               report->conf->zone->generation
                               != report->generation);

    if (report->more) {
        ngx_http_certctl_json_text(report->json, "next", report->next);
    }

    ngx_http_certctl_json_close(report->json, '}');

    return NGX_OK;
}


static ngx_int_t  (*ngx_http_certctl_report_stages[])(
    ngx_http_certctl_report_t *report) =
{
    ngx_http_certctl_stage_begin,
    ngx_http_certctl_report_servers,
    ngx_http_certctl_stage_between,
    ngx_http_certctl_report_unserved,
    ngx_http_certctl_stage_end,
    NULL
};


static void
ngx_http_certctl_report_release(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_report_close(call->data);
    ngx_free(call->data);

    call->data = NULL;
    call->release = NULL;
}


static ngx_int_t
ngx_http_certctl_report_start(ngx_http_certctl_call_t *call)
{
    const char                 *form;
    ngx_uint_t                  compact;
    ngx_http_certctl_report_t  *report;

    form = call->args[NGX_HTTP_CERTCTL_ARG_FORM];
    compact = (form && ngx_strcmp(form, "compact") == 0);

    report = ngx_alloc(sizeof(ngx_http_certctl_report_t), ngx_cycle->log);
    if (report == NULL) {
        return NGX_ERROR;
    }

    call->data = report;
    call->release = ngx_http_certctl_report_release;

    if (ngx_http_certctl_report_open(report, call,
                                     compact ? ngx_http_certctl_report_compact
                                             : ngx_http_certctl_report_entry,
                                     !compact)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    report->call = call;
    report->generation = call->generation;
    report->piece = NGX_HTTP_CERTCTL_PIECE;

    return NGX_OK;
}


/* One piece of the answer: the first, or the next one.  A helper comes in its
   midst. */

void
ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call)
{
    ngx_int_t                   rc;
    ngx_http_certctl_report_t  *report;

    rc = call->data ? ngx_http_certctl_report_borrow(call->data)
                    : ngx_http_certctl_report_start(call);

    report = call->data;

    while (rc == NGX_OK && ngx_http_certctl_report_stages[report->stage]) {
        rc = ngx_http_certctl_report_stages[report->stage](report);

        if (rc == NGX_OK) {
            report->stage++;
        }
    }

    call->more = (rc == NGX_AGAIN && call->helper == NULL);
    call->json.failed |= (rc == NGX_ERROR);
    call->status = NGX_HTTP_OK;

    if (call->helper) {
        return;
    }

    if (call->more) {
        ngx_http_certctl_report_return(report);

    } else if (report) {
        ngx_http_certctl_report_release(call);
    }
}
