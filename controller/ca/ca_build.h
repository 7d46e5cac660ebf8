/* What the files of this room share: serials, names, extensions, the signature. */
#pragma once
#include "ca.h"

/* ca_serial.c */

/* 1 to 40 hex digits, not zero (RFC 5280 4.1.2.2); NULL with err. */
ASN1_INTEGER *ca_serial_parse(const char *hex, struct error *err);

/* Lower-case hex; false for zero, a negative one or more than 20 octets. */
bool ca_serial_text(const ASN1_INTEGER *serial, char out[CA_SERIAL_HEX]);

/* ca_extension.c */

/* One extension in the words of openssl's x509v3_config(5): constants only. */
bool ca_extension_add(X509 *cert, X509 *issuer, int nid, const char *value,
    struct error *err);

/* subjectAltName of "DNS:a,IP:192.0.2.1" (4.2.1.6). */
bool ca_extension_sans(X509 *cert, const char *sans, bool critical,
    struct error *err);

/* authorityInfoAccess and cRLDistributionPoints (4.2.2.1, 4.2.1.13); NULL and "" are
 * left out. */
bool ca_extension_urls(X509 *cert, const char *ocsp, const char *ca_issuers,
    const char *crl, struct error *err);

/* ca_sign.c */

/* NULL for keys that hash for themselves (Ed25519). */
const EVP_MD *ca_digest(const EVP_PKEY *key);

/* Version, serial, subject (an empty one for NULL), issuer, validity and key. */
bool ca_cert_begin(X509 *cert, X509 *issuer, EVP_PKEY *key, const char *serial,
    const char *common_name, struct error *err);

/* Cut to the validities of issuer and of all above it; NULL for a root. */
bool ca_cert_validity(X509 *cert, const struct ca *issuer, time_t not_before,
    time_t not_after, struct error *err);

/* Signs and looks at the signature: a wrong one can betray the key. */
bool ca_cert_sign(X509 *cert, EVP_PKEY *issuer_key, struct error *err);

/* Seconds since 1970; false when at cannot be read. */
bool ca_time(const ASN1_TIME *at, time_t *ret);
