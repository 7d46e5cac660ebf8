
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


static void
ngx_certctl_name_set(ngx_str_t *text, ngx_certctl_name_t *ret)
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
            ngx_certctl_name_set(&name[i], ret);
        }
    }
}


void
ngx_certctl_name(ngx_certctl_server_t *server, ngx_str_t *sni,
    ngx_certctl_name_t *ret)
{
    if (sni && sni->len) {
        ngx_certctl_name_set(sni, ret);

    } else {
        ngx_certctl_name_first(server, ret);
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


static void
ngx_certctl_choose_by_name(ngx_certctl_t *certctl, ngx_certctl_name_t *name,
    ngx_certctl_choice_t *ret)
{
    u_char                 *dot, saved;
    ngx_str_t               key;
    ngx_certctl_choice_t    found;
    ngx_certctl_stored_t  **stored;

    if (name->len == 0) {
        return;
    }

    key.data = name->data;
    key.len = name->len;

    stored = ngx_certctl_lookup(certctl, &key, 0);

    ngx_memzero(&found, sizeof(ngx_certctl_choice_t));

    /* an expired one is kept only where there is no valid one */

    if (ngx_certctl_choose_stored(&found, stored, ngx_certctl_why_exact)) {
        *ret = found;
        return;
    }

    if (ret->why == NULL) {
        *ret = found;
    }

    /* a wildcard stands for the first label alone (RFC 6125 6.4.3) */

    dot = ngx_strlchr(name->data, name->data + name->len, '.');

    if (dot == NULL || dot == name->data || name->data[0] == '*') {
        return;
    }

    key.data = dot - 1;
    key.len = name->data + name->len - key.data;

    ngx_memzero(&found, sizeof(ngx_certctl_choice_t));

    saved = key.data[0];
    key.data[0] = '*';
    stored = ngx_certctl_lookup(certctl, &key, 0);
    key.data[0] = saved;

    if (ngx_certctl_choose_stored(&found, stored, ngx_certctl_why_wildcard)
        || ret->why == NULL)
    {
        *ret = found;
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


/* Whether a certificate that is configured for server covers name now. */

static ngx_uint_t
ngx_certctl_configured_covers(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, time_t now)
{
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts; i++) {

        if (cert[i].source == NGX_CERTCTL_STATIC
            && ngx_certctl_cert_valid(&cert[i], now)
            && ngx_certctl_covers(&cert[i], name))
        {
            return 1;
        }
    }

    return 0;
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
    ngx_certctl_name_t      first;
    ngx_certctl_server_t   *by_default;
    ngx_certctl_stored_t  **stored;

    by_default = server->first ? server : server->by_default;

    if (by_default == NULL
        || ngx_certctl_configured_covers(server, name, ngx_time()))
    {
        return;
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
    ngx_certctl_choice_t *choice, time_t now)
{
    time_t               newest;
    ngx_uint_t           i, valid, newer, own;
    ngx_certctl_cert_t  *cert;

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
    ngx_certctl_choice_t *choice, const char *why, time_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (choice->cert[i] && ngx_certctl_cert_valid(choice->cert[i], now)) {
            choice->second[i] = choice->cert[i];
        }

        choice->cert[i] = NULL;
    }

    ngx_certctl_choose_configured(server, choice, why);
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
        return;
    }

    if (server->agent) {
        return;
    }

    now = ngx_time();
    why = ngx_certctl_why_static(server, name, ret, now);

    if (why) {
        ngx_certctl_choose_static(server, ret, why, now);
    }
}


void
ngx_certctl_choose_second(ngx_certctl_server_t *server,
    ngx_certctl_name_t *name, ngx_certctl_choice_t *ret)
{
    time_t               now;
    ngx_uint_t           i;
    ngx_certctl_cert_t  *cert;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (ret->cert[i] == NULL) {
            ret->cert[i] = ret->second[i];
        }
    }

    now = ngx_time();
    cert = server->certs.elts;

    for (i = 0; i < server->certs.nelts && !server->agent; i++) {

        if (ret->cert[cert[i].kind] == NULL
            && cert[i].source == NGX_CERTCTL_STATIC
            && ngx_certctl_cert_valid(&cert[i], now)
            && ngx_certctl_covers(&cert[i], name))
        {
            ret->cert[cert[i].kind] = &cert[i];
        }
    }
}


const char *
ngx_certctl_choose_why(ngx_certctl_choice_t *choice, certctl_kind_e kind)
{
    return choice->second[kind] && choice->cert[kind] == choice->second[kind]
           ? ngx_certctl_why_key_type : choice->why;
}


ngx_int_t
ngx_certctl_choose(ngx_certctl_server_t *server, ngx_str_t *sni,
    ngx_certctl_choice_t *ret)
{
    ngx_certctl_name_t  name;

    /* NGINX rejects its handshakes before it needs a certificate */

    if (server->reject) {
        ngx_memzero(ret, sizeof(ngx_certctl_choice_t));
        return NGX_OK;
    }

    ngx_certctl_name(server, sni, &name);
    ngx_certctl_choose_first(server, &name, ret);
    ngx_certctl_choose_second(server, &name, ret);

    return NGX_OK;
}
