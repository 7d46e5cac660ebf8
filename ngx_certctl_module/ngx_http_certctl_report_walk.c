
/*
 * The walk over all certificates: what each server would give each of its
 * names now, decided by the very code that decides in a handshake, on a thread
 * with copies of its own of all that a handshake changes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_certctl_report.h"
#include "ngx_certctl_cache.h"
#include "ngx_certctl_cert.h"


/* Fully parsed records that a report keeps at once. */
#define NGX_HTTP_CERTCTL_REPORT_CACHE  64


static ngx_int_t ngx_http_certctl_report_caches(
    ngx_http_certctl_report_t *report);
static ngx_int_t ngx_http_certctl_report_page(
    ngx_http_certctl_report_t *report, ngx_http_certctl_call_t *call);
static void ngx_http_certctl_report_server(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_uint_t place);
static void ngx_http_certctl_report_choices(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked, ngx_uint_t place);
static void ngx_http_certctl_report_choice(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked, ngx_uint_t index,
    certctl_kind_e kind, ngx_uint_t place);
static ngx_uint_t ngx_http_certctl_report_named(
    ngx_http_certctl_report_t *report, ngx_certctl_cert_t *cert,
    ngx_array_t *asked, ngx_uint_t index);
static ngx_uint_t ngx_http_certctl_report_room(
    ngx_http_certctl_report_t *report);
static void ngx_http_certctl_report_keep(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len);
static void ngx_http_certctl_report_record(ngx_http_certctl_report_t *report,
    ngx_str_t *name);
static int ngx_http_certctl_report_stored(const char *name, void *data);
static int ngx_libc_cdecl ngx_http_certctl_report_compare(const void *one,
    const void *two);


ngx_int_t
ngx_http_certctl_report_open(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call, ngx_http_certctl_found_pt found,
    ngx_uint_t details)
{
    ngx_memzero(report, sizeof(ngx_http_certctl_report_t));

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
           != NGX_OK
        || ngx_http_certctl_report_caches(report) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_certctl_report_page(report, call);
}


/*
 * The worker's facts outlive a report, and are for one thread at a time: who
 * comes second begins with none.
 */

static ngx_int_t
ngx_http_certctl_report_caches(ngx_http_certctl_report_t *report)
{
    ngx_conf_t  cf;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.pool = report->pool;
    cf.log = ngx_cycle->log;

    if (ngx_atomic_cmp_set(&report->conf->facts_busy, 0, 1)) {
        report->facts.cache = report->conf->facts;
        report->borrowed = 1;

    } else {
        report->facts.cache = ngx_certctl_cache_facts(&cf, report->conf);
    }

    report->full.cache_max = NGX_HTTP_CERTCTL_REPORT_CACHE;
    report->full.cache = ngx_certctl_cache_create(&cf, &report->full);

    return report->facts.cache && report->full.cache ? NGX_OK : NGX_ERROR;
}


void
ngx_http_certctl_report_close(ngx_http_certctl_report_t *report)
{
    ngx_certctl_cache_destroy(report->full.cache);

    if (report->borrowed) {
        ngx_memory_barrier();
        report->conf->facts_busy = 0;

    } else {
        ngx_certctl_cache_destroy(report->facts.cache);
    }

    if (report->pool) {
        ngx_destroy_pool(report->pool);
    }
}


