
/*
 * OCSP stapling (RFC 6066 section 8): ngx_http_certctl_staple.c.
 */

#ifndef _NGX_HTTP_CERTCTL_STAPLE_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_STAPLE_H_INCLUDED_


#include "ngx_http_certctl_module.h"


/* The status callback of each server's context; arg is the server. */
int ngx_http_certctl_status_cb(SSL *ssl, void *arg);


#endif /* _NGX_HTTP_CERTCTL_STAPLE_H_INCLUDED_ */
