
/*
 * The self-signed certificate that is served until one is stored.
 */

#ifndef _NGX_CERTCTL_PLACEHOLDER_H_INCLUDED_
#define _NGX_CERTCTL_PLACEHOLDER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CERTCTL_PLACEHOLDER_NAME  "certctl.invalid"


/*
 * Certificate and key as values of ssl_certificate and ssl_certificate_key
 * ("data:" and PEM).  Made at the first call and then the same until the
 * process exits, so that a reload does not change it (and with it the session
 * id context); in memory only.  NGX_ERROR after logging why.
 */
ngx_int_t ngx_certctl_placeholder_values(ngx_conf_t *cf, ngx_array_t **certs,
    ngx_array_t **keys);

/* When a process exits: wipes the key's text. */
void ngx_certctl_placeholder_free(void);


#endif /* _NGX_CERTCTL_PLACEHOLDER_H_INCLUDED_ */
