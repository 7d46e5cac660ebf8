
/*
 * GET metrics: what Prometheus asks for, in its text format 0.0.4.  Each
 * family stands together, so certificates are gathered first.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "tls/worker.h"


/* Certificates that get series of their own; those that expire first. */
#define NGX_HTTP_CERTCTL_METRICS_MAX  1000


typedef struct {
    ngx_str_t             name;
    ngx_certctl_source_e  source;
    certctl_kind_e        kind;
    u_char                digest[32];
    time_t                not_after;
    time_t                next_update;
    uint64_t              handshakes;
    ngx_certctl_staple_e  staple;
    time_t                age;              /* of the staple */
    unsigned              staple_known:1;
} ngx_http_certctl_metric_t;


typedef struct {
    ngx_http_certctl_report_t   report;     /* first */
    ngx_array_t                 metrics;
    ngx_uint_t                  left_out;
    ngx_uint_t                  records;
    uint64_t                    bytes;
} ngx_http_certctl_metrics_t;


typedef ngx_int_t (*ngx_http_certctl_metric_pt)(
    const ngx_http_certctl_metric_t *metric, int64_t *value);


static ngx_int_t
ngx_http_certctl_metric_end(const ngx_http_certctl_metric_t *metric,
    int64_t *value)
{
    *value = metric->not_after;
    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_metric_handshakes(const ngx_http_certctl_metric_t *metric,
    int64_t *value)
{
    *value = metric->handshakes;
    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_metric_staple(const ngx_http_certctl_metric_t *metric,
    int64_t *value)
{
    *value = 1;
    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_metric_age(const ngx_http_certctl_metric_t *metric,
    int64_t *value)
{
    *value = metric->age;
    return metric->staple_known ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_certctl_metric_next(const ngx_http_certctl_metric_t *metric,
    int64_t *value)
{
    *value = metric->next_update;
    return metric->next_update ? NGX_OK : NGX_DECLINED;
}


/* To add a counter: a member of ngx_certctl_zone_t, a row here and in
   docs/module-protocol.md. */

static const struct {
    const char                  *name;
    const char                  *type;
    const char                  *help;
    size_t                       offset;
} ngx_http_certctl_metrics_zone[] = {
    { "certctl_generation", "gauge",
      "Generation of the store.",
      offsetof(ngx_certctl_zone_t, generation) },
    { "certctl_commits_total", "counter",
      "Control requests that changed the store.",
      offsetof(ngx_certctl_zone_t, commits) },
    { "certctl_swaps_total", "counter",
      "Certificates that became live by PUT or rollback.",
      offsetof(ngx_certctl_zone_t, swaps) },
    { "certctl_rejects_total", "counter",
      "Control requests that were refused.",
      offsetof(ngx_certctl_zone_t, rejects) },
    { "certctl_errors_total", "counter",
      "Records that could not be read.",
      offsetof(ngx_certctl_zone_t, errors) },
    { "certctl_handshakes_total", "counter",
      "TLS handshakes of servers with certctl on.",
      offsetof(ngx_certctl_zone_t, handshakes) },
    { "certctl_staples_total", "counter",
      "TLS handshakes with a staple that certctl sent.",
      offsetof(ngx_certctl_zone_t, staples) },
};


/* To add a family with a series for each certificate: a row here, its value
   above. */

static const struct {
    const char                  *name;
    const char                  *type;
    const char                  *help;
    ngx_http_certctl_metric_pt   value;
    ngx_uint_t                   staple;    /* with the label "state" */
} ngx_http_certctl_metrics_certs[] = {
    { "certctl_certificate_not_after_seconds", "gauge",
      "Expiry of the certificate, in Unix time.",
      ngx_http_certctl_metric_end, 0 },
    { "certctl_certificate_handshakes_total", "counter",
      "TLS handshakes with the certificate.",
      ngx_http_certctl_metric_handshakes, 0 },
    { "certctl_certificate_staple", "gauge",
      "1 for the current state of the certificate's staple.",
      ngx_http_certctl_metric_staple, 1 },
    { "certctl_certificate_staple_age_seconds", "gauge",
      "Seconds since thisUpdate of the certificate's staple.",
      ngx_http_certctl_metric_age, 0 },
    { "certctl_certificate_staple_next_update_seconds", "gauge",
      "nextUpdate of the certificate's staple, in Unix time.",
      ngx_http_certctl_metric_next, 0 },
};


#define ngx_http_certctl_rows(table)  (sizeof(table) / sizeof(table[0]))


static void
ngx_http_certctl_metrics_found(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_cert_t *cert,
    const char *why, ngx_array_t *hosts, ngx_uint_t index)
{
    time_t                       last;
    ngx_http_certctl_metric_t   *metric;
    ngx_http_certctl_metrics_t  *metrics;

    metrics = (ngx_http_certctl_metrics_t *) report;

    metric = ngx_array_push(&metrics->metrics);

    if (metric == NULL) {
        report->failed = 1;
        return;
    }

    ngx_memzero(metric, sizeof(ngx_http_certctl_metric_t));

    metric->name.data = ngx_pstrdup(report->pool, &cert->name);

    if (metric->name.data == NULL) {
        report->failed = 1;
        return;
    }

    metric->name.len = cert->name.len;
    metric->source = cert->source;
    metric->kind = cert->kind;
    metric->not_after = cert->not_after;
    metric->staple = ngx_http_certctl_report_staple(report, cert);
    metric->next_update = cert->staple_info.next_update;
    metric->staple_known = (cert->staple_info.this_update != 0
                            && !cert->staple_withdrawn);
    metric->age = report->now - cert->staple_info.this_update;
    ngx_memcpy(metric->digest, cert->digest, sizeof(metric->digest));

    ngx_certctl_zone_used(report->conf->zone, cert->digest,
                          &metric->handshakes, &last);
}


static int
ngx_http_certctl_metrics_record(const char *name, void *data)
{
    ngx_http_certctl_metrics_t *metrics = data;

    metrics->records++;

    return 0;
}


static int ngx_libc_cdecl
ngx_http_certctl_metrics_by_name(const void *one, const void *two)
{
    int                               rc;
    const ngx_http_certctl_metric_t  *a, *b;

    a = one;
    b = two;

    if (a->source != b->source) {
        return a->source < b->source ? -1 : 1;
    }

    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }

    rc = ngx_memn2cmp(a->name.data, b->name.data, a->name.len, b->name.len);

    return rc ? rc : ngx_memcmp(a->digest, b->digest, sizeof(a->digest));
}


static int ngx_libc_cdecl
ngx_http_certctl_metrics_by_end(const void *one, const void *two)
{
    const ngx_http_certctl_metric_t  *a, *b;

    a = one;
    b = two;

    if (a->not_after != b->not_after) {
        return a->not_after < b->not_after ? -1 : 1;
    }

    return ngx_http_certctl_metrics_by_name(one, two);
}


/*
 * A series for each name, source and kind.  A certificate that several servers
 * give counts once; of several under one name the first to expire tells when.
 */

static void
ngx_http_certctl_metrics_merge(ngx_http_certctl_metrics_t *metrics)
{
    ngx_uint_t                  i, n;
    ngx_array_t                *array;
    ngx_http_certctl_metric_t  *metric, *last;

    array = &metrics->metrics;
    metric = array->elts;

    ngx_qsort(metric, array->nelts, sizeof(ngx_http_certctl_metric_t),
              ngx_http_certctl_metrics_by_name);

    for (n = 0, i = 0; i < array->nelts; i++) {

        last = n ? &metric[n - 1] : NULL;

        if (last == NULL || last->source != metric[i].source
            || last->kind != metric[i].kind
            || last->name.len != metric[i].name.len
            || ngx_memcmp(last->name.data, metric[i].name.data,
                          last->name.len)
               != 0)
        {
            metric[n++] = metric[i];
            continue;
        }

        if (ngx_memcmp(metric[i].digest, metric[i - 1].digest, 32) != 0) {
            last->handshakes += metric[i].handshakes;
            last->not_after = ngx_min(last->not_after, metric[i].not_after);
        }
    }

    ngx_qsort(metric, n, sizeof(ngx_http_certctl_metric_t),
              ngx_http_certctl_metrics_by_end);

    array->nelts = ngx_min(n, NGX_HTTP_CERTCTL_METRICS_MAX);
    metrics->left_out = n - array->nelts;
}


static void
ngx_http_certctl_metrics_text(ngx_http_certctl_json_t *out, const char *text)
{
    ngx_http_certctl_json_raw(out, (const u_char *) text, ngx_strlen(text));
}


static void
ngx_http_certctl_metrics_family(ngx_http_certctl_json_t *out,
    const char *name, const char *type, const char *help)
{
    ngx_http_certctl_metrics_text(out, "# HELP ");
    ngx_http_certctl_metrics_text(out, name);
    ngx_http_certctl_metrics_text(out, " ");
    ngx_http_certctl_metrics_text(out, help);
    ngx_http_certctl_metrics_text(out, "\n# TYPE ");
    ngx_http_certctl_metrics_text(out, name);
    ngx_http_certctl_metrics_text(out, " ");
    ngx_http_certctl_metrics_text(out, type);
    ngx_http_certctl_metrics_text(out, "\n");
}


static void
ngx_http_certctl_metrics_value(ngx_http_certctl_json_t *out,
    const char *name, int64_t value)
{
    u_char  text[NGX_INT64_LEN + 3], *last;

    last = ngx_sprintf(text, " %L\n", value);

    ngx_http_certctl_metrics_text(out, name);
    ngx_http_certctl_json_raw(out, text, last - text);
}


/* A worker that is new begins at 0. */

static void
ngx_http_certctl_metrics_lag(ngx_http_certctl_json_t *out,
    ngx_certctl_zone_t *zone, ngx_uint_t n)
{
    u_char      label[80];
    ngx_uint_t  i;

    ngx_http_certctl_metrics_family(out, "certctl_event_loop_late_max_us",
        "gauge", "Longest delay of the worker's event loop during control "
                 "requests, in microseconds.");

    for (i = 0; i < n; i++) {
        *ngx_snprintf(label, sizeof(label) - 1,
                      "certctl_event_loop_late_max_us{worker=\"%i\"}", i)
            = '\0';
        ngx_http_certctl_metrics_value(out, (char *) label,
                                       zone->workers[i].max_lag);
    }

    ngx_http_certctl_metrics_family(out, "certctl_event_loop_stalls_total",
        "counter", "Delays of the worker's event loop of more than 5 ms during "
                   "control requests.");

    for (i = 0; i < n; i++) {
        *ngx_snprintf(label, sizeof(label) - 1,
                      "certctl_event_loop_stalls_total{worker=\"%i\"}", i)
            = '\0';
        ngx_http_certctl_metrics_value(out, (char *) label,
                                       zone->workers[i].stalls);
    }
}


static void
ngx_http_certctl_metrics_workers(ngx_http_certctl_metrics_t *metrics)
{
    u_char                    label[128];
    ngx_int_t                 i, n, all;
    ngx_certctl_t            *certctl;
    ngx_core_conf_t          *ccf;
    ngx_certctl_zone_t       *zone;
    ngx_http_certctl_json_t  *out;

    out = metrics->report.json;
    certctl = metrics->report.conf;
    zone = certctl->zone;

    ccf = (ngx_core_conf_t *) ngx_get_conf(certctl->cycle->conf_ctx,
                                           ngx_core_module);
    n = ngx_min(ccf->worker_processes, NGX_CERTCTL_WORKERS);
    all = 0;

    ngx_http_certctl_metrics_family(out, "certctl_worker_generation", "gauge",
                            "Store generation that the worker has seen.");

    for (i = 0; i < n; i++) {
        *ngx_snprintf(label, sizeof(label) - 1,
                      "certctl_worker_generation{worker=\"%i\"}", i) = '\0';
        ngx_http_certctl_metrics_value(out, (char *) label,
                                       zone->workers[i].generation);
        all += ngx_certctl_worker_at(&zone->workers[i],
                                          zone->generation);
    }

    ngx_http_certctl_metrics_lag(out, zone, n);

    ngx_http_certctl_metrics_family(out, "certctl_workers", "gauge",
                                    "Configured worker processes.");
    ngx_http_certctl_metrics_value(out, "certctl_workers",
                                   ccf->worker_processes);

    ngx_http_certctl_metrics_family(out, "certctl_workers_at_generation",
                "gauge", "Workers that have seen the store's generation.");
    ngx_http_certctl_metrics_value(out, "certctl_workers_at_generation", all);
}


/* In a label's value, which is UTF-8, backslash, quote and line feed are
   escaped. */

static void
ngx_http_certctl_metrics_labels(ngx_http_certctl_json_t *out,
    const char *name, const ngx_http_certctl_metric_t *metric,
    ngx_uint_t staple)
{
    size_t   n;
    u_char  *p, *last;

    ngx_http_certctl_metrics_text(out, name);
    ngx_http_certctl_metrics_text(out, "{certificate=\"");

    last = metric->name.data + metric->name.len;

    for (p = metric->name.data; p < last; p += ngx_max(n, 1)) {

        n = ngx_http_certctl_json_utf8(p, last - p);

        if (n == 0) {
            ngx_http_certctl_metrics_text(out, NGX_HTTP_CERTCTL_NO_UTF8);

        } else if (*p == '\n') {
            ngx_http_certctl_metrics_text(out, "\\n");

        } else {
            if (*p == '"' || *p == '\\') {
                ngx_http_certctl_metrics_text(out, "\\");
            }

            ngx_http_certctl_json_raw(out, p, n);
        }
    }

    ngx_http_certctl_metrics_text(out, "\",source=\"");
    ngx_http_certctl_metrics_text(out,
                              ngx_certctl_source_text[metric->source]);
    ngx_http_certctl_metrics_text(out, metric->kind == CERTCTL_KIND_RSA
                                       ? "\",kind=\"rsa" : "\",kind=\"ecdsa");

    if (staple) {
        ngx_http_certctl_metrics_text(out, "\",state=\"");
        ngx_http_certctl_metrics_text(out,
                              ngx_certctl_staple_text[metric->staple]);
    }

    ngx_http_certctl_metrics_text(out, "\"}");
}


static void
ngx_http_certctl_metrics_write(ngx_http_certctl_metrics_t *metrics)
{
    int64_t                     value;
    ngx_uint_t                  i, n;
    ngx_certctl_zone_t         *zone;
    ngx_http_certctl_json_t    *out;
    ngx_http_certctl_metric_t  *metric;

    out = metrics->report.json;
    zone = metrics->report.conf->zone;
    metric = metrics->metrics.elts;

    for (i = 0; i < ngx_http_certctl_rows(ngx_http_certctl_metrics_zone); i++)
    {
        ngx_http_certctl_metrics_family(out,
                                      ngx_http_certctl_metrics_zone[i].name,
                                      ngx_http_certctl_metrics_zone[i].type,
                                      ngx_http_certctl_metrics_zone[i].help);
        ngx_http_certctl_metrics_value(out,
            ngx_http_certctl_metrics_zone[i].name,
            *(ngx_atomic_t *) ((u_char *) zone
                               + ngx_http_certctl_metrics_zone[i].offset));
    }

    ngx_http_certctl_metrics_workers(metrics);

    ngx_http_certctl_metrics_family(out, "certctl_store_records", "gauge",
                                    "Records in the store.");
    ngx_http_certctl_metrics_value(out, "certctl_store_records",
                                   metrics->records);

    ngx_http_certctl_metrics_family(out, "certctl_store_bytes", "gauge",
                "Bytes of the store's files, previous versions included.");
    ngx_http_certctl_metrics_value(out, "certctl_store_bytes",
                                   metrics->bytes);

    ngx_http_certctl_metrics_family(out, "certctl_certificates_left_out",
        "gauge", "Certificates left out of the per-certificate series.");
    ngx_http_certctl_metrics_value(out, "certctl_certificates_left_out",
                                   metrics->left_out);

    for (i = 0; i < ngx_http_certctl_rows(ngx_http_certctl_metrics_certs);
         i++)
    {
        ngx_http_certctl_metrics_family(out,
                                     ngx_http_certctl_metrics_certs[i].name,
                                     ngx_http_certctl_metrics_certs[i].type,
                                     ngx_http_certctl_metrics_certs[i].help);

        for (n = 0; n < metrics->metrics.nelts; n++) {

            if (ngx_http_certctl_metrics_certs[i].value(&metric[n], &value)
                == NGX_OK)
            {
                ngx_http_certctl_metrics_labels(out,
                                   ngx_http_certctl_metrics_certs[i].name,
                                   &metric[n],
                                   ngx_http_certctl_metrics_certs[i].staple);
                ngx_http_certctl_metrics_value(out, "", value);
            }
        }
    }
}


void
ngx_http_certctl_report_metrics(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_report_t   *report;
    ngx_http_certctl_metrics_t   metrics;

    ngx_memzero(&metrics, sizeof(ngx_http_certctl_metrics_t));
    report = &metrics.report;

    if (ngx_http_certctl_report_open(report, call,
                                     ngx_http_certctl_metrics_found, 0)
        != NGX_OK
        || ngx_array_init(&metrics.metrics, report->pool, 64,
                          sizeof(ngx_http_certctl_metric_t))
           != NGX_OK)
    {
        report->failed = 1;
        goto done;
    }

    ngx_http_certctl_report_servers(report);
    ngx_http_certctl_report_records(report);

    if (call->mcf->certctl.store) {
        (void) certctl_store_each(call->mcf->certctl.store,
                                  ngx_http_certctl_metrics_record, &metrics);
        metrics.bytes = certctl_store_bytes(call->mcf->certctl.store);
    }

    ngx_http_certctl_metrics_merge(&metrics);
    ngx_http_certctl_metrics_write(&metrics);

    call->media = "text/plain; version=0.0.4; charset=utf-8";
    call->status = NGX_HTTP_OK;

done:

    call->json.failed |= report->failed;

    ngx_http_certctl_report_close(report);
}
