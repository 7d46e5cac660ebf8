/* The server's side of TLS. */
#pragma once
#include "error.h"
#include <openssl/ssl.h>

/* TLS 1.3 only, with this chain (leaf first) and key. */
SSL_CTX *tls_new(const char *cert_pem, const char *key_pem, struct error *err);
