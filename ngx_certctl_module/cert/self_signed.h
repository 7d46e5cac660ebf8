
/* Certificates that the module signs with their own key. */

#ifndef _NGX_CERTCTL_SELF_SIGNED_H_INCLUDED_
#define _NGX_CERTCTL_SELF_SIGNED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/x509.h>

#include "zone/challenge.h"


typedef struct {
    const char   *name;         /* NULL behind the last one */
    const char   *value;        /* in the syntax of x509v3_config(5) */
} ngx_certctl_extension_t;

typedef struct {
    const char   *cn;           /* subject and issuer */
    time_t        backdate;     /* notBefore is that many seconds ago, as the
                                   clocks of clients differ */
    time_t        lifetime;     /* seconds from now to notAfter */

    const ngx_certctl_extension_t  *extensions;
} ngx_certctl_self_signed_t;


/*
 * A certificate of version 3 with a random serial number (RFC 5280 4.1.2.2)
 * for key, an EC key, signed with it; to be freed by X509_free().  NULL with
 * OpenSSL's error.
 */
X509 *ngx_certctl_self_signed(EVP_PKEY *key,
    const ngx_certctl_self_signed_t *form);

/* The same: the certificate that answers a TLS-ALPN-01 challenge (RFC 8737 3,
   RFC 8738 6). */
X509 *ngx_certctl_acme_cert(ngx_certctl_challenge_t *challenge, EVP_PKEY *key);


#endif /* _NGX_CERTCTL_SELF_SIGNED_H_INCLUDED_ */
