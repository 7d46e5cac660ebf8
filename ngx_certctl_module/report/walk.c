
/*
 * The walk over all certificates: what each server would serve for each of its
 * names now, chosen by the code that chooses in a handshake, on a thread with
 * copies of its own of all that a handshake changes; then the other records.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
#include "tls/choose.h"


/* A server during the walk. */

typedef struct {
    ngx_http_certctl_report_t  *report;
    ngx_certctl_server_t        server;     /* a copy */
    ngx_uint_t                  number;     /* among all servers */
    ngx_array_t                 hosts;      /* ngx_http_certctl_host_t */
    ngx_uint_t                  asked;      /* clients of ?name= get it */
} ngx_http_certctl_visit_t;


/* The event loop may be reading the staples of the server's own certificates:
   copies read theirs anew. */

static ngx_int_t
ngx_http_certctl_visit_copy(ngx_http_certctl_visit_t *visit,
    ngx_certctl_server_t *server, ngx_pool_t *pool)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    visit->server = *server;

    cert = ngx_palloc(pool,
                      server->certs.nelts * sizeof(ngx_certctl_cert_t) + 1);

    if (cert == NULL) {
        visit->server.certs.nelts = 0;
        return NGX_ERROR;
    }

    ngx_memcpy(cert, server->certs.elts,
               server->certs.nelts * sizeof(ngx_certctl_cert_t));

    for (i = 0; i < server->certs.nelts; i++) {
        ngx_str_null(&cert[i].staple);
        cert[i].staple_good = 0;
        cert[i].staple_withdrawn = 0;
        cert[i].staple_bad = 0;
        cert[i].staple_read = 0;
    }

    visit->server.certs.elts = cert;

    return NGX_OK;
}


/* The name that is asked for by ?name= may be none of the server's own. */

static ngx_int_t
ngx_http_certctl_visit_asked(ngx_http_certctl_visit_t *visit,
    ngx_certctl_server_t *server)
{
    ngx_uint_t                  i;
    ngx_certctl_server_t      **asked;
    ngx_http_certctl_report_t  *report;

    report = visit->report;
    asked = report->servers.elts;

    for (i = 0; i < report->servers.nelts; i++) {

        if (asked[i] == server) {
            visit->asked = 1;
            return ngx_http_certctl_report_add_host(&visit->hosts,
                                                    &report->sni);
        }
    }

    return NGX_OK;
}


/*
 * Twice over the names, because a parsed record is borrowed for a moment only:
 * first which certificate each gets, then each certificate with its names.
 */

static ngx_int_t
ngx_http_certctl_visit_choose(ngx_http_certctl_visit_t *visit)
{
    ngx_uint_t                i, kind;
    ngx_certctl_cert_t       *cert;
    ngx_certctl_choice_t      choice;
    ngx_http_certctl_host_t  *host;

    host = visit->hosts.elts;
    visit->server.certctl = &visit->report->brief;

    for (i = 0; i < visit->hosts.nelts; i++) {

        ngx_certctl_choose(&visit->server, &host[i].name, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {
            cert = choice.cert[kind];

            if (cert) {
                host[i].served[kind] = 1;
                ngx_memcpy(host[i].digest[kind], cert->digest, 32);
            }
        }
    }

    return ngx_http_certctl_report_group(&visit->hosts);
}


/* The certificate of a group of names, if it belongs to the page. */

static void
ngx_http_certctl_visit_certificate(ngx_http_certctl_visit_t *visit,
    ngx_uint_t index, certctl_kind_e kind)
{
    ngx_uint_t                  place;
    ngx_certctl_cert_t         *cert;
    ngx_certctl_choice_t        choice;
    ngx_http_certctl_host_t    *host;
    ngx_http_certctl_report_t  *report;

    report = visit->report;
    host = visit->hosts.elts;
    place = ((visit->number + 1) << 24) + (index << 1) + kind;

    visit->server.certctl = &report->brief;

    ngx_certctl_choose(&visit->server, &host[index].name, &choice);
    cert = choice.cert[kind];

    if (cert == NULL) {
        return;
    }

    if (cert->source == NGX_CERTCTL_STORE) {
        ngx_http_certctl_report_add_name(report, &report->seen,
                                         cert->name.data, cert->name.len);
    }

    if (place <= report->after
        || !ngx_http_certctl_report_wanted(report, cert,
                                           visit->asked ? &visit->hosts : NULL,
                                           index)
        || !ngx_http_certctl_report_next(report))
    {
        return;
    }

    if (report->limit && cert->source == NGX_CERTCTL_STORE
        && !visit->server.agent)
    {
        ngx_http_certctl_report_check_ip(report,
                                         (ngx_certctl_stored_t *) cert);
    }

    if (report->details && cert->source == NGX_CERTCTL_STORE) {
        visit->server.certctl = &report->full;

        ngx_certctl_choose(&visit->server, &host[index].name, &choice);
        cert = choice.cert[kind];

        if (cert == NULL) {
            return;
        }
    }

    *ngx_sprintf((u_char *) report->cursor, "s%xi", place) = '\0';

    report->found(report, &visit->server, cert,
                  ngx_certctl_choose_why(&choice, kind), &visit->hosts, index);
}


static void
ngx_http_certctl_visit_server(ngx_http_certctl_visit_t *visit,
    ngx_certctl_server_t *server, ngx_pool_t *pool)
{
    ngx_uint_t                  i, kind;
    ngx_certctl_cert_t         *cert;
    ngx_http_certctl_host_t    *host;
    ngx_http_certctl_report_t  *report;

    report = visit->report;

    if (ngx_http_certctl_visit_copy(visit, server, pool) != NGX_OK
        || ngx_http_certctl_report_hosts(&visit->server, &visit->hosts, pool)
           != NGX_OK
        || ngx_http_certctl_visit_asked(visit, server) != NGX_OK
        || ngx_http_certctl_visit_choose(visit) != NGX_OK)
    {
        report->failed = 1;
    }

    host = visit->hosts.elts;

    for (i = 0; i < visit->hosts.nelts && !report->failed; i++) {

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (host[i].served[kind] && !host[i].grouped[kind]) {
                ngx_http_certctl_visit_certificate(visit, i, kind);
            }
        }
    }

    cert = visit->server.certs.elts;

    for (i = 0; i < visit->server.certs.nelts; i++) {
        ngx_certctl_cert_unstaple(&cert[i]);
    }
}


