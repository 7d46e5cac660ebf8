
/* The addresses of stream{} where TLS is spoken. */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>

#include "stream/stream_module.h"
#include "tls/address.h"


#if (NGX_CERTCTL_STREAM_NAMES)

static SSL_CTX *
ngx_stream_certctl_ctx(ngx_stream_core_srv_conf_t *cscf)
{
    ngx_stream_ssl_srv_conf_t  *sscf;

    sscf = cscf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    return sscf->ssl.ctx;
}


static SSL_CTX *
ngx_stream_certctl_find_ctx(void *data, ngx_str_t *name, ngx_str_t *host)
{
    ngx_stream_addr_conf_t *conf = data;

    SSL_CTX                     *ctx;
    ngx_stream_core_srv_conf_t  *cscf;
    ngx_stream_virtual_names_t  *names;
#if (NGX_PCRE)
    ngx_uint_t                   i;
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

    ctx = cscf ? ngx_stream_certctl_ctx(cscf) : NULL;

    return ctx ? ctx : ngx_stream_certctl_ctx(conf->default_server);
}

#else

static SSL_CTX *
ngx_stream_certctl_find_ctx(void *data, ngx_str_t *name, ngx_str_t *host)
{
    ngx_stream_addr_conf_t *conf = data;

    ngx_certctl_stream_ssl_t  *sscf;

    sscf = conf->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

    return sscf->ssl.ctx;
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
                && ngx_certctl_address_add(cycle, certctl, conf,
                                           ngx_stream_certctl_find_ctx)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
