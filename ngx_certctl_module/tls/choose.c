
/*
 * Decides between what is in the store and what is configured: the same code
 * for a handshake and for the report.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cache.h"
#include "cert/cert.h"
#include "tls/choose.h"


static const char  *ngx_certctl_pinned =
    "it is the record that certctl_certificate names";
static const char  *ngx_certctl_exact =
    "the store has it for this name";
static const char  *ngx_certctl_wildcard =
    "the store has it for a wildcard of this name";
static const char  *ngx_certctl_newer =
    "it is newer than the one in the store";
static const char  *ngx_certctl_kind =
    "for clients that do not know the kind of the newer one";
static const char  *ngx_certctl_expired =
    "the one in the store is past its time";
static const char  *ngx_certctl_nothing =
    "the store has none for this name";
static const char  *ngx_certctl_variable =
    "the store has none for this name, ssl_certificate has variables";


static void
ngx_certctl_name_set(ngx_str_t *text, ngx_certctl_name_t *ret)
{
    size_t   len;
    u_char  *p;

    p = text->data;
    len = text->len;

    ret->len = 0;
    ret->data[0] = '\0';

    /* ".example.com" is the domain, and all in it */

    if (len > 1 && p[0] == '.') {
        p++;
        len--;
    }

    if (len > 1 && p[len - 1] == '.') {
        len--;
    }

    /* the agent's identity is no host's: it cannot be asked for */

    if (!certctl_name_valid(p, len)
        || (len == sizeof(CERTCTL_WIRE_IDENTITY) - 1
            && ngx_strncasecmp(p, (u_char *) CERTCTL_WIRE_IDENTITY, len) == 0))
    {
        return;
    }

    ngx_strlow(ret->data, p, len);
    ret->data[len] = '\0';
    ret->len = len;
}


void
ngx_certctl_name(ngx_certctl_server_t *server, ngx_str_t *asked,
    ngx_certctl_name_t *ret)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (asked && asked->len) {
        ngx_certctl_name_set(asked, ret);
        return;
    }

    /* the first that can have a certificate: no regular expression, no "a.*" */

    ret->len = 0;
    name = server->names.elts;

    for (i = 0; i < server->names.nelts && ret->len == 0; i++) {

        if (name[i].data[name[i].len - 1] != '*') {
            ngx_certctl_name_set(&name[i], ret);
        }
    }
}


static ngx_uint_t
ngx_certctl_take(ngx_certctl_choice_t *choice,
    ngx_certctl_stored_t **stored, const char *why)
{
    time_t      now;
    ngx_uint_t  i, valid;

    now = ngx_time();
    valid = 0;

    for (i = 0; stored && i < CERTCTL_KINDS; i++) {

        if (stored[i]) {
            choice->cert[i] = &stored[i]->cert;
            choice->why = why;
            valid |= ngx_certctl_cert_valid(&stored[i]->cert, now);
        }
    }

    return valid;
}


static void
ngx_certctl_by_name(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    u_char                 *dot, saved;
    ngx_str_t               key;
    ngx_certctl_choice_t    wild;
    ngx_certctl_stored_t  **stored;

    if (name->len == 0) {
        return;
    }

    key.data = name->data;
    key.len = name->len;

    stored = ngx_certctl_lookup(server->certctl, &key, 0);

    /* a pinned record that is past its time gives way to one that is not */

    ngx_memzero(&wild, sizeof(ngx_certctl_choice_t));

    if (ngx_certctl_take(&wild, stored, ngx_certctl_exact)) {
        *ret = wild;
        return;
    }

    if (ret->why == NULL) {
        *ret = wild;
    }

    /* a wildcard stands for the first label alone (RFC 6125 6.4.3) */

    dot = ngx_strlchr(name->data, name->data + name->len, '.');

    if (dot == NULL || dot == name->data || name->data[0] == '*') {
        return;
    }

    key.data = dot - 1;
    key.len = name->data + name->len - key.data;

    ngx_memzero(&wild, sizeof(ngx_certctl_choice_t));

    saved = key.data[0];
    key.data[0] = '*';
    stored = ngx_certctl_lookup(server->certctl, &key, 0);
    key.data[0] = saved;

    if (ngx_certctl_take(&wild, stored, ngx_certctl_wildcard)
        || ret->why == NULL)
    {
        *ret = wild;
    }
}


static void
ngx_certctl_configured(ngx_certctl_server_t *server,
    ngx_certctl_choice_t *ret, const char *why)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    ret->why = why;
    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {
        ret->cert[cert[i].kind] = &cert[i];
    }
}


