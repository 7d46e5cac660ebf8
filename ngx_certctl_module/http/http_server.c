
/*
 * The TLS servers of http{} that certctl is on for: completes them, copies what
 * NGINX frees after configuration, and sets the callbacks.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "call/main_conf.h"
#include "tls/handshake.h"
#include "tls/server.h"
#include "http/http_module.h"


static ngx_int_t
ngx_http_certctl_add_listen(ngx_conf_t *cf, ngx_http_conf_addr_t *addr)
{
    ngx_uint_t                     s;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_certctl_srv_conf_t   *scf, *by_default;

    by_default = addr->default_server->ctx->srv_conf
                                          [ngx_http_certctl_module.ctx_index];
    cscfp = addr->servers.elts;

    for (s = 0; s < addr->servers.nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];

        if (ngx_certctl_conf_listen(cf, &scf->common, &addr->opt.addr_text,
                                    &by_default->common)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


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

            if (ngx_certctl_addr_tls(&addr[a])
                && ngx_http_certctl_add_listen(cf, &addr[a]) != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_certctl_complete(ngx_conf_t *cf, ngx_http_certctl_main_conf_t *mcf,
    ngx_http_certctl_srv_conf_t *scf)
{
    char                      *rv;
    ngx_uint_t                 reject, verify;
    ngx_http_ssl_srv_conf_t   *sscf, *prev;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    prev = mcf->http_ctx.srv_conf[ngx_http_ssl_module.ctx_index];

    reject = ngx_certctl_inherited(sscf, prev, reject_handshake,
                                   NGX_CONF_UNSET);
    verify = ngx_certctl_inherited(sscf, prev, verify, NGX_CONF_UNSET_UINT);

    if (reject == 1
        || ngx_certctl_conf_incomplete(cf, &scf->common, verify,
                                       ngx_certctl_client_ca(sscf)
                                       + ngx_certctl_client_ca(prev),
                                       cscf->file_name, cscf->line))
    {
        return NGX_CONF_OK;
    }

    rv = ngx_certctl_conf_complete(cf, &scf->common, prev->certificates,
                                   &sscf->certificates,
                                   &sscf->certificate_keys);

    /* NGINX would warn of the placeholder's missing issuer */

    if (scf->common.placeholder) {
        sscf->stapling = 0;
    }

    return rv;
}


static ngx_int_t
ngx_http_certctl_add_server(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_http_core_srv_conf_t *cscf)
{
    ngx_uint_t                    i;
    ngx_certctl_block_t           block;
    ngx_http_server_name_t       *sn;
    ngx_http_ssl_srv_conf_t      *sscf;
    ngx_http_certctl_srv_conf_t  *scf;

    scf = cscf->ctx->srv_conf[ngx_http_certctl_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    ngx_certctl_block_init(&block, cscf, sscf, ngx_http_ssl_certificate);

    block.conf = &scf->common;
    block.name = &cscf->server_name;
    block.ticket_name = &cscf->server_name;
    block.close = ngx_http_close_connection;
    block.server.protocol = "http";
    block.server.reject = sscf->reject_handshake;

    if (scf->agent) {
        block.close = NULL;
        block.server.agent = 1;
        scf->common.ticket_keys = 0;
    }

    if (ngx_certctl_server_add(cf, certctl, &block) != NGX_OK) {
        return NGX_ERROR;
    }

    /* copied, because NGINX frees them when the configuration is complete */

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (ngx_certctl_server_name(cf, scf->common.server, &sn[i].name,
                                    ngx_certctl_is_regex(&sn[i]))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


#if (NGX_CERTCTL_SERVERNAME)

static int
ngx_http_certctl_servername_cb(SSL *ssl, int *al, void *arg)
{
    int        rc;
    ngx_str_t  sni;

    rc = ngx_http_ssl_servername(ssl, al, arg);

    if (rc == SSL_TLSEXT_ERR_OK) {
        ngx_certctl_sni(ssl, &sni);
        ngx_certctl_use_default(ssl, &sni);
    }

    return rc;
}

#endif


static ngx_int_t
ngx_http_certctl_init_default(ngx_conf_t *cf, ngx_certctl_srv_conf_t *conf)
{
#if (NGX_CERTCTL_SERVERNAME)
    ngx_uint_t              i;
    ngx_certctl_context_t  *context;
#endif

    if (ngx_certctl_server_default(cf, conf) != NGX_OK) {
        return NGX_ERROR;
    }

#if (NGX_CERTCTL_SERVERNAME)

    for (i = 0; conf->server && i < conf->server->contexts.nelts; i++) {
        context = conf->server->contexts.elts;

        SSL_CTX_set_tlsext_servername_callback(context[i].ctx,
                                             ngx_http_certctl_servername_cb);
    }

#endif

    return NGX_OK;
}


/*
 * OpenSSL has one callback of each kind and no function that returns it:
 * whether this configuration uses the one that is replaced cannot be known.
 */

static void
ngx_http_certctl_warn_lua(ngx_conf_t *cf)
{
    ngx_uint_t  i;

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (ngx_strcmp(cf->cycle->modules[i]->name, "ngx_http_lua_module")
            == 0)
        {
            ngx_log_error(NGX_LOG_NOTICE, cf->log, 0,
                          "certctl: \"ssl_certificate_by_lua*\" needs "
                          "\"certctl off\" in its server, and "
                          "\"ssl_client_hello_by_lua*\" needs "
                          "\"certctl_challenge off\"");
            return;
        }
    }
}


ngx_int_t
ngx_http_certctl_init_servers(ngx_conf_t *cf, ngx_certctl_t *certctl)
{
    ngx_uint_t                    s;
    ngx_http_core_srv_conf_t    **cscfp;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_certctl_srv_conf_t  *scf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (s = 0; s < cmcf->servers.nelts; s++) {

        if (ngx_http_certctl_add_server(cf, certctl, cscfp[s]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (s = 0; s < cmcf->servers.nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];

        if (ngx_http_certctl_init_default(cf, &scf->common) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_http_certctl_warn_lua(cf);

    return NGX_OK;
}
