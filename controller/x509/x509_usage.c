/* Whether key usage and extended key usage of a leaf let a TLS server use it. */
#include "x509_usage.h"


bool
certctl_usage_signs(X509 *leaf)
{
    /* without the extension all bits are set */

    return X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE;
}


/*
 * Each handshake of TLS 1.3 is signed, and each of TLS 1.2 but those with RSA key
 * exchange, for which the client encrypts to the key.
 */
const char *
certctl_usage_check(X509 *leaf)
{
    EVP_PKEY  *key = X509_get0_pubkey(leaf);

    if (!(X509_get_extended_key_usage(leaf) & (XKU_SSL_SERVER | XKU_ANYEKU))) {
        return "the leaf's extended key usage lacks serverAuth"
               " (RFC 5280 4.2.1.12)";
    }

    if (certctl_usage_signs(leaf)) {
        return NULL;
    }

    if (key == NULL || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        return "the leaf's key usage lacks digitalSignature, without which its"
               " type of key serves no handshake (RFC 8446 4.4.2.2,"
               " RFC 8422 5.3)";
    }

    return X509_get_key_usage(leaf) & KU_KEY_ENCIPHERMENT
           ? NULL
           : "the leaf's key usage has neither digitalSignature nor"
             " keyEncipherment (RFC 8446 4.4.2.2, RFC 5246 7.4.2)";
}


const char *
certctl_usage_warning(X509 *leaf)
{
    if (!certctl_usage_signs(leaf)) {
        return "the key usage lacks digitalSignature: only clients that use"
               " RSA key exchange of TLS 1.2 can connect (RFC 8446 4.4.2.2)";
    }

    return X509_get_extended_key_usage(leaf) & XKU_SSL_SERVER
           ? NULL
           : "the extended key usage is anyExtendedKeyUsage without"
             " serverAuth: some clients refuse it (RFC 5280 4.2.1.12)";
}
