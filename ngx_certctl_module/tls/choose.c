
/*
 * Decides between stored and configured certificates: the same code for a
 * handshake and for the report.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <arpa/inet.h>

#include "cert/cache.h"
#include "tls/choose.h"


/*
 * CAs backdate notBefore by some minutes, because clients' clocks differ.  The
 * certificate in a file is newer than a stored one if its notBefore is later by
 * more than that.
 */
#define NGX_CERTCTL_BACKDATE  300


/* What the report says of a choice. */

static const char  *ngx_certctl_why_pinned =
    "named by certctl_certificate";
static const char  *ngx_certctl_why_exact =
    "stored for this name";
static const char  *ngx_certctl_why_wildcard =
    "stored for a wildcard that covers this name";
static const char  *ngx_certctl_why_default =
    "no stored certificate covers this name: "
    "the default server's stored certificate is served";
static const char  *ngx_certctl_why_newer =
    "newer than the stored certificate";
static const char  *ngx_certctl_why_key_type =
    "for clients that do not support the key type of the newer certificate";
static const char  *ngx_certctl_why_expired =
    "the stored certificate has expired";
static const char  *ngx_certctl_why_none =
    "no stored certificate covers this name";
static const char  *ngx_certctl_why_variable =
    "no stored certificate covers this name, ssl_certificate has variables";


/* RFC 5952, which is the text that the store has for an iPAddress. */

static ngx_uint_t
ngx_certctl_name_ipv6(u_char *p, size_t len, ngx_certctl_name_t *ret)
{
    char             text[INET6_ADDRSTRLEN];
    struct in6_addr  addr;

    if (len > 2 && p[0] == '[' && p[len - 1] == ']') {
        p++;
        len -= 2;
    }

    if (len >= sizeof(text) || ngx_strlchr(p, p + len, ':') == NULL) {
        return 0;
    }

    *ngx_cpymem(text, p, len) = '\0';

    if (inet_pton(AF_INET6, text, &addr) != 1
        || inet_ntop(AF_INET6, &addr, (char *) ret->data, sizeof(ret->data))
           == NULL)
    {
        return 0;
    }

    ret->len = ngx_strlen(ret->data);

    return 1;
}


void
ngx_certctl_name(ngx_str_t *text, ngx_certctl_name_t *ret)
{
    size_t   len;
    u_char  *p;

    p = text->data;
    len = text->len;

    ret->len = 0;
    ret->data[0] = '\0';

    /* ".example.com" is the domain and its subdomains */

    if (len > 1 && p[0] == '.') {
        p++;
        len--;
    }

    if (len > 1 && p[len - 1] == '.') {
        len--;
    }

    if (ngx_certctl_name_ipv6(p, len, ret)) {
        return;
    }

    /* the agent's identity is not the certificate of a host name */

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


/* The first server_name that a certificate can have: no regular expression, no
   "www.example.*". */

static void
ngx_certctl_name_first(ngx_certctl_server_t *server, ngx_certctl_name_t *ret)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    ret->len = 0;
    name = server->names.elts;

    for (i = 0; i < server->names.nelts && ret->len == 0; i++) {

        if (name[i].data[name[i].len - 1] != '*') {
            ngx_certctl_name(&name[i], ret);
        }
    }
}


/* Whether one of stored is valid now: then expired ones are left out. */

static ngx_uint_t
ngx_certctl_choose_stored(ngx_certctl_choice_t *choice,
    ngx_certctl_stored_t **stored, const char *why)
{
    time_t      now;
    ngx_uint_t  i, valid[CERTCTL_KINDS], any;

    now = ngx_time();
    any = 0;

    for (i = 0; stored && i < CERTCTL_KINDS; i++) {
        valid[i] = stored[i] && ngx_certctl_cert_valid(&stored[i]->cert, now);
        any |= valid[i];
    }

    for (i = 0; stored && i < CERTCTL_KINDS; i++) {

        if (stored[i] && (valid[i] || !any)) {
            choice->cert[i] = &stored[i]->cert;
            choice->why = why;
        }
    }

    return any;
}


/* A wildcard stands for the first label alone (RFC 6125 6.4.3). */

