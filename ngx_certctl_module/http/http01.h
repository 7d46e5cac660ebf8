
/*
 * Answers to ACME challenges, on every server of this host.
 */

#ifndef _NGX_HTTP_CERTCTL_CHALLENGE_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_CHALLENGE_H_INCLUDED_


#include "call/main_conf.h"


/* For postconfiguration: HTTP-01, where certctl_challenge is on. */
ngx_int_t ngx_http_certctl_init_http01(ngx_conf_t *cf);

/* The same for TLS-ALPN-01, on every TLS server.  NGX_ERROR after logging
   why. */
ngx_int_t ngx_http_certctl_init_tlsalpn(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);


#endif /* _NGX_HTTP_CERTCTL_CHALLENGE_H_INCLUDED_ */
