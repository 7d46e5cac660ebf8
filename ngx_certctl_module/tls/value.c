
/*
 * Variables that describe the certificate of a connection.
 *
 * To add one: 1. a function that prints it; 2. a row in the table; 3. a line
 * in docs/directives.md.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/conf.h"
#include "tls/handshake.h"
#include "tls/server.h"


/* enough for each value but a name */

#define NGX_CERTCTL_VALUE_LEN  CERTCTL_HEX256


static void
ngx_certctl_print_name(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    /* copied: the record may be replaced while the request lasts */

    if (cert->name.len) {
        value->len = cert->name.len;
        ngx_memcpy(value->data, cert->name.data, cert->name.len);
    }
}


static void
ngx_certctl_print_source(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    value->data = (u_char *) ngx_certctl_source_text[cert->source];
    value->len = ngx_strlen(value->data);
}


static void
ngx_certctl_print_fingerprint(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    value->len = CERTCTL_HEX256 - 1;
    ngx_memcpy(value->data, cert->fingerprint, value->len);
}


/* RFC 3339, UTC. */

static void
ngx_certctl_print_not_after(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    ngx_tm_t  tm;

    ngx_gmtime(cert->not_after, &tm);

    value->len = ngx_sprintf(value->data, "%4d-%02d-%02dT%02d:%02d:%02dZ",
                             tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                             tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec)
                 - value->data;
}


/* Whole days; 0 once it has expired, as $ssl_client_v_remain has it. */

static void
ngx_certctl_print_days_left(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    time_t  left;

    left = ngx_max(cert->not_after - ngx_time(), 0);

    value->len = ngx_sprintf(value->data, "%T", left / (24 * 3600))
                 - value->data;
}


static void
ngx_certctl_print_staple(ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value)
{
    ngx_certctl_staple_e  state;

    state = ngx_certctl_staple_state(certctl, cert, ngx_time());

    value->data = (u_char *) ngx_certctl_staple_text[state];
    value->len = ngx_strlen(value->data);
}


ngx_certctl_value_t  ngx_certctl_values[] = {
    { ngx_string("certctl_certificate"), ngx_certctl_print_name },
    { ngx_string("certctl_source"),      ngx_certctl_print_source },
    { ngx_string("certctl_fingerprint"), ngx_certctl_print_fingerprint },
    { ngx_string("certctl_not_after"),   ngx_certctl_print_not_after },
    { ngx_string("certctl_days_left"),   ngx_certctl_print_days_left },
    { ngx_string("certctl_staple"),      ngx_certctl_print_staple },
    { ngx_null_string,                   NULL }
};


/* That of c, NULL without; what variables in ssl_certificate have loaded is
   described in configured. */

static ngx_certctl_cert_t *
ngx_certctl_value_cert(ngx_connection_t *c, ngx_certctl_server_t *server,
    ngx_certctl_cert_t *configured)
{
    X509                *x509;
    ngx_certctl_cert_t  *cert;

    cert = ngx_certctl_served(c->ssl->connection, server);

    if (cert) {
        return cert;
    }

    x509 = SSL_get_certificate(c->ssl->connection);

    if (x509 == NULL || ngx_certctl_cert_fill(configured, x509) != NULL) {
        return NULL;
    }

    configured->source = NGX_CERTCTL_VARIABLE;

    return configured;
}


ngx_int_t
ngx_certctl_value_get(ngx_certctl_value_t *value,
    ngx_connection_t *c, ngx_pool_t *pool, ngx_variable_value_t *v)
{
    ngx_str_t              text;
    ngx_certctl_cert_t    *cert, configured;
    ngx_certctl_server_t  *server;

    v->not_found = 1;

    server = c->ssl ? ngx_certctl_ssl_server(c->ssl->connection) : NULL;
    cert = server ? ngx_certctl_value_cert(c, server, &configured) : NULL;

    if (cert == NULL) {
        return NGX_OK;
    }

    text.len = 0;
    text.data = ngx_pnalloc(pool, NGX_CERTCTL_VALUE_LEN + cert->name.len);

    if (text.data == NULL) {
        return NGX_ERROR;
    }

    value->print(server->certctl, cert, &text);

    if (text.len) {
        v->data = text.data;
        v->len = text.len;
        v->valid = 1;
        v->no_cacheable = 0;
        v->not_found = 0;
    }

    return NGX_OK;
}