static ngx_uint_t
ngx_certctl_choose_wildcard(ngx_certctl_t *certctl, ngx_certctl_name_t *name,
    ngx_certctl_choice_t *ret)
{
    u_char                 *dot, saved;
    ngx_str_t               key;
    ngx_certctl_stored_t  **stored;

    dot = ngx_strlchr(name->data, name->data + name->len, '.');

    if (dot == NULL || dot == name->data || name->data[0] == '*') {
        return 0;
    }

    key.data = dot - 1;
    key.len = name->data + name->len - key.data;

    saved = key.data[0];
    key.data[0] = '*';
    stored = ngx_certctl_lookup(certctl, &key, 0);
    key.data[0] = saved;

    return ngx_certctl_choose_stored(ret, stored, ngx_certctl_why_wildcard);
}


/* An expired one is kept only where there is no valid one.  Clients that do not
   support the key type of the exact name's may get a wildcard's of another. */

static void
ngx_certctl_choose_by_name(ngx_certctl_t *certctl, ngx_certctl_name_t *name,
    ngx_certctl_choice_t *ret)
{
    ngx_str_t             key;
    ngx_uint_t            i, valid;
    ngx_certctl_choice_t  exact, wildcard;

    if (name->len == 0) {
        return;
    }

    ngx_memzero(&exact, sizeof(ngx_certctl_choice_t));
    ngx_memzero(&wildcard, sizeof(ngx_certctl_choice_t));

    key.data = name->data;
    key.len = name->len;

    valid = ngx_certctl_choose_stored(&exact,
                                      ngx_certctl_lookup(certctl, &key, 0),
                                      ngx_certctl_why_exact);

    if (valid || ret->why == NULL) {
        *ret = exact;
    }

    if ((valid && exact.cert[0] && exact.cert[1])
        || (!ngx_certctl_choose_wildcard(certctl, name, &wildcard)
            && ret->why))
    {
        return;
    }

    if (!valid) {
        *ret = wildcard;
        return;
    }

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (ret->cert[i] == NULL) {
            ret->second[i] = wildcard.cert[i];
        }
    }
}


static ngx_uint_t
ngx_certctl_covers(ngx_certctl_cert_t *cert, ngx_certctl_name_t *name)
{
    ngx_certctl_name_t  host;

    if (name->len == 0) {
        return 1;
    }

    /* of a wildcard server_name each host must be covered */

    host = *name;

    if (host.data[0] == '*') {
        host.data[0] = 'x';
    }

    return certctl_x509_covers(cert->x509, (char *) host.data);
}


/* Whether cert is of a file, valid now, and for name. */

static ngx_uint_t
ngx_certctl_static_covers(ngx_certctl_cert_t *cert, ngx_certctl_name_t *name)
{
    return cert->source == NGX_CERTCTL_STATIC
           && ngx_certctl_cert_valid(cert, ngx_time())
           && ngx_certctl_covers(cert, name);
}


static void
ngx_certctl_choose_configured(ngx_certctl_server_t *server,
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


/*
 * Without a stored certificate for the name: what is stored for the default
 * server of the address, as NGINX serves the default server's certificate where
 * a server has none.
 */

static void
ngx_certctl_choose_default(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    ngx_uint_t              i;
    ngx_certctl_cert_t     *cert;
    ngx_certctl_name_t      first;
    ngx_certctl_server_t   *by_default;
    ngx_certctl_stored_t  **stored;

    by_default = server->first ? server : server->by_default;

    if (by_default == NULL) {
        return;
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {

        if (ngx_certctl_static_covers(&cert[i], name)) {
            return;
        }
    }

    if (by_default->pinned.len) {
        stored = ngx_certctl_lookup(server->certctl, &by_default->pinned, 1);

        if (ngx_certctl_choose_stored(ret, stored, ngx_certctl_why_default)) {
            return;
        }
    }

    ngx_certctl_name_first(by_default, &first);
    ngx_certctl_choose_by_name(server->certctl, &first, ret);

    if (ret->why) {
        ret->why = ngx_certctl_why_default;
        *name = first;
    }
}


/*
 * Why a configured certificate is served instead of choice: a renewal by hand
 * is never undone, and a valid certificate is served rather than an expired
 * one.  Where none is valid, the clock may be wrong, and the newer one was
 * served before.  NULL: choice is served.
 */

static const char *
ngx_certctl_why_static(ngx_certctl_server_t *server, ngx_certctl_name_t *name,
    ngx_certctl_choice_t *choice)
{
    time_t               now, newest;
    ngx_uint_t           i, valid, newer, own;
    ngx_certctl_cert_t  *cert;

    now = ngx_time();
    newest = 0;
    valid = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice->cert[i]) {
            newest = ngx_max(newest, choice->cert[i]->not_before
                                     + NGX_CERTCTL_BACKDATE);
            valid |= ngx_certctl_cert_valid(choice->cert[i], now);
        }
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {

        if (cert[i].source != NGX_CERTCTL_STATIC) {
            continue;
        }

        /* the default server's is no renewal of what is stored for server */

        newer = cert[i].not_before > newest
                && !(server->placeholder && choice->named);
        own = ngx_certctl_cert_valid(&cert[i], now);

        /* at least two of three, so that where none is valid the newer wins */

        if (newer + own + !valid >= 2 && ngx_certctl_covers(&cert[i], name)) {
            return newer ? ngx_certctl_why_newer : ngx_certctl_why_expired;
        }
    }

    return NULL;
}


/* Valid stored ones stay for clients that support no other key type. */

static void
ngx_certctl_choose_static(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *choice)
{
    ngx_uint_t   i;
    const char  *why;

    why = ngx_certctl_why_static(server, name, choice);

    if (why == NULL) {
        return;
    }

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice->cert[i]
            && ngx_certctl_cert_valid(choice->cert[i], ngx_time()))
        {
            choice->second[i] = choice->cert[i];
        }

        choice->cert[i] = NULL;
    }

    ngx_certctl_choose_configured(server, choice, why);
}


