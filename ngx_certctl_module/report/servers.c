
/*
 * What each server would serve for each of its names now, chosen by the code
 * that chooses in a handshake, on a thread with copies of its own of all that a
 * handshake changes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"

#include "tls/choose.h"


/* A certificate for one name of a server. */

typedef struct {
    ngx_str_t       name;
    ngx_uint_t      index;                  /* of name */
    ngx_uint_t      place;                  /* of the entry: the server, the
                                               first name that is served with
                                               the certificate, the key type */
    certctl_kind_e  kind;
    u_char          digest[32];
} ngx_http_certctl_row_t;


/* The event loop may be reading the staples of the server's own certificates:
   copies read theirs anew. */

static ngx_int_t
ngx_http_certctl_server_copy(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *copy, ngx_certctl_server_t *server, ngx_pool_t *pool)
{
    size_t               size;
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    size = server->certs.nelts * sizeof(ngx_certctl_cert_t);

    cert = ngx_palloc(pool, size + 1);
    if (cert == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(cert, server->certs.elts, size);

    for (i = 0; i < server->certs.nelts; i++) {
        ngx_str_null(&cert[i].staple);
        cert[i].staple_good = 0;
        cert[i].staple_withdrawn = 0;
        cert[i].staple_bad = 0;
        cert[i].staple_read = 0;
    }

    *copy = *server;
    copy->certctl = &report->brief;
    copy->certs.elts = cert;

    return NGX_OK;
}


static void
ngx_http_certctl_server_add_name(ngx_http_certctl_report_t *report,
    ngx_array_t *names, u_char *data, size_t len)
{
    ngx_str_t  *name;

    name = ngx_array_push(names);
    if (name == NULL) {
        report->failed = 1;
        return;
    }

    name->data = data;
    name->len = len;
}


/* ".example.com" is two names: the domain and its wildcard. */

static void
ngx_http_certctl_server_add_domain(ngx_http_certctl_report_t *report,
    ngx_array_t *names, ngx_str_t *name)
{
    u_char  *wildcard;

    wildcard = ngx_pnalloc(names->pool, name->len + 1);
    if (wildcard == NULL) {
        report->failed = 1;
        return;
    }

    wildcard[0] = '*';
    ngx_memcpy(wildcard + 1, name->data, name->len);

    ngx_http_certctl_server_add_name(report, names, name->data + 1,
                                     name->len - 1);
    ngx_http_certctl_server_add_name(report, names, wildcard, name->len + 1);
}


/* The names that clients could ask server for. */

static void
ngx_http_certctl_server_names(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *names)
{
    u_char      *reached;
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (server->agent || server->first) {
        ngx_http_certctl_server_add_name(report, names, (u_char *) "", 0);
    }

    name = server->names.elts;
    reached = server->reached.elts;

    for (i = 0; i < server->names.nelts && !server->agent; i++) {

        if (reached[i] && name[i].data[0] == '.') {
            ngx_http_certctl_server_add_domain(report, names, &name[i]);

        } else if (reached[i]) {
            ngx_http_certctl_server_add_name(report, names, name[i].data,
                                             name[i].len);
        }
    }
}


/* Whether clients that ask for ?name= get server; then it is one of names, too,
   as it may be none of server_name. */

static ngx_uint_t
ngx_http_certctl_server_asked(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *names)
{
    ngx_uint_t              i;
    ngx_certctl_server_t  **asked;

    asked = report->servers.elts;

    for (i = 0; i < report->servers.nelts; i++) {

        if (asked[i] == server) {

            if (!ngx_http_certctl_report_listed(names, &report->sni)) {
                ngx_http_certctl_server_add_name(report, names,
                                                 report->sni.data,
                                                 report->sni.len);
            }

            return 1;
        }
    }

    return 0;
}


static void
ngx_http_certctl_server_choose(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_array_t *names, ngx_array_t *rows)
{
    ngx_str_t               *name;
    ngx_uint_t               i, kind;
    ngx_certctl_choice_t     choice;
    ngx_http_certctl_row_t  *row;

    name = names->elts;

    for (i = 0; i < names->nelts; i++) {

        ngx_certctl_choose(server, &name[i], &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (choice.cert[kind] == NULL) {
                continue;
            }

            row = ngx_array_push(rows);
            if (row == NULL) {
                report->failed = 1;
                return;
            }

            row->name = name[i];
            row->index = i;
            row->kind = kind;
            ngx_memcpy(row->digest, choice.cert[kind]->digest, 32);
        }
    }
}


static int ngx_libc_cdecl
ngx_http_certctl_row_by_digest(const void *one, const void *two)
{
    int                            rc;
    const ngx_http_certctl_row_t  *a, *b;

    a = one;
    b = two;
    rc = ngx_memcmp(a->digest, b->digest, 32);

    return rc ? rc : (a->index > b->index) - (a->index < b->index);
}


static int ngx_libc_cdecl
ngx_http_certctl_row_by_place(const void *one, const void *two)
{
    int                            rc;
    const ngx_http_certctl_row_t  *a, *b;

    a = one;
    b = two;
    rc = (a->place > b->place) - (a->place < b->place);

    return rc ? rc : (a->index > b->index) - (a->index < b->index);
}


/* Each certificate's names together, certificates by their first names; by
   sorting, as a server may have thousands of names. */

static void
ngx_http_certctl_server_group(ngx_array_t *rows, ngx_uint_t number)
{
    ngx_uint_t               i;
    ngx_http_certctl_row_t  *row;

    row = rows->elts;

    ngx_qsort(row, rows->nelts, sizeof(ngx_http_certctl_row_t),
              ngx_http_certctl_row_by_digest);

    for (i = 0; i < rows->nelts; i++) {

        if (i && ngx_memcmp(row[i - 1].digest, row[i].digest, 32) == 0) {
            row[i].place = row[i - 1].place;

        } else {
            row[i].place = ((number + 1) << 24) + (row[i].index << 1)
                           + row[i].kind;
        }
    }

    ngx_qsort(row, rows->nelts, sizeof(ngx_http_certctl_row_t),
              ngx_http_certctl_row_by_place);
}


/* The certificate of row is chosen once more, as a parsed record is borrowed
   until the next one is looked up only. */

static void
ngx_http_certctl_server_entry(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry, ngx_http_certctl_row_t *row,
    ngx_uint_t asked)
{
    ngx_certctl_cert_t    *cert;
    ngx_certctl_choice_t   choice;

    ngx_certctl_choose(entry->server, &row->name, &choice);
    cert = choice.cert[row->kind];

    if (cert == NULL) {
        return;
    }

    if (cert->source == NGX_CERTCTL_STORE) {
        ngx_http_certctl_report_add_name(report, &report->seen,
                                         cert->name.data, cert->name.len);
    }

    if (row->place > report->after
        && ngx_http_certctl_report_wanted(report, cert,
                                          asked ? &entry->names : NULL))
    {
        entry->cert = cert;
        entry->why = ngx_certctl_choose_why(&choice, row->kind);
        entry->place = row->place;

        ngx_http_certctl_report_add(report, entry);
    }
}


static void
ngx_http_certctl_server_entries(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry, ngx_array_t *rows, ngx_uint_t asked)
{
    ngx_uint_t               i, first;
    ngx_http_certctl_row_t  *row;

    row = rows->elts;
    i = 0;

    while (i < rows->nelts && !report->failed) {

        first = i;
        entry->names.nelts = 0;

        for ( /* void */ ;
             i < rows->nelts && row[i].place == row[first].place;
             i++)
        {
            ngx_http_certctl_server_add_name(report, &entry->names,
                                             row[i].name.data,
                                             row[i].name.len);
        }

        ngx_http_certctl_server_entry(report, entry, &row[first], asked);
    }
}


static void
ngx_http_certctl_report_server(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_uint_t number, ngx_pool_t *pool)
{
    ngx_uint_t                 i, n, asked;
    ngx_array_t                names, rows;
    ngx_certctl_cert_t        *cert;
    ngx_certctl_server_t       copy;
    ngx_http_certctl_entry_t   entry;

    n = server->names.nelts + 2;

    if (ngx_array_init(&names, pool, n, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&entry.names, pool, 4, sizeof(ngx_str_t)) != NGX_OK
        || ngx_array_init(&rows, pool, n, sizeof(ngx_http_certctl_row_t))
           != NGX_OK
        || ngx_http_certctl_server_copy(report, &copy, server, pool) != NGX_OK)
    {
        report->failed = 1;
        return;
    }

    entry.server = &copy;

    ngx_http_certctl_server_names(report, server, &names);
    asked = ngx_http_certctl_server_asked(report, server, &names);
    ngx_http_certctl_server_choose(report, &copy, &names, &rows);
    ngx_http_certctl_server_group(&rows, number);
    ngx_http_certctl_server_entries(report, &entry, &rows, asked);

    cert = copy.certs.elts;

    for (i = 0; i < copy.certs.nelts; i++) {
        ngx_certctl_cert_unstaple(&cert[i]);
    }
}


void
ngx_http_certctl_report_servers(ngx_http_certctl_report_t *report)
{
    ngx_uint_t              i;
    ngx_pool_t             *pool;
    ngx_certctl_server_t  **server;

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

        ngx_http_certctl_report_server(report, server[i], i, pool);

        ngx_destroy_pool(pool);
    }
}
