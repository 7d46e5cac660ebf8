
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

#define NGX_HTTP_CERTCTL_NO_VALUE     INT64_MIN


/* A certificate: labels, then values. */

typedef struct {
    ngx_str_t             name;
    ngx_certctl_source_e  source;
    certctl_kind_e        kind;
    u_char                digest[32];
    ngx_certctl_staple_e  staple;

    int64_t               in_state;         /* 1, with the label "state" */
    int64_t               not_after;
    int64_t               handshakes;
    int64_t               staple_age;
    int64_t               next_update;
} ngx_http_certctl_metric_t;


typedef struct {
    ngx_http_certctl_report_t   report;     /* first */
    ngx_array_t                 metrics;

    int64_t                     workers;
    int64_t                     workers_at;
    int64_t                     records;
    int64_t                     bytes;
    int64_t                     left_out;
} ngx_http_certctl_metrics_t;


/* To add a family: a member of the struct that the table is for, a row here and
   in docs/module-protocol.md. */

typedef struct {
    const char  *name;
    const char  *type;
    const char  *help;
    size_t       offset;
} ngx_http_certctl_family_t;


static const ngx_http_certctl_family_t  ngx_http_certctl_zone_families[] = {
    { "certctl_generation", "gauge", "Generation of the store.",
      offsetof(ngx_certctl_zone_t, generation) },
#define X(member, help)                                                       \
    { "certctl_" #member "_total", "counter", help,                           \
      offsetof(ngx_certctl_zone_t, member) },
    NGX_HTTP_CERTCTL_COUNTERS(X)
#undef X
    { NULL, NULL, NULL, 0 }
};

static const ngx_http_certctl_family_t  ngx_http_certctl_worker_families[] = {
    { "certctl_worker_generation", "gauge",
      "Store generation that the worker has seen.",
      offsetof(ngx_certctl_worker_t, generation) },
    { "certctl_event_loop_lag_max_us", "gauge",
      "Longest delay of the worker's event loop during control requests, in "
      "microseconds.",
      offsetof(ngx_certctl_worker_t, max_lag) },
    { "certctl_event_loop_stalls_total", "counter",
      "Delays of the worker's event loop of more than 5 ms during control "
      "requests.",
      offsetof(ngx_certctl_worker_t, stalls) },
    { NULL, NULL, NULL, 0 }
};

static const ngx_http_certctl_family_t  ngx_http_certctl_host_families[] = {
    { "certctl_workers", "gauge", "Configured worker processes.",
      offsetof(ngx_http_certctl_metrics_t, workers) },
    { "certctl_workers_at_generation", "gauge",
      "Workers that have seen the store's generation.",
      offsetof(ngx_http_certctl_metrics_t, workers_at) },
    { "certctl_store_records", "gauge", "Records in the store.",
      offsetof(ngx_http_certctl_metrics_t, records) },
    { "certctl_store_bytes", "gauge",
      "Bytes of the store's files, previous versions included.",
      offsetof(ngx_http_certctl_metrics_t, bytes) },
    { "certctl_certificates_left_out", "gauge",
      "Certificates left out of the per-certificate series.",
      offsetof(ngx_http_certctl_metrics_t, left_out) },
    { NULL, NULL, NULL, 0 }
};

static const ngx_http_certctl_family_t  ngx_http_certctl_cert_families[] = {
    { "certctl_certificate_not_after_seconds", "gauge",
      "Expiry of the certificate, in Unix time.",
      offsetof(ngx_http_certctl_metric_t, not_after) },
    { "certctl_certificate_handshakes_total", "counter",
      "TLS handshakes with the certificate.",
      offsetof(ngx_http_certctl_metric_t, handshakes) },
    { "certctl_certificate_staple", "gauge",
      "1 for the current state of the certificate's staple.",
      offsetof(ngx_http_certctl_metric_t, in_state) },
    { "certctl_certificate_staple_age_seconds", "gauge",
      "Seconds since thisUpdate of the certificate's staple.",
      offsetof(ngx_http_certctl_metric_t, staple_age) },
    { "certctl_certificate_staple_next_update_seconds", "gauge",
      "nextUpdate of the certificate's staple, in Unix time.",
      offsetof(ngx_http_certctl_metric_t, next_update) },
    { NULL, NULL, NULL, 0 }
};


#define ngx_http_certctl_member(type, base, offset)                           \
    (*(type *) ((u_char *) (base) + (offset)))