void
ngx_certctl_choose_first(ngx_certctl_server_t *server, ngx_str_t *sni,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    ngx_certctl_stored_t  **stored;

    ngx_memzero(ret, sizeof(ngx_certctl_choice_t));

    if (sni->len) {
        ngx_certctl_name(sni, name);

    } else {
        ngx_certctl_name_first(server, name);
    }

    if (server->pinned.len) {
        stored = ngx_certctl_lookup(server->certctl, &server->pinned, 1);

        if (ngx_certctl_choose_stored(ret, stored, ngx_certctl_why_pinned)) {
            ret->named = 1;
            return;
        }
    }

    if (!server->agent) {
        ngx_certctl_choose_by_name(server->certctl, name, ret);
    }

    ret->named = (ret->why != NULL);

    if (!server->agent && !ret->named) {
        ngx_certctl_choose_default(server, name, ret);
    }

    if (ret->why == NULL) {
        ngx_certctl_choose_configured(server, ret,
                                      server->expressions
                                      ? ngx_certctl_why_variable
                                      : ngx_certctl_why_none);

    } else if (!server->agent) {
        ngx_certctl_choose_static(server, name, ret);
    }
}


void
ngx_certctl_choose_second(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    ngx_uint_t           i, missing[CERTCTL_KINDS];
    ngx_certctl_cert_t  *cert, *other;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        missing[i] = (ret->cert[i] == NULL);

        if (missing[i]) {
            ret->cert[i] = ret->second[i];
        }
    }

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts && !server->agent; i++) {
        other = ret->cert[cert[i].kind];

        if (missing[cert[i].kind]
            && (other == NULL || cert[i].not_before > other->not_before
                                                      + NGX_CERTCTL_BACKDATE)
            && ngx_certctl_static_covers(&cert[i], name))
        {
            ret->cert[cert[i].kind] = &cert[i];
        }
    }
}


const char *
ngx_certctl_choose_why(ngx_certctl_choice_t *choice, certctl_kind_e kind)
{
    if (choice->second[kind] == NULL
        || choice->cert[kind] != choice->second[kind]
        || choice->why == ngx_certctl_why_default)
    {
        return choice->why;
    }

    return choice->why == ngx_certctl_why_exact ? ngx_certctl_why_wildcard
                                                : ngx_certctl_why_key_type;
}


void
ngx_certctl_choose(ngx_certctl_server_t *server, ngx_str_t *sni,
    ngx_certctl_choice_t *ret)
{
    ngx_certctl_name_t  name;

    /* NGINX rejects its handshakes before it needs a certificate */

    if (server->reject) {
        ngx_memzero(ret, sizeof(ngx_certctl_choice_t));
        return;
    }

    ngx_certctl_choose_first(server, sni, &name, ret);
    ngx_certctl_choose_second(server, &name, ret);
}
