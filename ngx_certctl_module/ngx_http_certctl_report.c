
/*
 * GET certificates: what each server would give each of its names now, decided
 * by the very code that decides in a handshake, on a thread with copies of its
 * own of all that a handshake changes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_certctl_agent.h"
#include "ngx_http_certctl_report.h"
#include "ngx_http_certctl_cache.h"
#include "ngx_http_certctl_cert.h"


/* Parsed records that a report keeps at once. */
#define NGX_HTTP_CERTCTL_REPORT_CACHE  64


static ngx_int_t ngx_http_certctl_report_open(
    ngx_http_certctl_report_t *report);
static void ngx_http_certctl_report_server(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server);
static ngx_int_t ngx_http_certctl_report_asked(
    ngx_http_certctl_report_t *report, ngx_http_certctl_server_t *server,
    ngx_array_t *asked);
static ngx_str_t *ngx_http_certctl_report_ask(
    ngx_http_certctl_report_t *report, ngx_array_t *asked, const char *prefix,
    ngx_str_t *name);
static void ngx_http_certctl_report_choices(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server, ngx_array_t *asked);
static void ngx_http_certctl_report_seen(ngx_http_certctl_report_t *report,
    ngx_http_certctl_cert_t *cert);
static void ngx_http_certctl_report_unserved(
    ngx_http_certctl_report_t *report);
static int ngx_http_certctl_report_record(const char *name, void *data);
static int ngx_libc_cdecl ngx_http_certctl_report_compare(const void *one,
    const void *two);


/* The generation before the walk: what changes meanwhile is asked for again. */

