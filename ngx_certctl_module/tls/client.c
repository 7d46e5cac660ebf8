
/*
 * Tells from a ClientHello which key types its client supports.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/handshake.h"


/* Whether both sides have a cipher suite of TLS 1.2 for this key type. */

static ngx_uint_t
ngx_certctl_client_suite(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int                    i, nid;
    const SSL_CIPHER      *suite;
    STACK_OF(SSL_CIPHER)  *suites, *own;

    suites = SSL_get_client_ciphers(ssl);
    own = SSL_get_ciphers(ssl);
    nid = (cert->kind == CERTCTL_KIND_RSA) ? NID_auth_rsa : NID_auth_ecdsa;

    for (i = 0; i < sk_SSL_CIPHER_num(suites); i++) {
        suite = sk_SSL_CIPHER_value(suites, i);

        if (SSL_CIPHER_get_auth_nid(suite) == nid
            && sk_SSL_CIPHER_find(own, suite) >= 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_certctl_client_supports(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int  flags;

    ERR_set_mark();
    flags = SSL_check_chain(ssl, cert->x509, cert->key, cert->chain);
    ERR_pop_to_mark();

    /* in TLS 1.3 a signature scheme names the curve, too: RFC 8446 4.2.3 */

    if (SSL_version(ssl) >= TLS1_3_VERSION) {
        return (flags & CERT_PKEY_EE_SIGNATURE) != 0;
    }

    return (flags & CERT_PKEY_SIGN) && (flags & CERT_PKEY_EE_PARAM)
           && ngx_certctl_client_suite(ssl, cert);
}
