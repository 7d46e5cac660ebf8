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

    case EVP_PKEY_EC:
        why = check_ec(key);
        break;

    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        why = NULL;
        break;

    default:
        why = "the key must be RSA, EC or Ed25519";
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


static const char *
check_label(const char *label)
{
    static const char   *labels[] = {
        "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", NULL
    };
    const char         **p;

    for (p = labels; *p != NULL; p++) {
        if (strcmp(*p, label) == 0) {
            return NULL;
        }
    }

    return strcmp(label, "ENCRYPTED PRIVATE KEY") == 0
           ? "the private key is encrypted; send it without a passphrase"
           : "a PEM block PRIVATE KEY is expected (RFC 7468 section 10)";
}


/*
 * The first block; of "openssl ecparam -genkey" the second, whose key names the
 * curve as well as the first does (RFC 5915 3).
 */
static int
first_block(const char **pos, const char *end, char label[32],
    unsigned char **der, size_t *len, const char **why)
{
    int  rc = certctl_pem_next(pos, end, label, der, len, why);

    if (rc != 1 || strcmp(label, "EC PARAMETERS") != 0) {
        return rc;
    }

    OPENSSL_clear_free(*der, *len);
    rc = certctl_pem_next(pos, end, label, der, len, why);

    if (rc == 1 && strcmp(label, "EC PRIVATE KEY") != 0) {
        OPENSSL_clear_free(*der, *len);
        *why = "EC PARAMETERS stand before an EC key only";
        return -1;
    }

    return rc;
}


EVP_PKEY *
certctl_key_from_pem(const char *pem, size_t len, const char **why)
{
    const char     *pos = pem, *end = pem + len;
    char            label[32], more[32];
    unsigned char  *der = NULL, *next = NULL;
    size_t          dlen = 0, nlen = 0;
    EVP_PKEY       *key = NULL;
    int             rc;

    *why = "the private key is too long";

    if (len > CERTCTL_CHAIN_MAX) {
        return NULL;
    }

    rc = first_block(&pos, end, label, &der, &dlen, why);

    if (rc != 1) {
        *why = rc == 0 ? "no private key was given" : *why;
        return NULL;
    }

    *why = check_label(label);

    if (*why == NULL
        && certctl_pem_next(&pos, end, more, &next, &nlen, why) != 0)
    {
        *why = "one private key is expected, and nothing else";
        OPENSSL_clear_free(next, nlen);
    }

    if (*why == NULL) {
        key = certctl_key_from_der(der, dlen);
        *why = key ? certctl_key_check(key)
                   : "the private key is not valid PKCS#8 (RFC 5958)";
    }

    OPENSSL_clear_free(der, dlen);

    if (*why != NULL) {
        EVP_PKEY_free(key);
        return NULL;
    }

    return key;
}
