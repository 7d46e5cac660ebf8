/* What a certificate says about itself (RFC 5280). Ground floor: OpenSSL only. */
#pragma once
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#define CERTCTL_HEX256  65       /* a SHA-256 in lower-case hex, and its NUL */

struct certctl_x509_info {
    time_t  not_before;                    /* seconds since 1970, UTC */
    time_t  not_after;
    char    serial[64];                    /* lower-case hex, no leading "0x" */
    unsigned char  digest[32];             /* SHA-256 of the DER */
    char    fingerprint[CERTCTL_HEX256];   /* the same in hex */
    char    spki[CERTCTL_HEX256];          /* SHA-256 of SubjectPublicKeyInfo */
    char    key_type[16];                  /* wire.h's text, or "other" */
    int     key_bits;
    bool    is_ca;                         /* basicConstraints cA (4.2.1.9) */
    bool    self_issued;                   /* subject equals issuer */
    bool    must_staple;                   /* RFC 7633 TLS feature 5 */
};

/* NULL, or the rule that cert breaks. Allocates nothing that outlives the call. */
const char *certctl_x509_info(X509 *cert, struct certctl_x509_info *ret);

/* Lower-case hex of n bytes into out, which holds 2 n + 1. */
void certctl_hex(const unsigned char *in, size_t n, char *out);

/*
 * Calls fn for each subjectAltName with kind "DNS", "IP", "email" or "URI" and its
 * text (RFC 5280 4.2.1.6; IPv6 as RFC 5952 writes it), until fn returns false.
 * A name with an embedded NUL is passed over. Returns how many fn has seen.
 */
typedef bool certctl_san_fn(const char *kind, const char *text, void *data);
int certctl_x509_each_san(X509 *cert, certctl_san_fn *fn, void *data);
int certctl_names_each(const GENERAL_NAMES *names, certctl_san_fn *fn, void *data);

/* Whether cert is valid for a host: DNS name (wildcards as RFC 6125) or IP text. */
bool certctl_x509_covers(X509 *cert, const char *host);

/* Whether cert carries this exact URI SAN. */
bool certctl_x509_has_uri(X509 *cert, const char *uri);

/* Distinguished names as RFC 4514 text; false when it does not fit in size. */
bool certctl_x509_subject(X509 *cert, char *out, size_t size);
bool certctl_x509_issuer(X509 *cert, char *out, size_t size);

/* commonName of the subject, or "" (RFC 5280 4.1.2.6). */
void certctl_x509_common_name(X509 *cert, char *out, size_t size);

/* First OCSP responder of authorityInfoAccess (4.2.2.1), "" when none. */
void certctl_x509_ocsp_url(X509 *cert, char *out, size_t size);
