/* JSON Web Signatures in the flattened form (RFC 7515 7.2.2), and their keys. */
#pragma once
#include "error.h"
#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

/* Base64url without padding (RFC 7515 2); free() it.  NULL: out of memory. */
char *jose_encode(const void *data, size_t len);

/* The octets of text, to be freed with OPENSSL_clear_free(); NULL when it is not
 * base64url.  Padding at the end is accepted. */
unsigned char *jose_decode(const char *text, size_t *len);

/* Public key of an EC P-256 key as JWK (RFC 7517, RFC 7518 6.2.1); json_decref.
 * NULL for any other key. */
json_t *jose_jwk(const EVP_PKEY *key);

/* RFC 7638: SHA-256 of the JWK, base64url; free() it. */
char *jose_thumbprint(const EVP_PKEY *key);

/*
 * {"protected", "payload", "signature"} over payload, signed with ES256
 * (RFC 7518 3.4).  header is stolen and gains "alg"; payload is text, "" for
 * POST-as-GET (RFC 8555 6.3).  json_decref; NULL with err.
 */
json_t *jose_sign(EVP_PKEY *key, json_t *header, const char *payload,
    struct error *err);

/* The same with HMAC-SHA-256 (RFC 7518 3.2) under secret. */
json_t *jose_mac(const unsigned char *secret, size_t len, json_t *header,
    const char *payload, struct error *err);
