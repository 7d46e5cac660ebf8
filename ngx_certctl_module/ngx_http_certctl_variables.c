
/*
 * Variables that tell which certificate the client's connection was given.
 *
 * To add one: 1. a function that prints it; 2. a row in the table; 3. a line
 * in docs/directives.md.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_certctl_cert.h"
#include "ngx_certctl_handshake.h"
#include "ngx_certctl_server.h"
#include "ngx_http_certctl_variables.h"


/* enough for each value but a name, which is not copied */

#define NGX_HTTP_CERTCTL_VALUE_LEN  CERTCTL_HEX256


/* Fills value, whose data has room for NGX_HTTP_CERTCTL_VALUE_LEN bytes;
   leaves it empty when there is none. */

typedef void (*ngx_http_certctl_print_pt)(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value);

typedef struct {
    ngx_str_t                   name;
    ngx_http_certctl_print_pt   print;
} ngx_http_certctl_var_t;


static ngx_int_t ngx_certctl_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static void ngx_http_certctl_print_name(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value);
static void ngx_http_certctl_print_source(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value);
static void ngx_http_certctl_print_fingerprint(
    ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value);
static void ngx_http_certctl_print_not_after(
    ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value);
static void ngx_http_certctl_print_days_left(
    ngx_certctl_t *certctl, ngx_certctl_cert_t *cert,
    ngx_str_t *value);
static void ngx_http_certctl_print_staple(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value);


static ngx_http_certctl_var_t  ngx_http_certctl_vars[] = {
    { ngx_string("certctl_certificate"), ngx_http_certctl_print_name },
    { ngx_string("certctl_source"),      ngx_http_certctl_print_source },
    { ngx_string("certctl_fingerprint"), ngx_http_certctl_print_fingerprint },
    { ngx_string("certctl_not_after"),   ngx_http_certctl_print_not_after },
    { ngx_string("certctl_days_left"),   ngx_http_certctl_print_days_left },
    { ngx_string("certctl_staple"),      ngx_http_certctl_print_staple },
    { ngx_null_string,                   NULL }
};


ngx_int_t
ngx_http_certctl_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t     *var;
    ngx_http_certctl_var_t  *v;

    for (v = ngx_http_certctl_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, 0);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_certctl_variable;
        var->data = (uintptr_t) v->print;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_certctl_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    SSL                       *ssl;
    X509                      *x509;
    ngx_str_t                  value;
    ngx_certctl_cert_t *cert, configured;
    ngx_http_certctl_print_pt  print;
    ngx_certctl_server_t      *server;

    v->not_found = 1;

    if (r->connection->ssl == NULL) {
        return NGX_OK;
    }

    ssl = r->connection->ssl->connection;
    server = ngx_certctl_ssl_server(ssl);

    if (server == NULL) {
        return NGX_OK;
    }

    cert = ngx_certctl_served(ssl, server);

    if (cert == NULL) {
        /* what variables in ssl_certificate have loaded for this client */

        x509 = SSL_get_certificate(ssl);

        if (x509 == NULL
            || ngx_certctl_cert_fill(&configured, x509) != NULL)
        {
            return NGX_OK;
        }

        cert = &configured;
        cert->source = NGX_CERTCTL_VARIABLE;
    }

    value.len = 0;
    value.data = ngx_pnalloc(r->pool, NGX_HTTP_CERTCTL_VALUE_LEN
                                      + cert->name.len);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    print = (ngx_http_certctl_print_pt) data;
    print(server->certctl, cert, &value);

    if (value.len == 0) {
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static void
ngx_http_certctl_print_name(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    /* copied: the record may be replaced while the request lasts */

    if (cert->name.len) {
        value->len = cert->name.len;
        ngx_memcpy(value->data, cert->name.data, cert->name.len);
    }
}


static void
ngx_http_certctl_print_source(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    value->data = (u_char *) ngx_certctl_source_text[cert->source];
    value->len = ngx_strlen(value->data);
}


static void
ngx_http_certctl_print_fingerprint(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    value->len = CERTCTL_HEX256 - 1;
    ngx_memcpy(value->data, cert->fingerprint, value->len);
}


/* RFC 3339, UTC. */

static void
ngx_http_certctl_print_not_after(ngx_certctl_t *certctl,
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
ngx_http_certctl_print_days_left(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    time_t  left;

    left = ngx_max(cert->not_after - ngx_time(), 0);

    value->len = ngx_sprintf(value->data, "%T", left / (24 * 3600))
                 - value->data;
}


static void
ngx_http_certctl_print_staple(ngx_certctl_t *certctl,
    ngx_certctl_cert_t *cert, ngx_str_t *value)
{
    ngx_certctl_staple_e  state;

    state = ngx_certctl_staple_state(certctl, cert, ngx_time());

    value->data = (u_char *) ngx_certctl_staple_text[state];
    value->len = ngx_strlen(value->data);
}