static ngx_uint_t
ngx_certctl_covers(ngx_certctl_cert_t *cert,
    ngx_certctl_name_t *name)
{
    ngx_certctl_name_t  host;

    if (name->len == 0) {
        return 1;
    }

    /* a server_name may be a wildcard: then any host of it must be covered */

    host = *name;

    if (host.data[0] == '*') {
        host.data[0] = 'x';
    }

    return certctl_x509_covers(cert->x509, (char *) host.data);
}


/*
 * A certificate that somebody renewed by hand is never undone: the newer one
 * wins.  So does one that is still valid over one that is not.  Where none is,
 * the clock may be wrong, and the newer one was served before.
 */

static const char *
ngx_certctl_static_wins(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *choice,
    time_t now)
{
    time_t               newest;
    ngx_uint_t           i, valid, newer, own;
    ngx_certctl_cert_t  *cert;

    newest = 0;
    valid = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice->cert[i]) {
            newest = ngx_max(newest, choice->cert[i]->not_before);
            valid |= ngx_certctl_cert_valid(choice->cert[i], now);
        }
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {
        newer = (cert[i].not_before > newest);
        own = ngx_certctl_cert_valid(&cert[i], now);

        /* at least two of three, so that where none is valid the newer wins */

        if (newer + own + !valid >= 2
            && ngx_certctl_covers(&cert[i], name))
        {
            return newer ? ngx_certctl_newer : ngx_certctl_expired;
        }
    }

    return NULL;
}


/* What static ones win over, and clients may need that know no other kind. */

static void
ngx_certctl_step_back(ngx_certctl_choice_t *choice, time_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice->cert[i] && ngx_certctl_cert_valid(choice->cert[i], now)) {
            choice->second[i] = choice->cert[i];
        }

        choice->cert[i] = NULL;
    }
}


void
ngx_certctl_choose_first(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    time_t                  now;
    const char             *why;
    ngx_certctl_stored_t  **stored;

    ngx_memzero(ret, sizeof(ngx_certctl_choice_t));

    if (server->pinned.len) {
        stored = ngx_certctl_lookup(server->certctl, &server->pinned, 1);

        if (!ngx_certctl_take(ret, stored, ngx_certctl_pinned)
            && !server->agent)
        {
            ngx_certctl_by_name(server, name, ret);
        }

    } else {
        ngx_certctl_by_name(server, name, ret);
    }

    if (ret->why == NULL) {
        ngx_certctl_configured(server, ret,
                                    server->expressions
                                    ? ngx_certctl_variable
                                    : ngx_certctl_nothing);
        return;
    }

    if (server->agent || server->placeholder) {
        return;
    }

    now = ngx_time();
    why = ngx_certctl_static_wins(server, name, ret, now);

    if (why) {
        ngx_certctl_step_back(ret, now);
        ngx_certctl_configured(server, ret, why);
    }
}


static ngx_uint_t
ngx_certctl_fits(ngx_certctl_cert_t *cert,
    ngx_certctl_name_t *name, time_t now)
{
    return ngx_certctl_cert_valid(cert, now)
           && ngx_certctl_covers(cert, name);
}


void
ngx_certctl_choose_second(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    time_t               now;
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    if (server->agent) {
        return;
    }

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (ret->cert[i] == NULL) {
            ret->cert[i] = ret->second[i];
        }
    }

    now = ngx_time();
    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {

        if (ret->cert[cert[i].kind] == NULL
            && cert[i].source == NGX_CERTCTL_STATIC
            && ngx_certctl_fits(&cert[i], name, now))
        {
            ret->cert[cert[i].kind] = &cert[i];
        }
    }
}


ngx_int_t
ngx_certctl_choose(ngx_certctl_server_t *server, ngx_str_t *asked,
    ngx_certctl_choice_t *ret)
{
    ngx_certctl_name_t  name;

    /* NGINX ends its handshakes before a certificate is looked for */

    if (server->reject) {
        ngx_memzero(ret, sizeof(ngx_certctl_choice_t));
        return NGX_OK;
    }

    ngx_certctl_name(server, asked, &name);
    ngx_certctl_choose_first(server, &name, ret);
    ngx_certctl_choose_second(server, &name, ret);

    return NGX_OK;
}


const char *
ngx_certctl_choose_why(ngx_certctl_choice_t *choice, certctl_kind_e kind)
{
    return choice->second[kind] && choice->cert[kind] == choice->second[kind]
           ? ngx_certctl_kind : choice->why;
}
