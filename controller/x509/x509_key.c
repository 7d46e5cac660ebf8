/* Private keys: making, judging, reading and writing them (RFC 5958, RFC 7468). */
#include "wire.h"
#include "x509_key.h"
#include "x509_pem.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>

#define RSA_BITS_MIN  2048     /* CA/Browser Forum BR 6.1.5 */
#define RSA_BITS_MAX  8192     /* beyond it, a handshake is a denial of service */

#define ALGORITHM_EC_P256   EVP_PKEY_EC,      "prime256v1"
#define ALGORITHM_EC_P384   EVP_PKEY_EC,      "secp384r1"
#define ALGORITHM_RSA_2048  EVP_PKEY_RSA,     NULL
#define ALGORITHM_RSA_3072  EVP_PKEY_RSA,     NULL
#define ALGORITHM_RSA_4096  EVP_PKEY_RSA,     NULL
#define ALGORITHM_ED25519   EVP_PKEY_ED25519, NULL

/* To add one: a row in wire.h's CERTCTL_KEY_TYPES and its ALGORITHM_ above. */
static const struct key_type {
    const char  *text;
    int          bits;
    int          id;
    const char  *curve;         /* OpenSSL's name of it */
} key_types[] = {
#define X(name, text, bits)  { text, bits, ALGORITHM_ ## name },
    CERTCTL_KEY_TYPES(X)
#undef X
    { NULL, 0, 0, NULL }
};

/* Curves that a CA above us may use although we make no such keys. */
static const char  *known_curves[] = {
    "prime256v1", "secp384r1", "secp521r1", NULL
};


static const struct key_type *
find_type(const char *text)
{
    const struct key_type  *type;

    for (type = key_types; type->text != NULL; type++) {
        if (strcmp(type->text, text) == 0) {
            return type;
        }
    }

    return NULL;
}


bool
certctl_key_type_known(const char *type)
{
    return find_type(type) != NULL;
}


EVP_PKEY *
certctl_key_generate(const char *text)
{
    const struct key_type  *type = find_type(text);
    EVP_PKEY               *key = NULL;

    if (type == NULL) {
        return NULL;
    }

    ERR_set_mark();

    switch (type->id) {

    case EVP_PKEY_EC:
        key = EVP_EC_gen(type->curve);
        break;

    case EVP_PKEY_RSA:
        key = EVP_RSA_gen(type->bits);
        break;

    case EVP_PKEY_ED25519:
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        break;
    }

    ERR_pop_to_mark();

    return key;
}


static bool
curve_of(const EVP_PKEY *key, char *name, size_t size)
{
    size_t  len;

    return EVP_PKEY_get_group_name(key, name, size, &len) == 1;
}


const char *
certctl_key_type(const EVP_PKEY *key)
{
    const struct key_type  *type;
    char                    curve[64] = "";

    ERR_set_mark();

    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
        curve_of(key, curve, sizeof(curve));
    }

    ERR_pop_to_mark();

    for (type = key_types; type->text != NULL; type++) {
        if (type->id == EVP_PKEY_get_base_id(key)
            && type->bits == EVP_PKEY_get_bits(key)
            && (type->curve == NULL || strcmp(type->curve, curve) == 0))
        {
            return type->text;
        }
    }

    return "other";
}


/* An even exponent, or 1, is no RSA at all: "encrypting" changes nothing. */
static const char *
check_rsa(const EVP_PKEY *key)
{
    BIGNUM  *e = NULL;
    bool     good;

    if (EVP_PKEY_get_bits(key) < RSA_BITS_MIN) {
        return "an RSA key must have at least 2048 bits";
    }

    if (EVP_PKEY_get_bits(key) > RSA_BITS_MAX) {
        return "an RSA key may have at most 8192 bits";
    }

    good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e)
           && BN_is_odd(e) && !BN_is_one(e);
    BN_free(e);

    return good ? NULL
                : "an RSA exponent must be odd and above 1 (RFC 8017 3.1)";
}


