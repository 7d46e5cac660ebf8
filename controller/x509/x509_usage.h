/* What a TLS server may do with a certificate's key (RFC 5280 4.2.1.3, 4.2.1.12). */
#pragma once
#include <openssl/x509v3.h>
#include <stdbool.h>

/* NULL, or the rule for which no client may accept leaf from a server. */
const char *certctl_usage_check(X509 *leaf);

/*
 * NULL, or which clients cannot connect to a server with leaf, for which
 * certctl_usage_check() returned NULL.
 */
const char *certctl_usage_warning(X509 *leaf);

/* Whether leaf's key may sign a handshake; else it may only decrypt, as RSA
 * key exchange of TLS 1.2 does. */
bool certctl_usage_signs(X509 *leaf);