static void
ngx_http_certctl_metrics_add(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry)
{
    time_t                       last;
    uint64_t                     handshakes;
    ngx_certctl_cert_t          *cert;
    ngx_http_certctl_metric_t   *metric;
    ngx_http_certctl_metrics_t  *metrics;

    metrics = (ngx_http_certctl_metrics_t *) report;
    cert = entry->cert;

    metric = ngx_array_push(&metrics->metrics);

    if (metric == NULL
        || (metric->name.data = ngx_pstrdup(report->pool, &cert->name))
           == NULL)
    {
        report->failed = 1;
        return;
    }

    ngx_certctl_zone_used(report->conf->zone, cert->digest, &handshakes,
                          &last);

    metric->name.len = cert->name.len;
    metric->source = cert->source;
    metric->kind = cert->kind;
    metric->staple = ngx_http_certctl_report_staple(report, cert);
    ngx_memcpy(metric->digest, cert->digest, sizeof(metric->digest));

    metric->in_state = 1;
    metric->not_after = cert->not_after;
    metric->handshakes = handshakes;
    metric->staple_age = cert->staple_info.this_update
                         && !cert->staple_withdrawn
                         ? report->now - cert->staple_info.this_update
                         : NGX_HTTP_CERTCTL_NO_VALUE;
    metric->next_update = cert->staple_info.next_update
                          ? cert->staple_info.next_update
                          : NGX_HTTP_CERTCTL_NO_VALUE;
}


static int
ngx_http_certctl_metrics_record(const char *name, void *data)
{
    ngx_http_certctl_metrics_t *metrics = data;

    metrics->records++;

    return 0;
}


/* Certificates with the same labels have the same series. */

static int
ngx_http_certctl_metrics_labels_compare(const ngx_http_certctl_metric_t *a,
    const ngx_http_certctl_metric_t *b)
{
    if (a->source != b->source) {
        return a->source < b->source ? -1 : 1;
    }

    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }

    return ngx_memn2cmp(a->name.data, b->name.data, a->name.len, b->name.len);
}


static int ngx_libc_cdecl
ngx_http_certctl_metrics_by_labels(const void *one, const void *two)
{
    int                               rc;
    const ngx_http_certctl_metric_t  *a, *b;

    a = one;
    b = two;
    rc = ngx_http_certctl_metrics_labels_compare(a, b);

    return rc ? rc : ngx_memcmp(a->digest, b->digest, sizeof(a->digest));
}


static int ngx_libc_cdecl
ngx_http_certctl_metrics_by_expiry(const void *one, const void *two)
{
    const ngx_http_certctl_metric_t  *a, *b;

    a = one;
    b = two;

    if (a->not_after != b->not_after) {
        return a->not_after < b->not_after ? -1 : 1;
    }

    return ngx_http_certctl_metrics_by_labels(one, two);
}


/*
 * A certificate that several servers serve counts once; of several with the
 * same labels the first to expire is reported.
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
              ngx_http_certctl_metrics_by_labels);

    for (n = 0, i = 0; i < array->nelts; i++) {

        last = n ? &metric[n - 1] : NULL;

        if (last == NULL
            || ngx_http_certctl_metrics_labels_compare(last, &metric[i]) != 0)
        {
            metric[n++] = metric[i];

        } else if (ngx_memcmp(metric[i].digest, metric[i - 1].digest, 32)
                   != 0)
        {
            last->handshakes += metric[i].handshakes;
            last->not_after = ngx_min(last->not_after, metric[i].not_after);
        }
    }

    ngx_qsort(metric, n, sizeof(ngx_http_certctl_metric_t),
              ngx_http_certctl_metrics_by_expiry);

    array->nelts = ngx_min(n, NGX_HTTP_CERTCTL_METRICS_MAX);
    metrics->left_out = n - array->nelts;
}


/* Of at most 512 bytes. */

static void
ngx_http_certctl_metrics_print(ngx_http_certctl_json_t *out, const char *fmt,
    ...)
{
    u_char   text[512], *last;
    va_list  args;

    va_start(args, fmt);
    last = ngx_vslprintf(text, text + sizeof(text), fmt, args);
    va_end(args);

    ngx_http_certctl_json_raw(out, text, last - text);
}


static void
ngx_http_certctl_metrics_family(ngx_http_certctl_json_t *out,
    const ngx_http_certctl_family_t *family)
{
    ngx_http_certctl_metrics_print(out, "# HELP %s %s\n# TYPE %s %s\n",
                                   family->name, family->help, family->name,
                                   family->type);
}


/* In a label's value, which is UTF-8, backslash, quote and line feed are
   escaped. */

static void
ngx_http_certctl_metrics_label(ngx_http_certctl_json_t *out,
    const ngx_str_t *value)
{
    size_t   n;
    u_char  *p, *last;

    last = value->data + value->len;

    for (p = value->data; p < last; p += ngx_max(n, 1)) {

        n = ngx_http_certctl_json_utf8(p, last - p);

        if (n == 0) {
            ngx_http_certctl_metrics_print(out, NGX_HTTP_CERTCTL_NO_UTF8);

        } else if (*p == '\n') {
            ngx_http_certctl_metrics_print(out, "\\n");

        } else {
            if (*p == '"' || *p == '\\') {
                ngx_http_certctl_metrics_print(out, "\\");
            }

            ngx_http_certctl_json_raw(out, p, n);
        }
    }
}


