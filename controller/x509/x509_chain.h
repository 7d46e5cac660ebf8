/* Certificate chains as they are served: leaf first (RFC 8446 4.4.2). */
#pragma once
#include "x509_pem.h"
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/*
 * The certificates of a PEM text, in order: of a text with a key or an OCSP
 * response in it, none. At most wire.h's CERTCTL_CHAIN_DEPTH. NULL with the rule
 * in *why; free with sk_X509_pop_free(chain, X509_free).
 */
STACK_OF(X509) *certctl_chain_from_pem(const char *pem, size_t len,
    const char **why);

/*
 * For who reads many chains of the same CAs: parsing one costs more than finding
 * it. get() is d2i_X509 for every certificate but the leaf, and may return a
 * reference to one that it made of the same bytes before.
 */
struct certctl_chain_keep {
    X509  *(*get)(const unsigned char **p, long len, void *data);
    void   *data;
};

/* The certificates of a text that was read; keep may be NULL. */
STACK_OF(X509) *certctl_chain_from_bundle(
    const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, const char **why);

/* The same of DER certificates that stand one behind the other. */
STACK_OF(X509) *certctl_chain_from_der(const unsigned char *der, size_t len,
    const char **why);

/* PEM text of a chain, NUL-terminated, OPENSSL_free it. */
char *certctl_chain_to_pem(STACK_OF(X509) *chain);

/*
 * NULL when chain may be served at now: the leaf is no CA, each certificate is
 * issued and signed by the next, none is expired or not yet valid, keys are not
 * weak, the leaf may authenticate servers (RFC 5280 4.2.1.12), and key, unless
 * NULL, is the leaf's. Else the rule that is broken.
 */
const char *certctl_chain_check(STACK_OF(X509) *chain, EVP_PKEY *key, time_t now);

/* The part of it that is about CAs: certs from first on, the first the leaf's issuer. */
const char *certctl_cas_check(STACK_OF(X509) *certs, int first, time_t now);

/*
 * NULL when the leaf's SANs are just those of sans (certctl_csr_build's form,
 * order and letter case, but in URIs, do not matter). Else the rule.
 */
const char *certctl_chain_names_equal(STACK_OF(X509) *chain, const char *sans);
const char *certctl_names_are(const GENERAL_NAMES *have, const char *sans);

/* The same of what another certificate carries. */
const char *certctl_names_equal(const GENERAL_NAMES *have, const GENERAL_NAMES *want);
