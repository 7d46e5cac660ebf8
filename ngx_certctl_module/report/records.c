
/* The records that no server serves for a name of its server_name. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"


static int
ngx_http_certctl_record_add(const char *text, void *data)
{
    ngx_http_certctl_report_t *report = data;

    ngx_http_certctl_report_add_name(report, &report->records,
                                     (const u_char *) text, ngx_strlen(text));

    return report->failed;
}


static int ngx_libc_cdecl
ngx_http_certctl_record_compare(const void *one, const void *two)
{
    return ngx_strcmp(((const ngx_str_t *) one)->data,
                      ((const ngx_str_t *) two)->data);
}


/*
 * Their names in order, which the store's folders are not in: each once, and
 * neither what a server serves nor what an earlier page had.
 */

static void
ngx_http_certctl_records_list(ngx_http_certctl_report_t *report)
{
    ngx_str_t    *name;
    ngx_uint_t    i, n;
    ngx_array_t  *seen;

    /* by ?name= it can be only the records that were found, or its own name */

    if (report->name.len) {
        ngx_http_certctl_report_add_name(report, &report->records,
                                         report->name.data, report->name.len);

    } else if (certctl_store_each(report->conf->store,
                                  ngx_http_certctl_record_add, report)
               != CERTCTL_STORE_OK)
    {
        report->failed = 1;
    }

    seen = &report->seen;
    name = report->records.elts;

    ngx_qsort(seen->elts, seen->nelts, sizeof(ngx_str_t),
              ngx_http_certctl_record_compare);
    ngx_qsort(name, report->records.nelts, sizeof(ngx_str_t),
              ngx_http_certctl_record_compare);

    for (i = 0, n = 0; i < report->records.nelts; i++) {

        if ((n == 0 || ngx_strcmp(name[n - 1].data, name[i].data) != 0)
            && (report->after_name == NULL
                || ngx_strcmp(name[i].data, report->after_name) > 0)
            && bsearch(&name[i], seen->elts, seen->nelts, sizeof(ngx_str_t),
                       ngx_http_certctl_record_compare)
               == NULL)
        {
            name[n++] = name[i];
        }
    }

    report->records.nelts = n;
}


static void
ngx_http_certctl_record_entry(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_pool_t *pool)
{
    ngx_http_certctl_entry_t  entry;

    entry.server = NULL;
    entry.cert = cert;
    entry.place = 0;

    if (ngx_array_init(&entry.names, pool, 1, sizeof(ngx_str_t)) != NGX_OK) {
        report->failed = 1;
        return;
    }

    /* metrics, which have no pages, do not differ by server */

    if (report->limit) {
        entry.server = ngx_http_certctl_report_served(report, &entry);
    }

    entry.why = entry.server
                ? "stored for a name that this server block serves"
                : "no server block uses this record";

    /* by ?name= it would have been found, had its clients been given it */

    if (entry.server && report->name.len
        && ngx_strcmp(cert->name.data, report->name.data) != 0)
    {
        return;
    }

    ngx_http_certctl_report_add(report, &entry);
}


static void
ngx_http_certctl_record(ngx_http_certctl_report_t *report, ngx_str_t *name,
    ngx_pool_t *pool)
{
    ngx_certctl_cert_t    *cert;
    ngx_certctl_stored_t  *stored;

    cert = ngx_certctl_record(&report->brief, name);

    if (cert == NULL) {
        ngx_http_certctl_report_unreadable(report, name);
        return;
    }

    /* what is looked up meanwhile may replace it in the cache */

    stored = (ngx_certctl_stored_t *) cert;

    ngx_certctl_ref(stored);
    ngx_http_certctl_record_entry(report, cert, pool);
    ngx_certctl_unref(&report->brief, stored);
}


void
ngx_http_certctl_report_records(ngx_http_certctl_report_t *report)
{
    ngx_str_t   *name;
    ngx_uint_t   i;
    ngx_pool_t  *pool;

    if (report->conf->store == NULL || report->more) {
        return;
    }

    ngx_http_certctl_records_list(report);

    name = report->records.elts;
    pool = ngx_create_pool(4096, ngx_cycle->log);

    if (pool == NULL) {
        report->failed = 1;
        return;
    }

    for (i = 0;
         i < report->records.nelts && !report->more && !report->failed;
         i++)
    {
        ngx_http_certctl_record(report, &name[i], pool);
        ngx_reset_pool(pool);
    }

    ngx_destroy_pool(pool);
}
