
/*
 * Takes over the TLS servers that certctl is on for: completes them, copies
 * what the configuration forgets, and installs the callbacks.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_certctl_module.h"
#include "ngx_http_certctl_cert.h"
#include "ngx_http_certctl_handshake.h"
#include "ngx_http_certctl_placeholder.h"
#include "ngx_http_certctl_server.h"


static ngx_int_t ngx_http_certctl_add_listen(ngx_conf_t *cf,
    ngx_http_conf_addr_t *addr);
static ngx_int_t ngx_http_certctl_init_server(ngx_conf_t *cf,
    ngx_http_certctl_server_t *server, ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_certctl_copy_names(ngx_conf_t *cf,
    ngx_http_certctl_server_t *server, ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_certctl_find_certs(ngx_conf_t *cf,
    ngx_http_certctl_server_t *server);


/* index of our server in an SSL_CTX's ex_data; stays for the process */

static int  ngx_http_certctl_ctx_index = -1;


char *
ngx_http_certctl_find_listens(ngx_conf_t *cf)
{
    ngx_uint_t                  p, a;
    ngx_http_conf_addr_t       *addr;
    ngx_http_conf_port_t       *port;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_CONF_OK;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {

            if (ngx_http_certctl_addr_tls(&addr[a])
                && ngx_http_certctl_add_listen(cf, &addr[a]) != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_certctl_add_listen(ngx_conf_t *cf, ngx_http_conf_addr_t *addr)
{
    ngx_str_t                     *text;
    ngx_uint_t                     s;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_certctl_srv_conf_t   *scf;

    cscfp = addr->servers.elts;

    for (s = 0; s < addr->servers.nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];
        scf->tls = 1;

        if (scf->listens == NULL) {
            scf->listens = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
            if (scf->listens == NULL) {
                return NGX_ERROR;
            }
        }

        text = ngx_array_push(scf->listens);
        if (text == NULL) {
            return NGX_ERROR;
        }

        *text = addr->opt.addr_text;
    }

    return NGX_OK;
}


char *
ngx_http_certctl_complete(ngx_conf_t *cf, ngx_http_certctl_main_conf_t *mcf,
    ngx_http_certctl_srv_conf_t *scf)
{
    ngx_str_t                *cert, *key;
    ngx_http_ssl_srv_conf_t  *sscf, *prev;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    prev = mcf->http_ctx.srv_conf[ngx_http_ssl_module.ctx_index];

    /* neither was merged yet: what is unset here is what nobody wrote */

    if (sscf->certificates != NGX_CONF_UNSET_PTR
        || prev->certificates != NGX_CONF_UNSET_PTR
        || sscf->reject_handshake == 1
        || (sscf->reject_handshake == NGX_CONF_UNSET
            && prev->reject_handshake == 1))
    {
        return NGX_CONF_OK;
    }

    sscf->certificates = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
    sscf->certificate_keys = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));

    if (sscf->certificates == NULL || sscf->certificate_keys == NULL) {
        return NGX_CONF_ERROR;
    }

    cert = ngx_array_push(sscf->certificates);
    key = ngx_array_push(sscf->certificate_keys);

    if (cert == NULL || key == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_certctl_placeholder(cert, key) != NGX_OK) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "cannot make the placeholder certificate");
        return NGX_CONF_ERROR;
    }

    scf->placeholder = 1;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_certctl_init_servers(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf)
{
    ngx_uint_t                     s, n;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_certctl_server_t     *server;
    ngx_http_certctl_srv_conf_t   *scf;

    if (ngx_http_certctl_ctx_index == -1) {
        ngx_http_certctl_ctx_index = SSL_CTX_get_ex_new_index(0, NULL, NULL,
                                                              NULL, NULL);
    }

    if (ngx_http_certctl_ctx_index == -1
        || ngx_http_certctl_init_handshake() != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "no place in OpenSSL");
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;
    n = cmcf->servers.nelts;

    /* as many as there may be: pointers to elements are kept */

    if (ngx_array_init(&mcf->servers, cf->pool, n,
                       sizeof(ngx_http_certctl_server_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (s = 0; s < n; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];

        if (!scf->tls || (!scf->enable && !scf->agent)) {
            continue;
        }

        server = ngx_array_push(&mcf->servers);
        if (server == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(server, sizeof(ngx_http_certctl_server_t));

        server->mcf = mcf;
        scf->server = server;

        if (ngx_http_certctl_init_server(cf, server, cscfp[s]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_init_server(ngx_conf_t *cf,
    ngx_http_certctl_server_t *server, ngx_http_core_srv_conf_t *cscf)
{
    ngx_http_ssl_srv_conf_t      *sscf;
    ngx_http_certctl_srv_conf_t  *scf;

    scf = cscf->ctx->srv_conf[ngx_http_certctl_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf->ssl.ctx == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no TLS context for the server in %s:%ui: build "
                      "ngx_http_certctl_module as a dynamic module, so that "
                      "it comes before ngx_http_ssl_module",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    server->ctx = sscf->ssl.ctx;
    server->ssl_conf = sscf;
    server->file.data = cscf->file_name;
    server->file.len = ngx_strlen(cscf->file_name);
    server->line = cscf->line;
    server->listens = *scf->listens;
    server->agent = scf->agent;
    server->reject = sscf->reject_handshake;
    server->placeholder = scf->placeholder;

    if (scf->agent) {
        ngx_str_set(&server->pinned, CERTCTL_WIRE_IDENTITY);

    } else {
        server->pinned = scf->certificate;
    }

    if (sscf->certificate_values) {
        server->expressions = sscf->certificates;
    }

    if (ngx_http_certctl_copy_names(cf, server, cscf) != NGX_OK
        || ngx_http_certctl_find_certs(cf, server) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (SSL_CTX_set_ex_data(server->ctx, ngx_http_certctl_ctx_index, server)
        != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_ex_data() failed");
        return NGX_ERROR;
    }

    ngx_http_certctl_hook(server);

    return NGX_OK;
}


/* The names are in memory that goes when the configuration is complete. */

static ngx_int_t
ngx_http_certctl_copy_names(ngx_conf_t *cf, ngx_http_certctl_server_t *server,
    ngx_http_core_srv_conf_t *cscf)
{
    ngx_str_t               *name;
    ngx_uint_t               i;
    ngx_http_server_name_t  *sn;

    sn = cscf->server_names.elts;

    if (ngx_array_init(&server->names, cf->pool, cscf->server_names.nelts + 1,
                       sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (sn[i].name.len == 0) {
            continue;
        }

        name = ngx_array_push(&server->names);
        if (name == NULL) {
            return NGX_ERROR;
        }

        name->len = sn[i].name.len;
        name->data = ngx_pstrdup(cf->pool, &sn[i].name);
        if (name->data == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * What the context really holds: of two certificates of one type OpenSSL has
 * kept the last, whatever the configuration says.
 */

static ngx_int_t
ngx_http_certctl_find_certs(ngx_conf_t *cf, ngx_http_certctl_server_t *server)
{
    int                       rc;
    X509                     *current;
    SSL_CTX                  *ctx;
    ngx_http_certctl_cert_t  *cert;

    if (ngx_array_init(&server->certs, cf->pool, 2,
                       sizeof(ngx_http_certctl_cert_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx = server->ctx;
    current = SSL_CTX_get0_certificate(ctx);

    for (rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
         rc == 1;
         rc = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
    {
        cert = ngx_array_push(&server->certs);
        if (cert == NULL) {
            return NGX_ERROR;
        }

        ngx_http_certctl_cert_borrow(cert, ctx);

        if (server->placeholder) {
            cert->source = NGX_HTTP_CERTCTL_PLACEHOLDER;
            ngx_str_set(&cert->name, NGX_HTTP_CERTCTL_PLACEHOLDER_NAME);
        }
    }

    if (current) {
        (void) SSL_CTX_select_current_cert(ctx, current);
    }

    return NGX_OK;
}


void
ngx_http_certctl_free_servers(ngx_http_certctl_main_conf_t *mcf)
{
    ngx_uint_t                  s, c;
    ngx_http_certctl_cert_t    *cert;
    ngx_http_certctl_server_t  *server;

    server = mcf->servers.elts;

    for (s = 0; s < mcf->servers.nelts; s++) {
        cert = server[s].certs.elts;

        for (c = 0; c < server[s].certs.nelts; c++) {
            ngx_http_certctl_cert_unstaple(&cert[c]);
        }
    }
}


ngx_http_certctl_server_t *
ngx_http_certctl_ssl_server(SSL *ssl)
{
    if (ngx_http_certctl_ctx_index == -1) {
        return NULL;
    }

    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl),
                               ngx_http_certctl_ctx_index);
}
