/* Private keys and certification requests: RFC 5958, RFC 2986. */
#pragma once
#include "x509_pem.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* What the hash of a signature must resist: leaves out MD5 and SHA-1 (RFC 9155). */
#define CERTCTL_SIGNATURE_BITS_MIN  112

/* A new key of a wire.h type ("ec-p256", ...); NULL for an unknown type or failure. */
EVP_PKEY *certctl_key_generate(const char *type);

bool certctl_key_type_known(const char *type);

/* wire.h's text for key, or "other". Never NULL. */
const char *certctl_key_type(const EVP_PKEY *key);

/* NULL, or the rule that a public key breaks: RSA below 2048 bits, an unknown curve... */
const char *certctl_key_check(EVP_PKEY *key);

/* PKCS#8 DER; *ret is OPENSSL_malloc'ed, free it with OPENSSL_clear_free. -1 on failure. */
int certctl_key_to_der(EVP_PKEY *key, unsigned char **ret);
EVP_PKEY *certctl_key_from_der(const unsigned char *der, size_t len);

/*
 * The private key of a PEM text, with what else is in it passed over; it must not
 * be encrypted. NULL with the rule in *why.
 */
EVP_PKEY *certctl_key_from_pem(const char *pem, size_t len, const char **why);
EVP_PKEY *certctl_key_from_bundle(const struct certctl_pem_bundle *bundle,
    const char **why);

/*
 * A request for sans, comma-separated "DNS:a,IP:192.0.2.1,URI:urn:x" in the order
 * given, with an empty subject and so a critical subjectAltName (RFC 5280 4.2.1.6),
 * signed by key; must_staple adds the TLS feature extension (RFC 7633).
 * NULL with the rule in *why.
 */
X509_REQ *certctl_csr_build(EVP_PKEY *key, const char *sans, bool must_staple,
    const char **why);

/* NULL, or the rule that sans breaks ("DNS:..." names as RFC 5890 A-labels, count, length). */
const char *certctl_sans_check(const char *sans);

/* One PEM request; checks size, its self-signature and its key. NULL with the rule in *why. */
X509_REQ *certctl_csr_from_pem(const char *pem, size_t len, const char **why);

/* The request's SANs in certctl_csr_build's form, OPENSSL_free it; NULL when none. */
char *certctl_csr_sans(X509_REQ *req);
bool certctl_csr_must_staple(X509_REQ *req);

/* PEM text, OPENSSL_free it. */
char *certctl_csr_to_pem(X509_REQ *req);