static ngx_int_t
ngx_http_certctl_report_page(ngx_http_certctl_report_t *report,
    ngx_http_certctl_call_t *call)
{
    u_char                  lower[CERTCTL_NAME_MAX + 1], *dot;
    const char             *text;
    ngx_str_t               name;
    ngx_uint_t              i, wild;
    ngx_certctl_stored_t  **stored;

    text = call->args[NGX_HTTP_CERTCTL_ARG_LIMIT];
    report->limit = text ? (ngx_uint_t) ngx_atoi((u_char *) text,
                                                 ngx_strlen(text))
                         : 0;

    text = call->args[NGX_HTTP_CERTCTL_ARG_AFTER];

    if (text && text[0] == 'u') {
        report->after_name = text + 1;
        report->after = NGX_MAX_INT_T_VALUE;

    } else if (text) {
        report->after = ngx_hextoi((u_char *) text + 1, ngx_strlen(text + 1));
    }

    text = call->args[NGX_HTTP_CERTCTL_ARG_NAME];

    if (text == NULL) {
        return NGX_OK;
    }

    /* records that a handshake for this name would look at */

    report->name.data = (u_char *) text;
    report->name.len = ngx_strlen(text);

    name.data = lower;
    name.len = report->name.len;
    ngx_strlow(lower, report->name.data, name.len + 1);

    for (wild = 0; wild < 2; wild++) {

        stored = ngx_certctl_lookup(&report->facts, &name, 0);

        for (i = 0; stored && i < CERTCTL_KINDS; i++) {
            if (stored[i]) {
                ngx_http_certctl_report_keep(report, &report->records,
                                             stored[i]->cert.name.data,
                                             stored[i]->cert.name.len);
            }
        }

        dot = ngx_strlchr(lower, lower + name.len, '.');

        if (dot == NULL || dot == lower) {
            break;
        }

        name.len -= dot - 1 - lower;
        name.data = dot - 1;
        name.data[0] = '*';
    }

    return report->failed ? NGX_ERROR : NGX_OK;
}


void
ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report)
{
    ngx_uint_t              i;
    ngx_certctl_server_t  **server;

    server = report->conf->servers.elts;

    for (i = 0; i < report->conf->servers.nelts && !report->failed; i++) {
        ngx_http_certctl_report_server(report, server[i], i);
    }
}


static void
ngx_http_certctl_report_server(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_uint_t place)
{
    size_t                size;
    ngx_uint_t            i;
    ngx_array_t           asked;
    ngx_certctl_cert_t   *cert;
    ngx_certctl_server_t  copy;

    copy = *server;

    size = server->certs.nelts * sizeof(ngx_certctl_cert_t);
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
        cert[i].staple_bad = 0;
        cert[i].staple_read = 0;
    }

    ngx_http_certctl_report_choices(report, &copy, &asked, place);

    for (i = 0; i < copy.certs.nelts; i++) {
        ngx_certctl_cert_unstaple(&cert[i]);
    }

    ngx_free(cert);
    ngx_array_destroy(&asked);
}


/*
 * Twice over the names, because a parsed record is borrowed for a moment only:
 * first which certificate each gets, then each certificate with its names.
 */

static void
ngx_http_certctl_report_choices(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked, ngx_uint_t place)
{
    ngx_uint_t                 i, kind;
    ngx_certctl_cert_t        *cert;
    ngx_http_certctl_asked_t  *ask;
    ngx_certctl_choice_t       choice;

    ask = asked->elts;
    server->certctl = &report->facts;

    for (i = 0; i < asked->nelts; i++) {
        (void) ngx_certctl_choose(server, &ask[i].name, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {
            cert = choice.cert[kind];

            if (cert) {
                ask[i].given[kind] = 1;
                ngx_memcpy(ask[i].digest[kind], cert->digest, 32);
            }
        }
    }

    if (ngx_http_certctl_report_chain(report, asked) != NGX_OK) {
        report->failed = 1;
        return;
    }

    for (i = 0; i < asked->nelts; i++) {

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (ask[i].given[kind] && !ask[i].follows[kind]) {
                ngx_http_certctl_report_choice(report, server, asked, i, kind,
                                     ((place + 1) << 24) + (i << 1) + kind);
            }
        }
    }
}


static void
ngx_http_certctl_report_choice(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *asked, ngx_uint_t index,
    certctl_kind_e kind, ngx_uint_t place)
{
    ngx_certctl_cert_t        *cert;
    ngx_http_certctl_asked_t  *ask;
    ngx_certctl_choice_t       choice;

    ask = asked->elts;
    server->certctl = &report->facts;

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
        || !ngx_http_certctl_report_named(report, cert, asked, index)
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

    report->found(report, server, cert, choice.why, asked, index);
}


