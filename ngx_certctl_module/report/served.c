
/*
 * What clients get for names that stand in no server_name: an address leads
 * them to a server by a wildcard or a regular expression, or to its default
 * server.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
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


/* Sets name to the next name of a record, or with ip to its next IP address; 0
   behind the last.  The first time name is empty. */

static ngx_uint_t
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
            return 1;
        }
    }

    return 0;
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

    while (ngx_http_certctl_served_next(stored, &name, 0)) {
        sum += *ngx_certctl_zone_counter(report->conf->zone, name.data,
                                         name.len);
    }

    return sum;
}


ngx_certctl_server_t *
ngx_http_certctl_report_served(ngx_http_certctl_report_t *report,
    ngx_http_certctl_entry_t *entry)
{
    ngx_str_t              name, *added;
    ngx_atomic_uint_t      sum;
    ngx_certctl_server_t  *server, *found;
    ngx_certctl_stored_t  *stored;

    stored = (ngx_certctl_stored_t *) entry->cert;

    /* before anything is read: what changes meanwhile is read again */

    sum = ngx_http_certctl_served_sum(report, stored);

    if (!report->details && stored->served_by && stored->served_sum == sum
        && ngx_certctl_cert_valid(&stored->cert, report->now))
    {
        return stored->served_by;
    }

    server = NULL;
    ngx_str_null(&name);

    while ((server == NULL || report->details)
           && ngx_http_certctl_served_next(stored, &name, 0))
    {
        found = ngx_http_certctl_served_find(report, stored, &name, server);

        if (found == NULL) {
            continue;
        }

        server = found;

        added = ngx_array_push(&entry->names);
        if (added == NULL) {
            report->failed = 1;
            return NULL;
        }

        *added = name;
    }

    if (server && ngx_http_certctl_served_simply(server)) {
        stored->served_by = server;
        stored->served_sum = sum;
    }

    return server;
}


void
ngx_http_certctl_report_find_servers(ngx_http_certctl_report_t *report)
{
    ngx_uint_t               i;
    ngx_certctl_server_t    *server, **asked;
    ngx_certctl_address_t   *address;

    address = report->conf->addresses.elts;

    for (i = 0; i < report->conf->addresses.nelts; i++) {
        server = ngx_certctl_address_server(&address[i], &report->sni);

        if (server == NULL || server->agent) {
            continue;
        }

        asked = ngx_array_push(&report->servers);
        if (asked == NULL) {
            report->failed = 1;
            return;
        }

        *asked = server;
    }
}


void
ngx_http_certctl_report_check_ip(ngx_http_certctl_report_t *report,
    ngx_certctl_stored_t *stored)
{
    ngx_str_t  ip;

    ngx_str_null(&ip);

    if (!ngx_http_certctl_served_next(stored, &ip, 1)) {
        return;
    }

    /* what is looked up may replace it in the cache */

    ngx_certctl_ref(stored);

    if (!ngx_certctl_address_serves(&report->brief, stored->cert.digest)) {
        ngx_http_certctl_report_warn(report,
                                     "ip_needs_default_server",
                                     &stored->cert.name, "is for %V, "
                                     NGX_HTTP_CERTCTL_NO_SNI_RULE, &ip);
    }

    ngx_certctl_unref(&report->brief, stored);
}
