
/*
 * TLS-ALPN-01 (RFC 8737), on any server of this host: tls/acme.c.
 */

#ifndef _NGX_CERTCTL_ACME_H_INCLUDED_
#define _NGX_CERTCTL_ACME_H_INCLUDED_


#include "cert/certctl.h"
#include "cert/self_signed.h"


/* Creates certctl->acme.  NGX_ERROR after logging why. */
ngx_int_t ngx_certctl_acme_init(ngx_conf_t *cf, ngx_certctl_t *certctl);
void ngx_certctl_acme_free(ngx_certctl_t *certctl);

/*
 * Sets the ClientHello callback of ctx.  A connection whose challenge is
 * answered is closed by close, as NGINX closes one whose handshake has failed;
 * with NULL no challenge is answered, and only flushed sessions are refused.
 */
ngx_int_t ngx_certctl_acme_set_callback(ngx_conf_t *cf, ngx_certctl_t *certctl,
    SSL_CTX *ctx, ngx_connection_handler_pt close);


#endif /* _NGX_CERTCTL_ACME_H_INCLUDED_ */
