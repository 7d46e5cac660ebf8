
/* The addresses of stream{} where TLS is spoken. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include "stream/stream_module.h"
#include "tls/address.h"


static SSL_CTX *
ngx_stream_certctl_ctx(ngx_stream_conf_ctx_t *ctx)
{
    ngx_certctl_stream_ssl_t  *sscf;

    sscf = ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    return sscf->ssl.ctx;
}


#if (NGX_CERTCTL_STREAM_NAMES)

static SSL_CTX *
ngx_stream_certctl_server_ctx(void *server)
{
    return ngx_stream_certctl_ctx(((ngx_stream_core_srv_conf_t *) server)->ctx);
}


static ngx_int_t
ngx_stream_certctl_add_address(ngx_cycle_t *cycle, ngx_certctl_t *certctl,
    ngx_stream_addr_conf_t *conf)
{
    SSL_CTX                     *ctx;
    ngx_certctl_address_t       *address;
    ngx_stream_virtual_names_t  *names;
#if (NGX_PCRE)
    ngx_uint_t                   i;
#endif

    ctx = ngx_stream_certctl_ctx(conf->default_server->ctx);
    names = conf->virtual_names;

    address = ngx_certctl_address_add(cycle, certctl, ctx);
    if (address == NULL) {
        return NGX_ERROR;
    }

    if (names == NULL) {
        return NGX_OK;
    }

    address->names = &names->names;
    address->server_ctx = ngx_stream_certctl_server_ctx;

#if (NGX_PCRE)

    for (i = 0; i < names->nregex; i++) {
        ctx = ngx_stream_certctl_server_ctx(names->regex[i].server);

        if (ngx_certctl_address_regex(address, names->regex[i].regex->regex,
                                      ctx)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

#endif

    return NGX_OK;
}

#else

static ngx_int_t
ngx_stream_certctl_add_address(ngx_cycle_t *cycle, ngx_certctl_t *certctl,
    ngx_stream_addr_conf_t *conf)
{
    return ngx_certctl_address_add(cycle, certctl,
                                   ngx_stream_certctl_ctx(conf->ctx))
           ? NGX_OK : NGX_ERROR;
}

#endif


ngx_int_t
ngx_stream_certctl_add_addresses(ngx_cycle_t *cycle, ngx_certctl_t *certctl)
{
    ngx_uint_t               i, a;
    ngx_listening_t         *ls;
    ngx_stream_port_t       *port;
    ngx_stream_addr_conf_t  *conf;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        /* with reuseport each worker has a copy */

        if (ls[i].handler != ngx_stream_init_connection || ls[i].worker) {
            continue;
        }

        port = ls[i].servers;

        for (a = 0; a < port->naddrs; a++) {

#if (NGX_HAVE_INET6)
            conf = ls[i].sockaddr->sa_family == AF_INET6
                   ? &((ngx_stream_in6_addr_t *) port->addrs)[a].conf
                   : &((ngx_stream_in_addr_t *) port->addrs)[a].conf;
#else
            conf = &((ngx_stream_in_addr_t *) port->addrs)[a].conf;
#endif

            if (conf->ssl
                && ngx_stream_certctl_add_address(cycle, certctl, conf)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
