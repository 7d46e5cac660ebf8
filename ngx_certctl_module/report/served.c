
/*
 * What clients get for names that stand in no server_name: an address leads
 * them to a server by a wildcard or a regular expression, or to its default
 * server.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "tls/address.h"


static ngx_uint_t
ngx_http_certctl_is_ip(ngx_str_t *name)
{
    u_char  last;

    last = name->data[name->len - 1];

    return memchr(name->data, ':', name->len)
           || (last >= '0' && last <= '9'
               && ngx_inet_addr(name->data, name->len) != INADDR_NONE);
}


/* The next name of a record, or IP address with ip set; "" behind the last. */

static void
ngx_http_certctl_served_next(ngx_certctl_stored_t *stored, ngx_str_t *name,
    ngx_uint_t ip)
{
    u_char  *last;

    name->data = name->data ? name->data + name->len + 1 : stored->names.data;
    last = stored->names.data + stored->names.len;

    for ( /* void */ ; name->data < last; name->data += name->len + 1) {
        name->len = ngx_strlen(name->data);

        /* a fingerprint, which is one long label, is no name */

        if ((name->len != CERTCTL_HEX256 - 1
             || memchr(name->data, '.', name->len))
            && ngx_http_certctl_is_ip(name) == ip)
        {
            return;
        }
    }

    ngx_str_null(name);
}


/* Nothing but the store decides what the server serves for a stored name. */

static ngx_uint_t
ngx_http_certctl_served_simply(ngx_certctl_server_t *server)
{
    return server->placeholder && server->pinned.len == 0 && !server->reject;
}


static ngx_uint_t
ngx_http_certctl_served_by(ngx_http_certctl_report_t *report,
    ngx_certctl_server_t *server, ngx_certctl_stored_t *stored,
    ngx_str_t *name)
{
    ngx_certctl_cert_t    *cert;
    ngx_certctl_choice_t   choice;
    ngx_certctl_server_t   copy;

    cert = &stored->cert;

    /* the usual case, and no file is read for it */

    if (ngx_http_certctl_served_simply(server)
        && ngx_certctl_cert_valid(cert, report->now))
    {
        return certctl_store_tries_first(report->conf->store, cert->kind,
                                         (char *) name->data,
                                         (char *) cert->name.data);
    }

    copy = *server;
    copy.certctl = &report->brief;

    ngx_certctl_choose(&copy, name, &choice);
    cert = choice.cert[stored->cert.kind];

    return cert && cert->source == NGX_CERTCTL_STORE
           && ngx_strcmp(cert->name.data, stored->cert.name.data) == 0;
}


/* With only set, whether it is this one. */

static ngx_certctl_server_t *
ngx_http_certctl_served_find(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored, ngx_str_t *name, ngx_certctl_server_t *only)
{
    ngx_uint_t              i;
    ngx_certctl_server_t   *server, *last;
    ngx_certctl_address_t  *address;

    last = NULL;
    address = report->conf->addresses.elts;

    for (i = 0; i < report->conf->addresses.nelts; i++) {
        server = ngx_certctl_address_server(&address[i], name);

        if (server == NULL || server == last || server->agent
            || (only && server != only))
        {
            continue;
        }

        if (ngx_http_certctl_served_by(report, server, stored, name)) {
            return server;
        }

        last = server;
    }

    return NULL;
}


/* Of the counters that change when another record may be served for a name. */

static ngx_atomic_uint_t
ngx_http_certctl_served_sum(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored)
{
    ngx_str_t          name;
    ngx_atomic_uint_t  sum;

    sum = 0;
    ngx_str_null(&name);

    for ( ;; ) {
        ngx_http_certctl_served_next(stored, &name, 0);

        if (name.len == 0) {
            return sum;
        }

        sum += *ngx_certctl_zone_counter(report->conf->zone, name.data,
                                         name.len);
    }
}


/* Adds one more host to the group that hosts are. */

static ngx_int_t
ngx_http_certctl_served_add(ngx_array_t *hosts, ngx_str_t *name,
    certctl_kind_e kind)
{
    ngx_http_certctl_host_t  *host;

    if (ngx_http_certctl_host_add(hosts, "", name) != NGX_OK) {
        return NGX_ERROR;
    }

    if (hosts->nelts > 1) {
        host = hosts->elts;
        host[hosts->nelts - 2].next[kind] = hosts->nelts - 1;
    }

    return NGX_OK;
}


