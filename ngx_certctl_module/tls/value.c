
/*
 * Variables that describe the certificate of a connection.
 *
 * To add one: 1. a function that prints it; 2. a row in the table; 3. a line
 * in docs/directives.md.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/handshake.h"
#include "tls/server.h"
#include "tls/value.h"


/* enough for each value but a name */

#define NGX_CERTCTL_VALUE_LEN  CERTCTL_HEX256


static void
ngx_certctl_print_name(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    /* copied: the record may be replaced while the request lasts */

    if (cert->name.len) {
        value->len = cert->name.len;
        ngx_memcpy(value->data, cert->name.data, cert->name.len);
    }
}


static void
ngx_certctl_print_source(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    value->data = (u_char *) ngx_certctl_source_text[cert->source];
    value->len = ngx_strlen(value->data);
}


static void
ngx_certctl_print_fingerprint(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    value->len = CERTCTL_HEX256 - 1;
    ngx_memcpy(value->data, cert->fingerprint, value->len);
}


/* RFC 3339, UTC. */

static void
ngx_certctl_print_not_after(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
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
ngx_certctl_print_days_left(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    time_t  left;

    left = ngx_max(cert->not_after - ngx_time(), 0);

    value->len = ngx_sprintf(value->data, "%T", left / (24 * 3600))
                 - value->data;
}


static void
ngx_certctl_print_staple(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
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


/* NGX_DECLINED when there is none. */

static ngx_int_t
ngx_certctl_value_print(ngx_certctl_value_t *value, ngx_connection_t *c,
    ngx_pool_t *pool, ngx_str_t *ret)
{
    SSL                   *ssl;
    X509                  *x509;
    ngx_certctl_cert_t    *cert, configured;
    ngx_certctl_server_t  *server;

    if (c->ssl == NULL) {
        return NGX_DECLINED;
    }

    ssl = c->ssl->connection;
    server = ngx_certctl_ssl_server(ssl);

    if (server == NULL) {
        return NGX_DECLINED;
    }

    cert = ngx_certctl_served(ssl, server);

    if (cert == NULL) {
        /* what variables in ssl_certificate have loaded for this client */

        x509 = SSL_get_certificate(ssl);

        if (x509 == NULL
            || ngx_certctl_cert_fill(&configured, x509) != NULL)
        {
            return NGX_DECLINED;
        }

        cert = &configured;
        cert->source = NGX_CERTCTL_VARIABLE;
    }

    ret->len = 0;
    ret->data = ngx_pnalloc(pool, NGX_CERTCTL_VALUE_LEN + cert->name.len);

    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    value->print(server->certctl, cert, ret);

    return ret->len ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_certctl_value_get(ngx_certctl_value_t *value, ngx_connection_t *c,
    ngx_pool_t *pool, ngx_variable_value_t *v)
{
    ngx_str_t  text;

    switch (ngx_certctl_value_print(value, c, pool, &text)) {

    case NGX_OK:
        v->data = text.data;
        v->len = text.len;
        v->valid = 1;
        v->no_cacheable = 0;
        v->not_found = 0;
        return NGX_OK;

    case NGX_DECLINED:
        v->not_found = 1;
        return NGX_OK;

    default:
        return NGX_ERROR;
    }
}
