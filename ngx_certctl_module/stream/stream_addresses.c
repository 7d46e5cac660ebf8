
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
ngx_stream_certctl_add_names(ngx_certctl_address_t *address,
    ngx_stream_addr_conf_t *conf)
{
    ngx_uint_t                    i;
    ngx_stream_virtual_names_t   *names;
    ngx_certctl_address_regex_t  *regex;

    address->ctx = ngx_stream_certctl_ctx(conf->default_server->ctx);
    address->server_ctx = ngx_stream_certctl_server_ctx;

    names = conf->virtual_names;

    if (names == NULL) {
        return NGX_OK;
    }

    address->names = &names->names;

    for (i = 0; i < names->nregex; i++) {
        regex = ngx_array_push(&address->regexes);
        if (regex == NULL) {
            return NGX_ERROR;
        }

#if (NGX_PCRE)
        regex->regex = names->regex[i].regex->regex;
#endif
        regex->ctx = ngx_stream_certctl_server_ctx(names->regex[i].server);
    }

    return NGX_OK;
}

#else

static ngx_int_t
ngx_stream_certctl_add_names(ngx_certctl_address_t *address,
    ngx_stream_addr_conf_t *conf)
{
    address->ctx = ngx_stream_certctl_ctx(conf->ctx);

    return NGX_OK;
}

#endif


ngx_int_t
ngx_stream_certctl_add_addresses(ngx_cycle_t *cycle, ngx_certctl_t *certctl)
{
    ngx_uint_t               i, a;
    ngx_listening_t         *ls;
    ngx_stream_port_t       *port;
    ngx_certctl_address_t   *address;
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

            if (!conf->ssl) {
                continue;
            }

            address = ngx_certctl_address_add(cycle, certctl);

            if (address == NULL
                || ngx_stream_certctl_add_names(address, conf) != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}
