
/* GET certificates: a page of the report in JSON, full or compact. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"


/* Fully parsed records that a report keeps at once. */
#define NGX_HTTP_CERTCTL_REPORT_CACHE  64


/*
 * The worker's facts outlive a report, and are for one thread at a time: the
 * second one begins with none.
 */

static ngx_int_t
ngx_http_certctl_report_caches(ngx_http_certctl_report_t *report)
{
    ngx_conf_t  cf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.pool = report->pool;
    cf.log = ngx_cycle->log;

    report->full.cache_max = NGX_HTTP_CERTCTL_REPORT_CACHE;
    report->full.cache = ngx_certctl_cache_create(&cf, &report->full, 0);

    if (ngx_atomic_cmp_set(&report->conf->facts_busy, 0, 1)) {
        report->brief.cache = report->conf->facts;
        report->borrowed = 1;

    } else {
        report->brief.cache = ngx_certctl_cache_create(&cf, report->conf, 1);
    }

    return report->full.cache && report->brief.cache ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_entry_pt write,
    ngx_uint_t details)
{
    ngx_memzero(report, sizeof(ngx_http_certctl_report_t));

    report->json = &call->json;
    report->conf = &call->mcf->certctl;
    report->full = call->mcf->certctl;
    report->full.cache = NULL;
    report->brief = call->mcf->certctl;
    report->brief.cache = NULL;
    report->write = write;
    report->details = details;
    report->now = time(NULL);

    report->pool = ngx_create_pool(16384, ngx_cycle->log);

    if (report->pool == NULL
        || ngx_array_init(&report->seen, report->pool, 64, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&report->records, report->pool, 4, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&report->servers, report->pool, 4,
                          sizeof(ngx_certctl_server_t *))
           != NGX_OK
        || ngx_array_init(&report->warnings, report->pool, 4,
                          sizeof(ngx_http_certctl_warned_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_certctl_report_caches(report);
}


void
ngx_http_certctl_report_close(ngx_http_certctl_report_t *report)
{
    ngx_http_certctl_json_free(&report->unserved);
    ngx_certctl_cache_destroy(report->full.cache);

    if (report->borrowed) {
        ngx_memory_barrier();
        report->conf->facts_busy = 0;

    } else {
        ngx_certctl_cache_destroy(report->brief.cache);
    }

    if (report->pool) {
        ngx_destroy_pool(report->pool);
    }
}


/* Servers whose ssl_certificate has variables, on the first page. */

static void
ngx_http_certctl_report_variables(ngx_http_certctl_report_t *report)
{
    ngx_uint_t              i;
    ngx_certctl_server_t  **server;

    server = report->conf->servers.elts;

    ngx_http_certctl_json_open(report->json, "variable", '[');

    for (i = 0; i < report->conf->servers.nelts && report->after == 0; i++) {

        if (server[i]->expressions) {
            ngx_http_certctl_entry_variable(report, server[i]);
        }
    }

    ngx_http_certctl_json_close(report->json, ']');
}


static void
ngx_http_certctl_report_write(ngx_http_certctl_report_t *report,
    ngx_uint_t generation)
{
    ngx_http_certctl_json_t  *json;

    json = report->json;

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_open(json, "certificates", '[');

    ngx_http_certctl_report_servers(report);
    ngx_http_certctl_report_records(report);

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_open(json, "unserved", '[');
    ngx_http_certctl_json_append(json, &report->unserved);
    ngx_http_certctl_json_close(json, ']');

    ngx_http_certctl_report_variables(report);
    ngx_http_certctl_report_warnings(report);

    ngx_http_certctl_json_flag(json, "changed_meanwhile",
                               report->conf->zone->generation != generation);

    if (report->more) {
        ngx_http_certctl_json_text(json, "next", report->cursor);
    }

    ngx_http_certctl_json_close(json, '}');
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
                                     compact ? ngx_http_certctl_entry_compact
                                             : ngx_http_certctl_entry_full,
                                     !compact)
        == NGX_OK
        && ngx_http_certctl_report_page(&report, call) == NGX_OK)
    {
        ngx_http_certctl_report_write(&report, call->generation);

    } else {
        report.failed = 1;
    }

    call->json.failed |= report.failed;
    call->status = NGX_HTTP_OK;

    ngx_http_certctl_report_close(&report);
}
