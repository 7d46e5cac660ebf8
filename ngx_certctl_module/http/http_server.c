
/*
 * Takes over the TLS servers that certctl is on for: completes them, copies
 * what the configuration forgets, and installs the callbacks.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "call/main_conf.h"
#include "tls/server.h"
#include "tls/sessions.h"
#include "http/http_server.h"


static ngx_int_t
ngx_http_certctl_add_listen(ngx_conf_t *cf, ngx_http_conf_addr_t *addr)
{
    ngx_uint_t                     s;
    ngx_http_core_srv_conf_t     **cscfp;
    ngx_http_certctl_srv_conf_t   *scf;

    cscfp = addr->servers.elts;

    for (s = 0; s < addr->servers.nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];

        if (ngx_certctl_conf_listen(cf, &scf->common, &addr->opt.addr_text,
                                    addr->servers.nelts,
                                    cscfp[s] == addr->default_server)
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
    ngx_http_ssl_srv_conf_t  *sscf, *prev;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_ssl_module);
    prev = mcf->http_ctx.srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf->reject_handshake == 1
        || (sscf->reject_handshake == NGX_CONF_UNSET
            && prev->reject_handshake == 1))
    {
        return NGX_CONF_OK;
    }

    return ngx_certctl_conf_complete(cf, &scf->common, prev->certificates,
                                     &sscf->certificates,
                                     &sscf->certificate_keys);
}


/* The names are in memory that goes when the configuration is complete. */

static ngx_int_t
ngx_http_certctl_copy_names(ngx_conf_t *cf, ngx_certctl_claims_t *claims,
    ngx_http_core_srv_conf_t *cscf)
{
    ngx_uint_t                    i;
    ngx_http_server_name_t       *sn;
    ngx_http_certctl_srv_conf_t  *scf;

    scf = cscf->ctx->srv_conf[ngx_http_certctl_module.ctx_index];
    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (ngx_certctl_server_name(cf, claims, &scf->common, scf->server,
                                    &sn[i].name, ngx_certctl_is_regex(&sn[i]))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_certctl_init_server(ngx_conf_t *cf,
    ngx_certctl_server_t *server, ngx_http_core_srv_conf_t *cscf)
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
    server->protocol = "http";
    server->file.data = cscf->file_name;
    server->file.len = ngx_strlen(cscf->file_name);
    server->line = cscf->line;
    server->listens = *scf->common.listens;
    server->agent = scf->agent;
    server->reject = sscf->reject_handshake;
    server->placeholder = scf->common.placeholder;
    server->first = scf->common.first;

    if (scf->agent) {
        ngx_str_set(&server->pinned, CERTCTL_WIRE_IDENTITY);

    } else {
        server->pinned = scf->common.certificate;
    }

    if (sscf->certificate_values) {
        server->expressions = sscf->certificates;
        server->cert_cb = ngx_http_ssl_certificate;
        server->cert_arg = sscf;
    }

    return ngx_certctl_server_hook(cf, server);
}


static ngx_int_t
ngx_http_certctl_each_server(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf, ngx_certctl_claims_t *claims)
{
    ngx_uint_t                    s;
    ngx_http_core_srv_conf_t    **cscfp;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_http_ssl_srv_conf_t      *sscf;
    ngx_http_certctl_srv_conf_t  *scf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (s = 0; s < cmcf->servers.nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_http_certctl_module.ctx_index];
        sscf = cscfp[s]->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

        /* every one: the default server's context decides, whoever it is */

        if (ngx_certctl_sessions_add(cf, &mcf->certctl, sscf->ssl.ctx, "http",
                                     scf->common.placeholder
                                     ? &cscfp[s]->server_name
                                     : sscf->certificate_values
                                     ? sscf->certificates->elts : NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!scf->common.tls) {
            continue;
        }

        if (scf->common.enable || scf->agent) {
            scf->server = ngx_certctl_server_add(cf, &mcf->certctl);
            if (scf->server == NULL) {
                return NGX_ERROR;
            }
        }

        if (ngx_http_certctl_copy_names(cf, claims, cscfp[s]) != NGX_OK
            || (scf->server
                && ngx_http_certctl_init_server(cf, scf->server, cscfp[s])
                   != NGX_OK))
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * OpenSSL has one place for each callback and does not tell who had it before,
 * so nobody can be asked whether this configuration uses what is replaced.
 */

static void
ngx_http_certctl_beside_lua(ngx_conf_t *cf)
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
ngx_http_certctl_init_servers(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf)
{
    ngx_int_t             rc;
    ngx_certctl_claims_t  claims;

    if (ngx_certctl_claims_begin(&claims, cf->log) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_certctl_each_server(cf, mcf, &claims);

    ngx_certctl_claims_end(&claims);

    ngx_http_certctl_beside_lua(cf);

    return rc;
}
