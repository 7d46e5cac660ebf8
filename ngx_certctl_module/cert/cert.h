
/*
 * One certificate's facts: cert/cert.c.
 */

#ifndef _NGX_CERTCTL_CERT_H_INCLUDED_
#define _NGX_CERTCTL_CERT_H_INCLUDED_


#include "cert/certctl.h"


/* Fills what x509 says of itself; zeroes the rest.  x509 stays the caller's.
   NULL, or the rule that x509 breaks. */
const char *ngx_certctl_cert_fill(ngx_certctl_cert_t *cert,
    X509 *x509);

/* Describes the current certificate of ctx, a static one; nothing of it is
   owned, and X509 objects that NGINX made are never changed. */
void ngx_certctl_cert_borrow(ngx_certctl_cert_t *cert,
    SSL_CTX *ctx);

/* Forgets the staple, the only thing a borrowed certificate owns. */
void ngx_certctl_cert_unstaple(ngx_certctl_cert_t *cert);

/* Frees its compressed forms. */
void ngx_certctl_cert_uncompress(ngx_certctl_cert_t *cert);

/* Whether cert may be served at now. */
ngx_uint_t ngx_certctl_cert_valid(ngx_certctl_cert_t *cert,
    time_t now);


#endif /* _NGX_CERTCTL_CERT_H_INCLUDED_ */
