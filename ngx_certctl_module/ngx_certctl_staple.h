
/*
 * OCSP stapling (RFC 6066 section 8): ngx_certctl_staple.c.
 */

#ifndef _NGX_CERTCTL_STAPLE_H_INCLUDED_
#define _NGX_CERTCTL_STAPLE_H_INCLUDED_


#include "ngx_certctl.h"


/* The status callback of each server's context; arg is the server. */
int ngx_certctl_status_cb(SSL *ssl, void *arg);


#endif /* _NGX_CERTCTL_STAPLE_H_INCLUDED_ */