static void
ngx_http_certctl_metrics_certs(ngx_http_certctl_metrics_t *metrics,
    const ngx_http_certctl_family_t *family)
{
    int64_t                     value;
    ngx_uint_t                  i;
    ngx_http_certctl_json_t    *out;
    ngx_http_certctl_metric_t  *metric;

    out = metrics->report.json;
    metric = metrics->metrics.elts;

    for (i = 0; i < metrics->metrics.nelts; i++) {

        value = ngx_http_certctl_member(int64_t, &metric[i], family->offset);

        if (value == NGX_HTTP_CERTCTL_NO_VALUE) {
            continue;
        }

        ngx_http_certctl_metrics_print(out, "%s{certificate=\"", family->name);
        ngx_http_certctl_metrics_label(out, &metric[i].name);
        ngx_http_certctl_metrics_print(out, "\",source=\"%s\",kind=\"%s\"",
                              ngx_certctl_source_text[metric[i].source],
                              metric[i].kind == CERTCTL_KIND_RSA ? "rsa"
                                                                 : "ecdsa");

        if (family->offset == offsetof(ngx_http_certctl_metric_t, in_state)) {
            ngx_http_certctl_metrics_print(out, ",state=\"%s\"",
                              ngx_certctl_staple_text[metric[i].staple]);
        }

        ngx_http_certctl_metrics_print(out, "} %L\n", value);
    }
}


static void
ngx_http_certctl_metrics_write(ngx_http_certctl_metrics_t *metrics)
{
    ngx_int_t                         i;
    ngx_certctl_zone_t               *zone;
    ngx_http_certctl_json_t          *out;
    const ngx_http_certctl_family_t  *family;

    out = metrics->report.json;
    zone = metrics->report.conf->zone;

    for (family = ngx_http_certctl_zone_families; family->name; family++) {
        ngx_http_certctl_metrics_family(out, family);
        ngx_http_certctl_metrics_print(out, "%s %uA\n", family->name,
            ngx_http_certctl_member(ngx_atomic_t, zone, family->offset));
    }

    for (family = ngx_http_certctl_worker_families; family->name; family++) {
        ngx_http_certctl_metrics_family(out, family);

        for (i = 0; i < ngx_min(metrics->workers, NGX_CERTCTL_WORKERS); i++) {
            ngx_http_certctl_metrics_print(out, "%s{worker=\"%i\"} %uA\n",
                family->name, i,
                ngx_http_certctl_member(ngx_atomic_t, &zone->workers[i],
                                        family->offset));
        }
    }

    for (family = ngx_http_certctl_host_families; family->name; family++) {
        ngx_http_certctl_metrics_family(out, family);
        ngx_http_certctl_metrics_print(out, "%s %L\n", family->name,
            ngx_http_certctl_member(int64_t, metrics, family->offset));
    }

    for (family = ngx_http_certctl_cert_families; family->name; family++) {
        ngx_http_certctl_metrics_family(out, family);
        ngx_http_certctl_metrics_certs(metrics, family);
    }
}


/* What is known of the host itself. */

static void
ngx_http_certctl_metrics_host(ngx_http_certctl_metrics_t *metrics)
{
    ngx_int_t        i;
    ngx_certctl_t   *certctl;

    certctl = metrics->report.conf;

    metrics->workers = ngx_http_certctl_report_workers(certctl);

    for (i = 0; i < ngx_min(metrics->workers, NGX_CERTCTL_WORKERS); i++) {
        metrics->workers_at += ngx_certctl_worker_at(&certctl->zone->workers[i],
                                                    certctl->zone->generation);
    }

    if (certctl->store) {
        (void) certctl_store_each(certctl->store,
                                  ngx_http_certctl_metrics_record, metrics);
        metrics->bytes = certctl_store_bytes(certctl->store);
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
                                     ngx_http_certctl_metrics_add, 0)
        == NGX_OK
        && ngx_array_init(&metrics.metrics, report->pool, 64,
                          sizeof(ngx_http_certctl_metric_t))
           == NGX_OK)
    {
        ngx_http_certctl_report_servers(report);
        ngx_http_certctl_report_records(report);
        ngx_http_certctl_metrics_merge(&metrics);
        ngx_http_certctl_metrics_host(&metrics);
        ngx_http_certctl_metrics_write(&metrics);

        call->media = "text/plain; version=0.0.4; charset=utf-8";
        call->status = NGX_HTTP_OK;

    } else {
        report->failed = 1;
    }

    call->json.failed |= report->failed;

    ngx_http_certctl_report_close(report);
}