void
ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report)
{
    ngx_uint_t                 i;
    ngx_pool_t                *pool;
    ngx_certctl_server_t     **server;
    ngx_http_certctl_visit_t   visit;

    server = report->conf->servers.elts;

    for (i = 0;
         i < report->conf->servers.nelts && !report->more && !report->failed;
         i++)
    {
        pool = ngx_create_pool(4096, ngx_cycle->log);

        if (pool == NULL) {
            report->failed = 1;
            return;
        }

        ngx_memzero(&visit, sizeof(ngx_http_certctl_visit_t));
        visit.report = report;
        visit.number = i;

        ngx_http_certctl_visit_server(&visit, server[i], pool);

        ngx_destroy_pool(pool);
    }
}


static int
ngx_http_certctl_report_stored(const char *text, void *data)
{
    ngx_http_certctl_report_t *report = data;

    ngx_http_certctl_report_add_name(report, &report->records,
                                     (const u_char *) text, ngx_strlen(text));

    return report->failed;
}


static int ngx_libc_cdecl
ngx_http_certctl_report_compare(const void *one, const void *two)
{
    return ngx_strcmp(((const ngx_str_t *) one)->data,
                      ((const ngx_str_t *) two)->data);
}


/* Each once; neither what a server serves nor what an earlier page had. */

static void
ngx_http_certctl_report_left(ngx_http_certctl_report_t *report)
{
    ngx_str_t   *name, *seen;
    ngx_uint_t   i, n, s;

    name = report->records.elts;
    seen = report->seen.elts;

    for (i = 0, n = 0, s = 0; i < report->records.nelts; i++) {

        while (s < report->seen.nelts
               && ngx_strcmp(seen[s].data, name[i].data) < 0)
        {
            s++;
        }

        if ((s == report->seen.nelts
             || ngx_strcmp(seen[s].data, name[i].data) != 0)
            && (n == 0 || ngx_strcmp(name[n - 1].data, name[i].data) != 0)
            && (report->after_name == NULL
                || ngx_strcmp(name[i].data, report->after_name) > 0))
        {
            name[n++] = name[i];
        }
    }

    report->records.nelts = n;
}


/* The store's folders are in no order: all names first, then sorted. */

static void
ngx_http_certctl_report_list(ngx_http_certctl_report_t *report)
{
    ngx_array_t  *names;

    names = &report->records;

    /* by ?name= it can be only the records that were found, or its own name */

    if (report->name.len) {
        ngx_http_certctl_report_add_name(report, names, report->name.data,
                                         report->name.len);

    } else if (certctl_store_each(report->conf->store,
                                  ngx_http_certctl_report_stored, report)
               != CERTCTL_STORE_OK)
    {
        report->failed = 1;
    }

    ngx_qsort(report->seen.elts, report->seen.nelts, sizeof(ngx_str_t),
              ngx_http_certctl_report_compare);
    ngx_qsort(names->elts, names->nelts, sizeof(ngx_str_t),
              ngx_http_certctl_report_compare);

    ngx_http_certctl_report_left(report);
}


/* A record that no server_name asks for; of which stored is known. */

static void
ngx_http_certctl_report_stored_record(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored, ngx_pool_t *pool)
{
    ngx_array_t               hosts;
    ngx_certctl_cert_t       *cert;
    ngx_certctl_server_t     *server;
    ngx_http_certctl_json_t  *json;

    if (ngx_array_init(&hosts, pool, 1, sizeof(ngx_http_certctl_host_t))
        != NGX_OK)
    {
        report->failed = 1;
        return;
    }

    /* metrics, which have no pages, do not tell servers apart */

    server = report->limit
             ? ngx_http_certctl_report_served(report, stored,
                                              report->details ? &hosts : NULL)
             : NULL;

    cert = &stored->cert;

    /* by ?name= it would have been found, had its clients been given it */

    if ((server && report->name.len
         && ngx_strcmp(cert->name.data, report->name.data) != 0)
        || !ngx_http_certctl_report_next(report))
    {
        return;
    }

    if (server) {
        ngx_http_certctl_report_check_ip(report, stored);
    }

    if (report->details) {
        cert = ngx_certctl_record(&report->full, &stored->cert.name);

        if (cert == NULL) {
            return;
        }
    }

    *ngx_snprintf((u_char *) report->cursor, sizeof(report->cursor) - 1,
                  "u%V", &cert->name) = '\0';

    json = report->json;
    report->json = server ? json : &report->unserved;

    report->found(report, server, cert,
                  server ? "stored for a name that this server block serves"
                         : "no server block uses this record",
                  &hosts, 0);

    report->json = json;
}


static void
ngx_http_certctl_report_record(ngx_http_certctl_report_t *report,
    ngx_str_t *name, ngx_pool_t *pool)
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
    ngx_http_certctl_report_stored_record(report, stored, pool);
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

    ngx_http_certctl_report_list(report);

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
        ngx_http_certctl_report_record(report, &name[i], pool);
        ngx_reset_pool(pool);
    }

    ngx_destroy_pool(pool);
}
