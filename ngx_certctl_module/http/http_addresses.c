
/* The addresses of http{} where TLS is spoken. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/http_module.h"
#include "tls/address.h"


static SSL_CTX *
ngx_http_certctl_server_ctx(void *server)
{
    ngx_http_core_srv_conf_t *cscf = server;

    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    return sscf->ssl.ctx;
}


static ngx_int_t
ngx_http_certctl_add_address(ngx_cycle_t *cycle, ngx_certctl_t *certctl,
    ngx_http_addr_conf_t *conf)
{
    SSL_CTX                   *ctx;
    ngx_certctl_address_t     *address;
    ngx_http_virtual_names_t  *names;
#if (NGX_PCRE)
    ngx_uint_t                 i;
#endif

    if (!ngx_certctl_conf_tls(conf)) {
        return NGX_OK;
    }

    ctx = ngx_http_certctl_server_ctx(conf->default_server);
    names = conf->virtual_names;

    address = ngx_certctl_address_add(cycle, certctl, ctx);
    if (address == NULL) {
        return NGX_ERROR;
    }

    if (names == NULL) {
        return NGX_OK;
    }

    address->names = &names->names;
    address->server_ctx = ngx_http_certctl_server_ctx;

#if (NGX_PCRE)

    for (i = 0; i < names->nregex; i++) {
        ctx = ngx_http_certctl_server_ctx(names->regex[i].server);

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


ngx_int_t
ngx_http_certctl_add_addresses(ngx_cycle_t *cycle, ngx_certctl_t *certctl)
{
    ngx_uint_t             i, a;
    ngx_listening_t       *ls;
    ngx_http_port_t       *port;
    ngx_http_addr_conf_t  *conf;

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {

        /* with reuseport each worker has a copy */

        if (ls[i].handler != ngx_http_init_connection || ls[i].worker) {
            continue;
        }

        port = ls[i].servers;

        for (a = 0; a < port->naddrs; a++) {

#if (NGX_HAVE_INET6)
            conf = ls[i].sockaddr->sa_family == AF_INET6
                   ? &((ngx_http_in6_addr_t *) port->addrs)[a].conf
                   : &((ngx_http_in_addr_t *) port->addrs)[a].conf;
#else
            conf = &((ngx_http_in_addr_t *) port->addrs)[a].conf;
#endif

            if (ngx_http_certctl_add_address(cycle, certctl, conf) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