/* Parameters in the key are all that it may be used with (RFC 4055 3.1). */
static const char *
check_pss(EVP_PKEY *key)
{
    int     salt;
    char    hash[32], mask[32];
    size_t  i;
    static const struct { const char *hash; int salt; } usable[] = {
        { "SHA2-256", 32 }, { "SHA2-384", 48 }, { "SHA2-512", 64 }
    };

    /* 2: no other may be used with it */

    if (EVP_PKEY_get_default_digest_name(key, hash, sizeof(hash)) != 2) {
        return NULL;
    }

    /* what is left out means SHA-1 and 20 */

    if (!EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_MGF1_DIGEST, mask,
                                        sizeof(mask), NULL))
    {
        memcpy(mask, "SHA1", sizeof("SHA1"));
    }

    if (!EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, &salt)) {
        salt = 20;
    }

    for (i = 0; i < sizeof(usable) / sizeof(usable[0]); i++) {
        if (strcmp(hash, usable[i].hash) == 0 && strcmp(mask, hash) == 0
            && salt <= usable[i].salt)
        {
            return NULL;
        }
    }

    return "an RSA-PSS key's parameters must allow SHA-256, SHA-384 or SHA-512"
           " for hash and mask, with a salt as long as the hash"
           " (RFC 8446 4.2.3)";
}


static const char *
check_ec(const EVP_PKEY *key)
{
    char          curve[64];
    const char  **known;
    int           explicit = 0;

    (void) EVP_PKEY_get_int_param(key,
        OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit);

    if (explicit) {
        return "an EC key must name its curve (RFC 5480 2.1.1)";
    }

    if (curve_of(key, curve, sizeof(curve))) {
        for (known = known_curves; *known != NULL; known++) {
            if (strcmp(*known, curve) == 0) {
                return NULL;
            }
        }
    }

    return "an EC key must be on the named curve P-256, P-384 or P-521";
}


const char *
certctl_key_check(EVP_PKEY *key)
{
    const char  *why;

    ERR_set_mark();

    switch (EVP_PKEY_get_base_id(key)) {

    case EVP_PKEY_RSA:
        why = check_rsa(key);
        break;

    case EVP_PKEY_RSA_PSS:
        why = check_rsa(key);
        why = why ? why : check_pss(key);
        break;

    case EVP_PKEY_EC:
        why = check_ec(key);
        break;

    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        why = NULL;
        break;

    default:
        why = "the key must be RSA, RSA-PSS, ECDSA, Ed25519 or Ed448";
    }

    ERR_pop_to_mark();

    return why;
}


int
certctl_key_to_der(EVP_PKEY *key, unsigned char **ret)
{
    PKCS8_PRIV_KEY_INFO  *p8;
    unsigned char        *der = NULL;
    int                   len = -1;

    ERR_set_mark();

    p8 = EVP_PKEY2PKCS8(key);
    if (p8 != NULL) {
        len = i2d_PKCS8_PRIV_KEY_INFO(p8, &der);
    }

    PKCS8_PRIV_KEY_INFO_free(p8);
    ERR_pop_to_mark();

    if (len <= 0) {
        return -1;
    }

    *ret = der;

    return len;
}


EVP_PKEY *
certctl_key_from_der(const unsigned char *der, size_t len)
{
    const unsigned char  *p = der;
    EVP_PKEY             *key;

    if (len > CERTCTL_CHAIN_MAX) {
        return NULL;
    }

    ERR_set_mark();

    key = d2i_AutoPrivateKey(NULL, &p, len);

    if (key != NULL && p != der + len) {
        EVP_PKEY_free(key);
        key = NULL;
    }

    ERR_pop_to_mark();

    return key;
}


/* The only key of a block; NULL with the rule in *why. */
static EVP_PKEY *
from_block(const struct certctl_pem_block *block, const char **why)
{
    EVP_PKEY  *key;

    if (block->encrypted) {
        *why = certctl_pem_rule(block, "the private key is encrypted; send it"
                                " without a passphrase");
        return NULL;
    }

    key = certctl_key_from_der(block->der, block->len);
    *why = key ? certctl_key_check(key)
               : "the private key is not valid PKCS#8 (RFC 5958), RSA"
                 " (RFC 8017) or EC (RFC 5915)";

    if (*why != NULL) {
        *why = certctl_pem_rule(block, *why);
        EVP_PKEY_free(key);
        return NULL;
    }

    return key;
}


EVP_PKEY *
certctl_key_from_bundle(const struct certctl_pem_bundle *bundle,
    const char **why)
{
    if (bundle->key.der == NULL) {
        *why = "no private key was given: a PEM block PRIVATE KEY is expected"
               " (RFC 7468 section 10)";
        return NULL;
    }

    return from_block(&bundle->key, why);
}


EVP_PKEY *
certctl_key_from_pem(const char *pem, size_t len, const char **why)
{
    EVP_PKEY                   *key = NULL;
    struct certctl_pem_bundle   bundle;

    *why = certctl_pem_bundle(pem, len, &bundle);

    if (*why == NULL) {
        key = certctl_key_from_bundle(&bundle, why);
    }

    certctl_pem_bundle_free(&bundle);

    return key;
}
