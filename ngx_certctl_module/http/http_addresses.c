
/* The addresses of http{} where TLS is spoken. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "http/http_module.h"
#include "tls/address.h"


static SSL_CTX *
ngx_http_certctl_ctx(ngx_http_core_srv_conf_t *cscf)
{
    ngx_http_ssl_srv_conf_t  *sscf;

    sscf = cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    return sscf->ssl.ctx;
}


static SSL_CTX *
ngx_http_certctl_find_ctx(void *data, ngx_str_t *name, ngx_str_t *host)
{
    ngx_http_addr_conf_t *conf = data;

    SSL_CTX                   *ctx;
    ngx_http_core_srv_conf_t  *cscf;
    ngx_http_virtual_names_t  *names;
#if (NGX_PCRE)
    ngx_uint_t                 i;
#endif

    cscf = NULL;
    names = conf->virtual_names;

    if (names && name->len) {
        cscf = ngx_hash_find_combined(&names->names,
                                      ngx_hash_key(name->data, name->len),
                                      name->data, name->len);
#if (NGX_PCRE)

        for (i = 0; cscf == NULL && i < names->nregex; i++) {

            if (ngx_certctl_regex_matches(names->regex[i].regex->regex, host)) {
                cscf = names->regex[i].server;
            }
        }

#endif
    }

    /* a server without a context leaves the client to the default one */

    ctx = cscf ? ngx_http_certctl_ctx(cscf) : NULL;

    return ctx ? ctx : ngx_http_certctl_ctx(conf->default_server);
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

            if (ngx_certctl_conf_tls(conf)
                && ngx_certctl_address_add(cycle, certctl, conf,
                                           ngx_http_certctl_find_ctx)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
