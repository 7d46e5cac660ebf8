/* TLS servers' certificates of the usual shape, and nothing else, for this room. */
#pragma once
#include "x509_der.h"
#include <openssl/evp.h>

/* How a certificate is signed (RFC 5758 3.2, RFC 8017 A.2.4). */
struct shape_signature {
    unsigned char   der[16];        /* its AlgorithmIdentifier */
    size_t          len;
    int             key_id;         /* of the issuer's key, EVP_PKEY_EC */
    const EVP_MD *(*md)(void);
};

/* What a certificate's key is (RFC 5480 2.1.1, RFC 3279 2.3.1, RFC 8410 3). */
struct shape_key {
    unsigned char   der[24];        /* its AlgorithmIdentifier */
    size_t          len;
    int             id;             /* EVP_PKEY_EC */
    size_t          point;          /* octets of an EC or EdDSA key; 0: RSA */
    int             bits;           /* of its curve; 0: none */
};

/* Where all of it lies in the certificate. */
struct shape {
    size_t                         len;         /* of the certificate */
    struct der                     tbs;         /* what is signed */
    const struct shape_signature  *signature;
    struct der                     signed_by;   /* the signature itself */
    struct der                     issuer;      /* with tag and length, as are
                                                   the next three */
    struct der                     subject;
    struct der                     spki;
    struct der                     san;         /* p NULL: none */
    struct der                     akid;        /* key identifier; p NULL: none */
    const struct shape_key        *key;
    struct der                     point;       /* subjectPublicKey, its octets */
    struct der                     modulus;     /* of RSA, without a zero before */
    struct der                     exponent;
    time_t                         not_before;
    time_t                         not_after;
};

/*
 * Whether the certificate at der is one that a TLS server may show, for all that
 * can be told from its octets, but dates and names: X.509 v3, no CA, for TLS servers,
 * with no extension but those that CAs use and a key that is not weak. Whether a
 * point lies on its curve is not told. False says nothing: OpenSSL is to be asked.
 */
bool certctl_shape_read(const unsigned char *der, size_t len, struct shape *ret);

struct certctl_leaf;

/* certctl_leaf_read() of that certificate; false: OpenSSL is to be asked. */
bool certctl_leaf_shaped(const unsigned char *der, const struct shape *shape,
    struct certctl_leaf *ret);
