
/*
 * The TLS servers of stream{}: completed while they are merged, and added to
 * the servers of the HTTP module.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_stream.h>

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
    ngx_certctl_srv_conf_t        *scf, *by_default;
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
            by_default = addr[a].default_server->ctx->srv_conf
                                         [ngx_stream_certctl_module.ctx_index];

            for (s = 0; addr[a].opt.ssl && s < addr[a].servers.nelts; s++) {

                scf = cscfp[s]->ctx->srv_conf
                                         [ngx_stream_certctl_module.ctx_index];

                if (ngx_certctl_conf_listen(cf, scf, &addr[a].opt.addr_text,
                                            by_default)
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
            && ngx_certctl_conf_listen(cf, scf, &listen[i].addr_text, scf)
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
    char                        *rv;
    ngx_uint_t                   verify;
    ngx_certctl_stream_ssl_t    *sscf, *prev;
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);
    sscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_ssl_module);
    prev = mcf->stream_ctx.srv_conf[ngx_stream_ssl_module.ctx_index];

    verify = ngx_certctl_inherited(sscf, prev, verify, NGX_CONF_UNSET_UINT);

    if (ngx_certctl_stream_rejects(sscf, prev)
        || ngx_certctl_conf_incomplete(cf, scf, verify,
                                       ngx_certctl_client_ca(sscf)
                                       + ngx_certctl_client_ca(prev),
                                       cscf->file_name, cscf->line))
    {
        return NGX_CONF_OK;
    }

    rv = ngx_certctl_conf_complete(cf, scf, prev->certificates,
                                   &sscf->certificates,
                                   &sscf->certificate_keys);

    /* NGINX would warn of the placeholder's missing issuer */

    if (scf->placeholder) {
        ngx_certctl_stream_no_stapling(sscf);
    }

    return rv;
}


static void
ngx_stream_certctl_close(ngx_connection_t *c)
{
    ngx_stream_finalize_session(c->data, NGX_STREAM_OK);
}


/* ssl_certificate with variables: that of the SSL module is static. */

static int
ngx_stream_certctl_variable_cb(SSL *ssl, void *arg)
{
    ngx_certctl_stream_ssl_t *sscf = arg;

    ngx_str_t                    cert, key;
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_stream_complex_value_t  *certs, *keys;

    c = ngx_ssl_get_connection(ssl);
    certs = sscf->certificate_values->elts;
    keys = sscf->certificate_key_values->elts;

    for (i = 0; i < sscf->certificate_values->nelts; i++) {

        if (ngx_stream_complex_value(c->data, &certs[i], &cert) != NGX_OK
            || ngx_stream_complex_value(c->data, &keys[i], &key) != NGX_OK
            || ngx_certctl_connection_certificate(c, &cert, &key, sscf)
               != NGX_OK)
        {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_stream_certctl_add_server(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_stream_core_srv_conf_t *cscf)
{
    ngx_certctl_block_t        block;
    ngx_certctl_srv_conf_t    *scf;
    ngx_certctl_stream_ssl_t  *sscf;
#if (NGX_CERTCTL_STREAM_NAMES)
    ngx_uint_t                 i;
    ngx_stream_server_name_t  *sn;
#endif

    scf = cscf->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];
    sscf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    if (!scf->tls || sscf->ssl.ctx == NULL) {
        return NGX_OK;
    }

    ngx_certctl_block_init(&block, cscf, sscf, ngx_stream_certctl_variable_cb);

    block.conf = scf;
    block.name = &ngx_stream_certctl_nameless;
    block.ticket_name = scf->certificate.len ? &scf->certificate : block.name;
    block.close = ngx_stream_certctl_close;
    block.server.protocol = "stream";
    block.server.reject = ngx_certctl_stream_rejects(sscf, sscf);

    if (ngx_certctl_server_add(cf, certctl, &block) != NGX_OK) {
        return NGX_ERROR;
    }

#if (NGX_CERTCTL_STREAM_NAMES)

    /* copied, because NGINX frees them when the configuration is complete */

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (ngx_certctl_server_name(cf, scf->server, &sn[i].name,
                                    ngx_certctl_is_regex(&sn[i]))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}


/* NULL without a store; NGINX may have no http{}. */

static ngx_certctl_t *
ngx_stream_certctl_find_store(ngx_cycle_t *cycle,
    ngx_stream_certctl_main_conf_t *mcf)
{
    ngx_http_certctl_main_conf_t  *http;

    http = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_certctl_module);

    if (http == NULL || !http->used) {
        return NULL;
    }

    if (http->thread_pool == NULL) {
        http->thread_pool = mcf->thread_pool;
    }

    return &http->certctl;
}


ngx_int_t
ngx_stream_certctl_init_servers(ngx_cycle_t *cycle,
    ngx_stream_certctl_main_conf_t *mcf)
{
    ngx_uint_t                     s;
    ngx_conf_t                     cf;
    ngx_certctl_t                 *certctl;
    ngx_certctl_srv_conf_t        *scf;
    ngx_stream_core_srv_conf_t   **cscfp;

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.cycle = cycle;
    cf.pool = cycle->pool;
    cf.log = cycle->log;

    cscfp = mcf->servers->elts;
    certctl = ngx_stream_certctl_find_store(cycle, mcf);

    for (s = 0; s < mcf->servers->nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];

        if (certctl == NULL && (scf->enable || scf->ticket_keys) && scf->tls) {
            ngx_log_error(NGX_LOG_EMERG, cf.log, 0,
                          "no \"certctl_store\" is defined for the stream "
                          "server in %s:%ui: add it to the http block, and a "
                          "server with \"certctl_agent\"",
                          cscfp[s]->file_name, cscfp[s]->line);
            return NGX_ERROR;
        }

        if (certctl
            && ngx_stream_certctl_add_server(&cf, certctl, cscfp[s]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (certctl == NULL) {
        return NGX_OK;
    }

    for (s = 0; s < mcf->servers->nelts; s++) {
        scf = cscfp[s]->ctx->srv_conf[ngx_stream_certctl_module.ctx_index];

        if (ngx_certctl_server_default(&cf, scf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_stream_certctl_add_addresses(cycle, certctl);
}