ngx_certctl_server_t *
ngx_http_certctl_report_served(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored, ngx_array_t *hosts)
{
    ngx_str_t              name;
    ngx_atomic_uint_t      sum;
    ngx_certctl_server_t  *server, *found;

    /* before anything is read: what changes meanwhile is read again */

    sum = ngx_http_certctl_served_sum(report, stored);

    if (hosts == NULL && stored->served_by && stored->served_sum == sum
        && ngx_certctl_cert_valid(&stored->cert, report->now))
    {
        return stored->served_by;
    }

    server = NULL;
    ngx_str_null(&name);

    for ( ;; ) {
        ngx_http_certctl_served_next(stored, &name, 0);

        if (name.len == 0 || (server && hosts == NULL)) {
            break;
        }

        found = ngx_http_certctl_served_find(report, stored, &name, server);

        if (found == NULL) {
            continue;
        }

        server = found;

        if (hosts && ngx_http_certctl_served_add(hosts, &name,
                                                 stored->cert.kind)
                     != NGX_OK)
        {
            report->failed = 1;
            return NULL;
        }
    }

    if (server && ngx_http_certctl_served_simply(server)) {
        stored->served_by = server;
        stored->served_sum = sum;
    }

    return server;
}


void
ngx_http_certctl_report_asked(ngx_http_certctl_report_t *report)
{
    ngx_uint_t               i;
    ngx_certctl_server_t    *server, **asked;
    ngx_certctl_address_t   *address;

    address = report->conf->addresses.elts;

    for (i = 0; i < report->conf->addresses.nelts && !report->failed; i++) {
        server = ngx_certctl_address_server(&address[i], &report->sni);

        if (server == NULL || server->agent) {
            continue;
        }

        asked = ngx_array_push(&report->servers);

        if (asked) {
            *asked = server;

        } else {
            report->failed = 1;
        }
    }
}


void
ngx_http_certctl_report_find_no_sni(ngx_http_certctl_report_t *report)
{
    u_char                 *digest;
    ngx_str_t               none;
    ngx_uint_t              i, kind;
    ngx_certctl_choice_t    choice;
    ngx_certctl_server_t   *server, copy;
    ngx_certctl_address_t  *address;

    if (ngx_array_init(&report->no_sni, report->pool, 4, 32) != NGX_OK) {
        report->failed = 1;
        return;
    }

    ngx_str_set(&none, "");
    address = report->conf->addresses.elts;

    for (i = 0; i < report->conf->addresses.nelts; i++) {
        server = ngx_certctl_address_server(&address[i], &none);

        if (server == NULL) {
            continue;
        }

        copy = *server;
        copy.certctl = &report->brief;

        ngx_certctl_choose(&copy, &none, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (choice.cert[kind] == NULL) {
                continue;
            }

            digest = ngx_array_push(&report->no_sni);
            if (digest == NULL) {
                report->failed = 1;
                return;
            }

            ngx_memcpy(digest, choice.cert[kind]->digest, 32);
        }
    }
}


void
ngx_http_certctl_report_check_ip(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored)
{
    u_char      text[256], *digest;
    ngx_str_t   ip;
    ngx_uint_t  i;

    ngx_str_null(&ip);
    ngx_http_certctl_served_next(stored, &ip, 1);

    if (ip.len == 0) {
        return;
    }

    digest = report->no_sni.elts;

    for (i = 0; i < report->no_sni.nelts; i++) {

        if (ngx_memcmp(digest + i * 32, stored->cert.digest, 32) == 0) {
            return;
        }
    }

    *ngx_snprintf(text, sizeof(text) - 1,
                  "is for %V, " NGX_HTTP_CERTCTL_NO_SNI_RULE, &ip)
        = '\0';

    ngx_http_certctl_report_warn(report, NGX_HTTP_CERTCTL_WARN_IP_NEEDS_DEFAULT,
                                 &stored->cert.name, (char *) text);
}
