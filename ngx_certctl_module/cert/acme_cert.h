
/* The certificate that answers a TLS-ALPN-01 challenge (RFC 8737). */

#ifndef _NGX_CERTCTL_ACME_CERT_H_INCLUDED_
#define _NGX_CERTCTL_ACME_CERT_H_INCLUDED_


#include "cert/certctl.h"


/*
 * A certificate that answers the challenge (RFC 8737 3), self-signed with key,
 * to be freed; NULL with OpenSSL's error.
 */
X509 *ngx_certctl_acme_cert(ngx_certctl_challenge_t *challenge,
    EVP_PKEY *key);


#endif /* _NGX_CERTCTL_ACME_CERT_H_INCLUDED_ */
