
/*
 * The walk over all certificates: what each server would give each of its
 * names now, decided by the very code that decides in a handshake, on a thread
 * with copies of its own of all that a handshake changes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
#include "cert/cert.h"
#include "tls/choose.h"


/* Fully parsed records that a report keeps at once. */
#define NGX_HTTP_CERTCTL_REPORT_CACHE  64


/*
 * The worker's facts outlive a report, and are for one thread at a time: who
 * comes second begins with none.  A client that reads slowly holds none.
 */

ngx_int_t
ngx_http_certctl_report_borrow(ngx_http_certctl_report_t *report)
{
    ngx_conf_t  cf;

    if (report->facts.cache) {
        return NGX_OK;                      /* it was not given back */
    }

    if (ngx_atomic_cmp_set(&report->conf->facts_busy, 0, 1)) {
        report->facts.cache = report->conf->facts;
        report->borrowed = 1;

        return NGX_OK;
    }

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.pool = report->pool;
    cf.log = ngx_cycle->log;

    report->facts.cache = ngx_certctl_cache_facts(&cf, report->conf);

    return report->facts.cache ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_found_pt found,
    ngx_uint_t details)
{
    ngx_conf_t  cf;

    ngx_memzero(report, sizeof(ngx_http_certctl_report_t));
    ngx_memzero(&cf, sizeof(ngx_conf_t));

    report->json = &call->json;
    report->conf = &call->mcf->certctl;
    report->full = call->mcf->certctl;
    report->full.cache = NULL;
    report->facts = call->mcf->certctl;
    report->facts.cache = NULL;
    report->found = found;
    report->details = details;
    report->now = time(NULL);

    report->pool = ngx_create_pool(16384, ngx_cycle->log);

    if (report->pool == NULL
        || ngx_array_init(&report->seen, report->pool, 64, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&report->records, report->pool, 4, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&report->warnings, report->pool, 4,
                          sizeof(ngx_http_certctl_warned_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    cf.pool = report->pool;
    cf.log = ngx_cycle->log;

    report->full.cache_max = NGX_HTTP_CERTCTL_REPORT_CACHE;
    report->full.cache = ngx_certctl_cache_create(&cf, &report->full);

    if (report->full.cache == NULL
        || ngx_http_certctl_report_borrow(report) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_certctl_report_page(report, call);
}


void
ngx_http_certctl_report_return(ngx_http_certctl_report_t *report)
{
    if (report->borrowed) {
        report->borrowed = 0;
        ngx_memory_barrier();
        report->conf->facts_busy = 0;

    } else {
        ngx_certctl_cache_destroy(report->facts.cache);
    }

    report->facts.cache = NULL;
}


static void
ngx_http_certctl_report_leave(ngx_http_certctl_report_t *report)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    if (report->inside == NULL) {
        return;
    }

    cert = report->server.certs.elts;

    for (i = 0; i < report->server.certs.nelts; i++) {
        ngx_certctl_cert_unstaple(&cert[i]);
    }

    ngx_destroy_pool(report->inside);
    report->inside = NULL;
}


void
ngx_http_certctl_report_close(ngx_http_certctl_report_t *report)
{
    ngx_http_certctl_report_alone(report);
    ngx_http_certctl_report_leave(report);
    ngx_http_certctl_report_return(report);
    ngx_certctl_cache_destroy(report->full.cache);

    if (report->pool) {
        ngx_destroy_pool(report->pool);
    }
}


/* Enough is written for now: what was found so far goes first. */

static ngx_uint_t
ngx_http_certctl_report_paused(ngx_http_certctl_report_t *report)
{
    return report->piece && report->json->size >= report->piece;
}


static void
ngx_http_certctl_report_enter(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    report->inside = ngx_create_pool(4096, ngx_cycle->log);

    if (report->inside == NULL) {
        report->failed = 1;
        return;
    }

    report->server = *server;
    report->asked.nelts = 0;
    report->chosen = 0;
    report->chained = 0;
    report->ahead_end = 0;
    report->at = 0;

    cert = ngx_palloc(report->inside,
                      server->certs.nelts * sizeof(ngx_certctl_cert_t) + 1);

    /* the event loop may be just reading their staples: read our own */

    if (cert) {
        ngx_memcpy(cert, server->certs.elts,
                   server->certs.nelts * sizeof(ngx_certctl_cert_t));

        for (i = 0; i < server->certs.nelts; i++) {
            ngx_str_null(&cert[i].staple);
            cert[i].staple_good = 0;
            cert[i].staple_withdrawn = 0;
            cert[i].staple_bad = 0;
            cert[i].staple_read = 0;
        }

    } else {
        report->server.certs.nelts = 0;
        report->failed = 1;
    }

    report->server.certs.elts = cert;

    if (report->failed
        || ngx_http_certctl_report_asked(report, &report->server,
                                         &report->asked)
           != NGX_OK)
    {
        report->failed = 1;
    }
}


/*
 * Twice over the names, because a parsed record is borrowed for a moment only:
 * first which certificate each gets, then each certificate with its names.
 */

static ngx_int_t
ngx_http_certctl_report_choices(ngx_http_certctl_report_t *report)
{
    ngx_uint_t                 kind;
    ngx_certctl_cert_t        *cert;
    ngx_certctl_choice_t       choice;
    ngx_http_certctl_asked_t  *ask;

    report->server.certctl = &report->facts;

    while (!report->failed && report->chosen < report->asked.nelts) {

        if (ngx_http_certctl_report_ahead(report, report->chosen,
                                          report->asked.nelts))
        {
            return NGX_AGAIN;
        }

        ask = report->asked.elts;
        ask += report->chosen++;

        (void) ngx_certctl_choose(&report->server, &ask->name, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {
            cert = choice.cert[kind];

            if (cert) {
                ask->given[kind] = 1;
                ngx_memcpy(ask->digest[kind], cert->digest, 32);
            }
        }
    }

    ngx_http_certctl_report_alone(report);

    if (!report->failed
        && ngx_http_certctl_report_chain(&report->asked) != NGX_OK)
    {
        report->failed = 1;
    }

    report->chained = 1;

    return NGX_OK;
}


static void
ngx_http_certctl_report_choice(ngx_http_certctl_report_t *report,
    ngx_uint_t index, certctl_kind_e kind)
{
    ngx_uint_t                 place;
    ngx_certctl_cert_t        *cert;
    ngx_certctl_choice_t       choice;
    ngx_certctl_server_t      *server;
    ngx_http_certctl_asked_t  *ask;

    ask = report->asked.elts;
    server = &report->server;
    server->certctl = &report->facts;
    place = ((report->place + 1) << 24) + (index << 1) + kind;

    (void) ngx_certctl_choose(server, &ask[index].name, &choice);
    cert = choice.cert[kind];

    if (cert == NULL) {
        return;
    }

    if (cert->source == NGX_CERTCTL_STORE) {
        ngx_http_certctl_report_keep(report, &report->seen, cert->name.data,
                                     cert->name.len);
    }

    if (place <= report->after
        || !ngx_http_certctl_report_named(report, cert, &report->asked, index)
        || !ngx_http_certctl_report_room(report))
    {
        return;
    }

    if (report->details && cert->source == NGX_CERTCTL_STORE) {
        server->certctl = &report->full;

        (void) ngx_certctl_choose(server, &ask[index].name, &choice);
        cert = choice.cert[kind];

        if (cert == NULL) {
            return;
        }
    }

    *ngx_sprintf((u_char *) report->next, "s%xi", place) = '\0';
    report->given++;

    report->found(report, server, cert, ngx_certctl_choose_why(&choice, kind),
                  &report->asked, index);
}


ngx_int_t
ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report)
{
    ngx_uint_t                 kind;
    ngx_certctl_server_t     **server;
    ngx_http_certctl_asked_t  *ask;

    server = report->conf->servers.elts;

    while (report->place < report->conf->servers.nelts) {

        if (report->inside == NULL) {
            ngx_http_certctl_report_enter(report, server[report->place]);
        }

        if (!report->chained
            && ngx_http_certctl_report_choices(report) == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }

        while (!report->failed
               && report->at < report->asked.nelts * CERTCTL_KINDS)
        {
            if (ngx_http_certctl_report_paused(report)) {
                return NGX_AGAIN;
            }

            ask = report->asked.elts;
            ask += report->at / CERTCTL_KINDS;
            kind = report->at % CERTCTL_KINDS;

            if (ask->given[kind] && !ask->follows[kind]) {
                ngx_http_certctl_report_choice(report,
                                          report->at / CERTCTL_KINDS, kind);
            }

            report->at++;
        }

        ngx_http_certctl_report_leave(report);

        if (report->failed) {
            return NGX_ERROR;
        }

        report->place++;
    }

    return NGX_OK;
}


static int
ngx_http_certctl_report_stored(const char *text, void *data)
{
    ngx_http_certctl_report_t *report = data;

    ngx_http_certctl_report_keep(report, &report->records,
                                 (const u_char *) text, ngx_strlen(text));

    return report->failed;
}


static int ngx_libc_cdecl
ngx_http_certctl_report_compare(const void *one, const void *two)
{
    return ngx_strcmp(((const ngx_str_t *) one)->data,
                      ((const ngx_str_t *) two)->data);
}


/* Each once, and neither what a server gives nor what an earlier page had. */

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

    /* by ?name= it can be but the records that were found, or its own name */

    if (report->name.len) {
        ngx_http_certctl_report_keep(report, names, report->name.data,
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

    report->ahead_end = 0;
}


static void
ngx_http_certctl_report_record(ngx_http_certctl_report_t *report,
    ngx_str_t *name)
{
    ngx_certctl_cert_t  *cert;

    cert = ngx_certctl_record(report->details ? &report->full
                                              : &report->facts, name);

    if (cert == NULL) {
        ngx_http_certctl_report_unreadable(report, name);
        return;
    }

    if (!ngx_http_certctl_report_room(report)) {
        return;
    }

    *ngx_snprintf((u_char *) report->next, sizeof(report->next) - 1, "u%V",
                  name) = '\0';
    report->given++;

    report->found(report, NULL, cert, "no server here gives it to anybody",
                  NULL, 0);
}


ngx_int_t
ngx_http_certctl_report_unserved(ngx_http_certctl_report_t *report)
{
    ngx_str_t   *name;
    ngx_uint_t   end;

    if (report->conf->store == NULL) {
        return NGX_OK;
    }

    if (!report->listed) {
        ngx_http_certctl_report_list(report);
        report->listed = 1;
    }

    name = report->records.elts;

    while (report->record < report->records.nelts
           && !report->failed && !report->more)
    {
        if (ngx_http_certctl_report_paused(report)) {
            return NGX_AGAIN;
        }

        end = report->records.nelts;

        if (report->limit) {
            end = ngx_min(end, report->record
                               + report->limit - report->given);
        }

        if (!report->details
            && ngx_http_certctl_report_ahead(report, report->record, end))
        {
            return NGX_AGAIN;
        }

        ngx_http_certctl_report_record(report, &name[report->record]);
        report->record++;
    }

    ngx_http_certctl_report_alone(report);

    return report->failed ? NGX_ERROR : NGX_OK;
}