/* Whether cert is one of those that ?name= asks for. */

static ngx_uint_t
ngx_http_certctl_report_named(ngx_http_certctl_report_t *report,
    ngx_certctl_cert_t *cert, ngx_array_t *asked, ngx_uint_t index)
{
    ngx_str_t                 *record;
    ngx_uint_t                 i;
    ngx_http_certctl_asked_t  *ask;

    if (report->name.len == 0
        || (cert->name.len == report->name.len
            && ngx_memcmp(cert->name.data, report->name.data, cert->name.len)
               == 0))
    {
        return 1;
    }

    record = report->records.elts;

    for (i = 0; i < report->records.nelts; i++) {
        if (cert->source == NGX_CERTCTL_STORE
            && ngx_strcmp(record[i].data, cert->name.data) == 0)
        {
            return 1;
        }
    }

    if (asked == NULL) {
        return 0;
    }

    ask = asked->elts;
    i = index;

    do {
        if (ask[i].name.len == report->name.len
            && ngx_strncasecmp(ask[i].name.data, report->name.data,
                               report->name.len)
               == 0)
        {
            return 1;
        }

        i = ask[i].next[cert->kind];

    } while (i);

    return 0;
}


static ngx_uint_t
ngx_http_certctl_report_room(ngx_http_certctl_report_t *report)
{
    if (report->limit && report->given == report->limit) {
        report->more = 1;
        return 0;
    }

    return !report->failed && !report->json->failed;
}


static void
ngx_http_certctl_report_keep(ngx_http_certctl_report_t *report,
    ngx_array_t *names, const u_char *data, size_t len)
{
    ngx_str_t  *name;

    name = ngx_array_push(names);

    if (name == NULL) {
        report->failed = 1;
        return;
    }

    name->len = len;
    name->data = ngx_pnalloc(report->pool, len + 1);

    if (name->data == NULL) {
        names->nelts--;
        report->failed = 1;
        return;
    }

    ngx_cpystrn(name->data, (u_char *) data, len + 1);
}


/* The store's folders are in no order: all names first, then sorted. */

void
ngx_http_certctl_report_unserved(ngx_http_certctl_report_t *report)
{
    ngx_str_t    *name;
    ngx_uint_t    i;
    ngx_array_t  *names;

    if (report->conf->store == NULL) {
        return;
    }

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

    name = names->elts;

    for (i = 0; i < names->nelts && !report->failed && !report->more; i++) {
        if (i == 0 || ngx_strcmp(name[i].data, name[i - 1].data) != 0) {
            ngx_http_certctl_report_record(report, &name[i]);
        }
    }
}


static int
ngx_http_certctl_report_stored(const char *text, void *data)
{
    ngx_http_certctl_report_t *report = data;

    ngx_http_certctl_report_keep(report, &report->records,
                                 (const u_char *) text, ngx_strlen(text));

    return report->failed;
}


static void
ngx_http_certctl_report_record(ngx_http_certctl_report_t *report,
    ngx_str_t *name)
{
    ngx_certctl_cert_t  *cert;

    if ((report->after_name
         && ngx_strcmp(name->data, report->after_name) <= 0)
        || bsearch(name, report->seen.elts, report->seen.nelts,
                   sizeof(ngx_str_t), ngx_http_certctl_report_compare))
    {
        return;
    }

    cert = ngx_certctl_record(report->details ? &report->full
                                                   : &report->facts, name);

    if (cert == NULL || !ngx_http_certctl_report_room(report)) {
        return;
    }

    *ngx_snprintf((u_char *) report->next, sizeof(report->next) - 1, "u%V",
                  name) = '\0';
    report->given++;

    report->found(report, NULL, cert, "no server here gives it to anybody",
                  NULL, 0);
}


static int ngx_libc_cdecl
ngx_http_certctl_report_compare(const void *one, const void *two)
{
    return ngx_strcmp(((const ngx_str_t *) one)->data,
                      ((const ngx_str_t *) two)->data);
}
