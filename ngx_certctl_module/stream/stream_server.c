
/*
 * The TLS servers of stream{}: completed while they are merged, and given into
 * the HTTP module's care.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_stream.h>

#include "tls/acme.h"
#include "tls/sessions.h"
#include "tls/server.h"
#include "call/main_conf.h"
#include "stream/stream_module.h"


/* stands for a placeholder, which is another one after each start */

static ngx_str_t  ngx_stream_certctl_nameless = ngx_string("placeholder");


#if (NGX_CERTCTL_STREAM_NAMES)

char *
ngx_stream_certctl_find_listens(ngx_conf_t *cf)
{
    ngx_uint_t                     p, a, s;
    ngx_stream_conf_addr_t        *addr;
    ngx_certctl_srv_conf_t        *scf;
    ngx_stream_conf_port_t        *port;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    if (cmcf->ports == NULL) {
        return NGX_CONF_OK;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {
        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {
            cscfp = addr[a].servers.elts;

            for (s = 0; addr[a].opt.ssl && s < addr[a].servers.nelts; s++) {

                scf = cscfp[s]->ctx->srv_conf
                                         [ngx_stream_certctl_module.ctx_index];

                if (ngx_certctl_conf_listen(cf, scf, &addr[a].opt.addr_text,
                                            addr[a].servers.nelts,
                                            cscfp[s]
                                            == addr[a].default_server)
                    != NGX_OK)
                {
                    return NGX_CONF_ERROR;
                }
            }
        }
    }

    return NGX_CONF_OK;
}

#else

char *
ngx_stream_certctl_find_listens(ngx_conf_t *cf)
{
    ngx_uint_t                    i;
    ngx_stream_listen_t          *listen;
    ngx_certctl_srv_conf_t       *scf;
    ngx_stream_core_main_conf_t  *cmcf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    listen = cmcf->listen.elts;

    for (i = 0; i < cmcf->listen.nelts; i++) {
        scf = listen[i].ctx->srv_conf[ngx_stream_certctl_module.ctx_index];

        if (listen[i].ssl
            && ngx_certctl_conf_listen(cf, scf, &listen[i].addr_text, 1, 1)
               != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}

#endif


char *
ngx_stream_certctl_complete(ngx_conf_t *cf,
    ngx_stream_certctl_main_conf_t *mcf, ngx_certctl_srv_conf_t *scf)
{
    ngx_certctl_stream_ssl_t  *sscf, *prev;

    sscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_ssl_module);
    prev = mcf->stream_ctx.srv_conf[ngx_stream_ssl_module.ctx_index];

    if (ngx_certctl_stream_rejects(sscf, prev)) {
        return NGX_CONF_OK;
    }

    return ngx_certctl_conf_complete(cf, scf, prev->certificates,
                                     &sscf->certificates,
                                     &sscf->certificate_keys);
}


static void
ngx_stream_certctl_close(ngx_connection_t *c)
{
    ngx_stream_finalize_session(c->data, NGX_STREAM_OK);
}


/* The names are in memory that goes when the configuration is complete. */

static ngx_int_t
ngx_stream_certctl_copy_names(ngx_conf_t *cf, ngx_certctl_claims_t *claims,
    ngx_certctl_server_t *server, ngx_stream_core_srv_conf_t *cscf)
{
#if (NGX_CERTCTL_STREAM_NAMES)

    ngx_uint_t                 i;
    ngx_certctl_srv_conf_t    *scf;
    ngx_stream_server_name_t  *sn;

    scf = cscf->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];
    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (ngx_certctl_server_name(cf, claims, scf, server, &sn[i].name,
                                    ngx_certctl_is_regex(&sn[i]))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}


static ngx_int_t
ngx_stream_certctl_take_server(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_certctl_claims_t *claims, ngx_stream_core_srv_conf_t *cscf)
{
    ngx_certctl_server_t      *server;
    ngx_certctl_srv_conf_t    *scf;
    ngx_certctl_stream_ssl_t  *sscf;

    scf = cscf->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    if (!scf->tls || sscf->ssl.ctx == NULL) {
        return NGX_OK;
    }

    if (ngx_certctl_sessions_add(cf, certctl, sscf->ssl.ctx, "stream",
                                 scf->placeholder
                                 ? &ngx_stream_certctl_nameless
                                 : sscf->certificate_values
                                 ? sscf->certificates->elts : NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (scf->challenge
        && ngx_certctl_acme_hook(cf, certctl, sscf->ssl.ctx,
                                 ngx_stream_certctl_close)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!scf->enable) {
        return ngx_stream_certctl_copy_names(cf, claims, NULL, cscf);
    }

    /* the callback that loads them is the SSL module's own secret */

    if (sscf->certificate_values) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"certctl on\" and variables in \"ssl_certificate\" "
                      "exclude each other in stream: remove one of them from "
                      "the server in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_ERROR;
    }

    server = ngx_certctl_server_add(cf, certctl);
    if (server == NULL) {
        return NGX_ERROR;
    }

    server->ctx = sscf->ssl.ctx;
    server->protocol = "stream";
    server->file.data = cscf->file_name;
    server->file.len = ngx_strlen(cscf->file_name);
    server->line = cscf->line;
    server->listens = *scf->listens;
    server->pinned = scf->certificate;
    server->reject = ngx_certctl_stream_rejects(sscf, sscf);
    server->placeholder = scf->placeholder;
    server->first = scf->first;

    if (ngx_stream_certctl_copy_names(cf, claims, server, cscf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_certctl_server_hook(cf, server);
}


static ngx_int_t
ngx_stream_certctl_each_server(ngx_conf_t *cf,
    ngx_stream_certctl_main_conf_t *mcf, ngx_certctl_claims_t *claims)
{
    ngx_uint_t                      s;
    ngx_certctl_srv_conf_t         *scf;
    ngx_stream_core_srv_conf_t    **cscfp;
    ngx_http_certctl_main_conf_t   *http;

    http = ngx_http_cycle_get_module_main_conf(cf->cycle,
                                               ngx_http_certctl_module);

    if (http && !http->used) {
        http = NULL;
    }

    cscfp = mcf->servers->elts;

    for (s = 0; s < mcf->servers->nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];

        if (http) {
            if (ngx_stream_certctl_take_server(cf, &http->certctl, claims,
                                               cscfp[s])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } else if (scf->enable && scf->tls) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"certctl on\" of the stream server in %s:%ui has "
                          "no store: add an http block with "
                          "\"certctl_store\" and a server with "
                          "\"certctl_agent\"",
                          cscfp[s]->file_name, cscfp[s]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_stream_certctl_take_over(ngx_cycle_t *cycle,
    ngx_stream_certctl_main_conf_t *mcf)
{
    ngx_int_t             rc;
    ngx_conf_t            cf;
    ngx_certctl_claims_t  claims;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = cycle->log;

    if (ngx_certctl_claims_begin(&claims, cf.log) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_stream_certctl_each_server(&cf, mcf, &claims);

    ngx_certctl_claims_end(&claims);

    return rc;
}