void
ngx_http_certctl_report_etag(ngx_http_certctl_call_t *call)
{
    size_t               len;
    ngx_str_t           *value;
    ngx_table_elt_t     *h;
    ngx_certctl_zone_t  *zone;

    zone = call->mcf->zone;

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


void
ngx_http_certctl_report_certificates(ngx_http_certctl_call_t *call)
{
    ngx_uint_t                  i;
    ngx_http_certctl_server_t  *server;
    ngx_http_certctl_report_t   report;

    ngx_memzero(&report, sizeof(ngx_http_certctl_report_t));

    report.json = &call->json;
    report.mcf = *call->mcf;
    report.now = time(NULL);

    if (ngx_http_certctl_report_open(&report) != NGX_OK) {
        call->json.failed = 1;
        goto done;
    }

    ngx_http_certctl_json_open(report.json, NULL, '{');
    ngx_http_certctl_json_open(report.json, "certificates", '[');

    server = call->mcf->servers.elts;

    for (i = 0; i < call->mcf->servers.nelts; i++) {
        ngx_http_certctl_report_server(&report, &server[i]);
    }

    ngx_http_certctl_json_close(report.json, ']');
    ngx_http_certctl_json_open(report.json, "unserved", '[');

    ngx_http_certctl_report_unserved(&report);

    ngx_http_certctl_json_close(report.json, ']');
    ngx_http_certctl_json_open(report.json, "variable", '[');

    for (i = 0; i < call->mcf->servers.nelts; i++) {
        if (server[i].expressions) {
            ngx_http_certctl_report_variable(&report, &server[i]);
        }
    }

    ngx_http_certctl_json_close(report.json, ']');
    ngx_http_certctl_json_close(report.json, '}');

    call->status = NGX_HTTP_OK;
    call->json.failed |= report.failed;

done:

    ngx_http_certctl_cache_destroy(report.mcf.cache);

    if (report.pool) {
        ngx_destroy_pool(report.pool);
    }
}


static ngx_int_t
ngx_http_certctl_report_open(ngx_http_certctl_report_t *report)
{
    ngx_conf_t  cf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    report->mcf.cache = NULL;

    report->pool = ngx_create_pool(4096, ngx_cycle->log);
    if (report->pool == NULL) {
        return NGX_ERROR;
    }

    cf.pool = report->pool;
    cf.log = ngx_cycle->log;

    report->mcf.cache_max = NGX_HTTP_CERTCTL_REPORT_CACHE;
    report->mcf.cache = ngx_http_certctl_cache_create(&cf, &report->mcf);

    if (report->mcf.cache == NULL
        || ngx_array_init(&report->seen, report->pool, 64, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_certctl_report_server(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server)
{
    size_t                      size;
    ngx_uint_t                  i;
    ngx_array_t                 asked;
    ngx_http_certctl_cert_t    *cert;
    ngx_http_certctl_server_t   copy;

    copy = *server;
    copy.mcf = &report->mcf;

    size = server->certs.nelts * sizeof(ngx_http_certctl_cert_t);
    cert = ngx_alloc(size + 1, ngx_cycle->log);

    if (cert == NULL
        || ngx_http_certctl_report_asked(report, server, &asked) != NGX_OK)
    {
        report->failed = 1;
        ngx_free(cert);
        return;
    }

    /* the event loop may be just reading their staples: read our own */

    ngx_memcpy(cert, server->certs.elts, size);
    copy.certs.elts = cert;

    for (i = 0; i < copy.certs.nelts; i++) {
        ngx_str_null(&cert[i].staple);
        cert[i].staple_good = 0;
        cert[i].staple_read = 0;
    }

    ngx_http_certctl_report_choices(report, &copy, &asked);

    for (i = 0; i < copy.certs.nelts; i++) {
        ngx_http_certctl_cert_unstaple(&cert[i]);
    }

    ngx_free(cert);
    ngx_array_destroy(&asked);
}


/* The names a client could ask this server for; "" for one without SNI. */

static ngx_int_t
ngx_http_certctl_report_asked(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server, ngx_array_t *asked)
{
    ngx_str_t   *name, none;
    ngx_uint_t   i;

    if (ngx_array_init(asked, report->pool, server->names.nelts + 1,
                       sizeof(ngx_http_certctl_asked_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&none, "");
    name = server->names.elts;

    if (server->names.nelts == 0 || server->agent) {
        return ngx_http_certctl_report_ask(report, asked, "", &none)
               ? NGX_OK : NGX_ERROR;
    }

    for (i = 0; i < server->names.nelts; i++) {

        /* ".example.com" is two names: the domain and its wildcard */

        if (name[i].data[0] == '.') {
            none.data = name[i].data + 1;
            none.len = name[i].len - 1;

            if (ngx_http_certctl_report_ask(report, asked, "", &none) == NULL
                || ngx_http_certctl_report_ask(report, asked, "*", &name[i])
                   == NULL)
            {
                return NGX_ERROR;
            }

        } else if (ngx_http_certctl_report_ask(report, asked, "", &name[i])
                   == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_str_t *
ngx_http_certctl_report_ask(ngx_http_certctl_report_t *report,
    ngx_array_t *asked, const char *prefix, ngx_str_t *name)
{
    ngx_http_certctl_asked_t  *ask;

    ask = ngx_array_push(asked);
    if (ask == NULL) {
        return NULL;
    }

    ngx_memzero(ask, sizeof(ngx_http_certctl_asked_t));

    ask->name = *name;

    if (prefix[0]) {
        ask->name.data = ngx_pnalloc(report->pool, name->len + 1);
        if (ask->name.data == NULL) {
            return NULL;
        }

        ask->name.len = ngx_sprintf(ask->name.data, "%s%V", prefix, name)
                        - ask->name.data;
    }

    return &ask->name;
}


/*
 * Twice over the names, because a parsed record is borrowed for a moment only:
 * first which certificate each gets, then each certificate with its names.
 */

static void
ngx_http_certctl_report_choices(ngx_http_certctl_report_t *report,
    ngx_http_certctl_server_t *server, ngx_array_t *asked)
{
    ngx_uint_t                  i, j, kind;
    ngx_http_certctl_cert_t    *cert;
    ngx_http_certctl_asked_t   *ask;
    ngx_http_certctl_choice_t   choice;

    ask = asked->elts;

    for (i = 0; i < asked->nelts; i++) {
        (void) ngx_http_certctl_choose(server, &ask[i].name, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {
            cert = choice.cert[kind];

            if (cert) {
                ask[i].given[kind] = 1;
                ngx_memcpy(ask[i].digest[kind], cert->digest, 32);
            }
        }
    }

    for (i = 0; i < asked->nelts; i++) {

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            for (j = 0; j < i && ask[i].given[kind]; j++) {
                if (ngx_http_certctl_report_same(&ask[j], &ask[i], kind)) {
                    break;
                }
            }

            if (j < i || !ask[i].given[kind]) {
                continue;
            }

            (void) ngx_http_certctl_choose(server, &ask[i].name, &choice);
            cert = choice.cert[kind];

            if (cert == NULL) {
                continue;
            }

            ngx_http_certctl_report_seen(report, cert);
            ngx_http_certctl_report_entry(report, server, cert, choice.why,
                                          asked, i);
        }
    }
}


static void
ngx_http_certctl_report_seen(ngx_http_certctl_report_t *report,
    ngx_http_certctl_cert_t *cert)
{
    ngx_str_t  *name;

    if (cert->source != NGX_HTTP_CERTCTL_STORE) {
        return;
    }

    name = ngx_array_push(&report->seen);

    if (name == NULL) {
        report->failed = 1;
        return;
    }

    name->len = cert->name.len;
    name->data = ngx_pnalloc(report->pool, name->len + 1);

    if (name->data == NULL) {
        report->seen.nelts--;
        report->failed = 1;
        return;
    }

    ngx_cpystrn(name->data, cert->name.data, name->len + 1);
}


/* What lies in the store for no server yet. */

static void
ngx_http_certctl_report_unserved(ngx_http_certctl_report_t *report)
{
    if (report->mcf.store == NULL) {
        return;
    }

    ngx_qsort(report->seen.elts, report->seen.nelts, sizeof(ngx_str_t),
              ngx_http_certctl_report_compare);

    (void) certctl_store_each(report->mcf.store,
                              ngx_http_certctl_report_record, report);
}


static int
ngx_http_certctl_report_record(const char *text, void *data)
{
    ngx_http_certctl_report_t *report = data;

    ngx_str_t                 name;
    ngx_http_certctl_cert_t  *cert;

    name.data = (u_char *) text;
    name.len = ngx_strlen(text);

    if (bsearch(&name, report->seen.elts, report->seen.nelts,
                sizeof(ngx_str_t), ngx_http_certctl_report_compare))
    {
        return 0;
    }

    cert = ngx_http_certctl_record(&report->mcf, &name);

    if (cert) {
        ngx_http_certctl_report_entry(report, NULL, cert,
                                      "no server here gives it to anybody",
                                      NULL, 0);
    }

    return report->json->failed;
}


static int ngx_libc_cdecl
ngx_http_certctl_report_compare(const void *one, const void *two)
{
    return ngx_strcmp(((const ngx_str_t *) one)->data,
                      ((const ngx_str_t *) two)->data);
}
