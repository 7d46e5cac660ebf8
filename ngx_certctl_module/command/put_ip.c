
/*
 * A warning for a certificate with an IP address: clients that connect to an
 * address send no SNI, so they get the default server's certificate.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "cert/cache.h"
#include "command/put.h"
#include "tls/address.h"


static bool
ngx_http_certctl_put_ip_first(const char *kind, const char *text, void *data)
{
    if (ngx_strcmp(kind, "IP") != 0) {
        return true;
    }

    (void) ngx_cpystrn(data, (u_char *) text, NGX_SOCKADDR_STRLEN);

    return false;
}


/* Whether a client without SNI gets the certificate at any address. */

static ngx_uint_t
ngx_http_certctl_put_ip_served(ngx_http_certctl_put_t *put,
    ngx_certctl_t *certctl)
{
    ngx_str_t               none;
    ngx_uint_t              i, kind;
    ngx_certctl_choice_t    choice;
    ngx_certctl_server_t   *server, copy;
    ngx_certctl_address_t  *address;

    ngx_str_set(&none, "");
    address = certctl->addresses.elts;

    for (i = 0; i < certctl->addresses.nelts; i++) {
        server = ngx_certctl_address_server(&address[i], &none);

        if (server == NULL) {
            continue;
        }

        copy = *server;
        copy.certctl = certctl;

        (void) ngx_certctl_choose(&copy, &none, &choice);

        for (kind = 0; kind < CERTCTL_KINDS; kind++) {

            if (choice.cert[kind]
                && ngx_memcmp(choice.cert[kind]->digest,
                              put->chain.leaf.digest, 32)
                   == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/* The worker's parsed copies are the event loop's: a cache for this call. */

const char *
ngx_http_certctl_put_ip(ngx_http_certctl_put_t *put)
{
    char           ip[NGX_SOCKADDR_STRLEN];
    ngx_conf_t     cf;
    ngx_uint_t     served;
    ngx_certctl_t  certctl;

    ip[0] = '\0';
    (void) certctl_names_each(put->chain.leaf.names,
                              ngx_http_certctl_put_ip_first, ip);

    if (ip[0] == '\0' || put->identity) {
        return NULL;
    }

    ngx_memzero(&cf, sizeof(ngx_conf_t));

    cf.log = ngx_cycle->log;
    cf.pool = ngx_create_pool(1024, cf.log);

    if (cf.pool == NULL) {
        return NULL;
    }

    certctl = put->mcf->certctl;
    certctl.cache = ngx_certctl_cache_create(&cf, &certctl, 1);

    served = certctl.cache == NULL
             || ngx_http_certctl_put_ip_served(put, &certctl);

    ngx_certctl_cache_destroy(certctl.cache);
    ngx_destroy_pool(cf.pool);

    return served ? NULL
           : certctl_rule("the certificate is for %s, "
                          NGX_HTTP_CERTCTL_NO_SNI_RULE, ip);
}
