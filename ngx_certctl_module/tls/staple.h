
/*
 * OCSP stapling (RFC 6066 section 8): tls/staple.c.
 */

#ifndef _NGX_CERTCTL_STAPLE_H_INCLUDED_
#define _NGX_CERTCTL_STAPLE_H_INCLUDED_


#include "cert/certctl.h"


/* The status callback of each server's context; arg is the server. */
int ngx_certctl_status_cb(SSL *ssl, void *arg);


#endif /* _NGX_CERTCTL_STAPLE_H_INCLUDED_ */
