
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
             || ngx_certctl_address_serves(&certctl,
                                           put->chain.leaf.digest);

    ngx_certctl_cache_destroy(certctl.cache);
    ngx_destroy_pool(cf.pool);

    return served ? NULL
           : certctl_rule("the certificate is for %s, "
                          NGX_HTTP_CERTCTL_NO_SNI_RULE, ip);
}
