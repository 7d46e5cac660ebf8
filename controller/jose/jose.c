/* JSON Web Signatures, of OpenSSL's signatures and jansson's JSON. */
#include "jose.h"

#include "ossl.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define P256_SIZE  32           /* octets of a coordinate, and of r and s */

CLEANUP_FUNC(json_ref, json_t *, json_decref)
CLEANUP_FUNC(ecdsa_sig, ECDSA_SIG *, ECDSA_SIG_free)

static const char  alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

char *
jose_encode(const void *data, size_t len)
{
    const unsigned char  *in = data;
    char                 *ret = malloc((len + 2) / 3 * 4 + 1), *out = ret;
    unsigned              bits = 0;
    int                   have = 0;

    for (size_t i = 0; ret && i < len; i++) {
        bits = bits << 8 | in[i];

        for (have += 8; have >= 6; have -= 6) {
            *out++ = alphabet[bits >> (have - 6) & 63];
        }
    }

    if (ret && have) {
        *out++ = alphabet[bits << (6 - have) & 63];
    }

    if (ret) {
        *out = '\0';
    }

    return ret;
}

unsigned char *
jose_decode(const char *text, size_t *len)
{
    size_t          size = strlen(text), n = 0;
    unsigned char  *ret;
    const char     *at;
    unsigned        bits = 0;
    int             have = 0;

    while (size > 0 && text[size - 1] == '=') {
        size--;
    }

    ret = size % 4 == 1 ? NULL : OPENSSL_zalloc(size + 1);

    for (size_t i = 0; ret && i < size; i++) {
        at = strchr(alphabet, text[i]);

        if (at == NULL) {
            OPENSSL_clear_free(ret, size + 1);
            return NULL;
        }

        bits = bits << 6 | (unsigned) (at - alphabet);
        have += 6;

        if (have >= 8) {
            have -= 8;
            ret[n++] = (unsigned char) (bits >> have);
        }
    }

    *len = n;

    return ret;
}

/* A coordinate has the length of the field, with zeros in front (RFC 7518 6.2.1.2). */
static char *
coordinate(const EVP_PKEY *key, const char *name)
{
    CLEANUP(bignum) BIGNUM  *number = NULL;
    unsigned char            octets[P256_SIZE];

    if (!EVP_PKEY_get_bn_param(key, name, &number)
        || BN_bn2binpad(number, octets, sizeof(octets)) != P256_SIZE)
    {
        return NULL;
    }

    return jose_encode(octets, sizeof(octets));
}

static bool
is_p256(const EVP_PKEY *key)
{
    char  group[32];

    return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC
           && EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group,
                                             sizeof(group), NULL)
           && strcmp(group, "prime256v1") == 0;
}

json_t *
jose_jwk(const EVP_PKEY *key)
{
    CLEANUP(mem) char  *x = NULL, *y = NULL;

    if (!is_p256(key)) {
        return NULL;
    }

    x = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X);
    y = coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y);

    return x && y ? json_pack("{s:s, s:s, s:s, s:s}", "crv", "P-256", "kty", "EC",
                              "x", x, "y", y) : NULL;
}

char *
jose_thumbprint(const EVP_PKEY *key)
{
    CLEANUP(json_ref) json_t  *jwk = jose_jwk(key);
    CLEANUP(mem) char         *text = NULL;
    unsigned char              digest[SHA256_DIGEST_LENGTH];

    /* the members that RFC 7638 3.2 requires, and no others: in its order, sorted */
    text = jwk ? json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

    if (text == NULL) {
        return NULL;
    }

    SHA256((const unsigned char *) text, strlen(text), digest);

    return jose_encode(digest, sizeof(digest));
}

/* What is signed: protected header, ".", payload; both base64url. */
struct jws {
    char    *header, *payload;
    char    *input;
    size_t   len;
};

static void
jws_cleanup(struct jws *jws)
{
    free(jws->header);
    free(jws->payload);
    free(jws->input);
}

static bool
jws_input(struct jws *jws, json_t *header, const char *alg, const char *payload)
{
    CLEANUP(json_ref) json_t  *all = header;
    CLEANUP(mem) char         *text = NULL;
    size_t                     size;

    if (all == NULL || json_object_set_new(all, "alg", json_string(alg)) != 0) {
        return false;
    }

    text = json_dumps(all, JSON_COMPACT);
    jws->header = text ? jose_encode(text, strlen(text)) : NULL;
    jws->payload = jose_encode(payload, strlen(payload));

    if (jws->header == NULL || jws->payload == NULL) {
        return false;
    }

    size = strlen(jws->header) + strlen(jws->payload) + 2;
    jws->input = malloc(size);

    if (jws->input == NULL) {
        return false;
    }

    jws->len = (size_t) snprintf(jws->input, size, "%s.%s", jws->header, jws->payload);

    return true;
}

static json_t *
jws_object(const struct jws *jws, const unsigned char *signature, size_t len)
{
    CLEANUP(mem) char  *text = jose_encode(signature, len);

    return text ? json_pack("{s:s, s:s, s:s}", "protected", jws->header, "payload",
                            jws->payload, "signature", text) : NULL;
}

/* ES256 is r and s of 32 octets each, not the DER that OpenSSL makes (RFC 7518 3.4). */
static bool
es256(EVP_PKEY *key, const struct jws *jws, unsigned char out[2 * P256_SIZE])
{
    CLEANUP(md_ctx) EVP_MD_CTX    *ctx = EVP_MD_CTX_new();
    CLEANUP(ecdsa_sig) ECDSA_SIG  *sig = NULL;
    unsigned char                  der[128];
    const unsigned char           *p = der;
    size_t                         len = sizeof(der);

    if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1
        || EVP_DigestSign(ctx, der, &len, (const unsigned char *) jws->input,
                          jws->len) != 1)
    {
        return false;
    }

    sig = d2i_ECDSA_SIG(NULL, &p, (long) len);

    return sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, P256_SIZE) == P256_SIZE
           && BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + P256_SIZE, P256_SIZE)
              == P256_SIZE;
}

json_t *
jose_sign(EVP_PKEY *key, json_t *header, const char *payload, struct error *err)
{
    CLEANUP(jws) struct jws   jws = { 0 };
    unsigned char             signature[2 * P256_SIZE];
    json_t                   *ret = NULL;

    if (!is_p256(key)) {
        json_decref(header);
        error_set(err, ERR_INVALID, "an account key must be an EC key on P-256");
        return NULL;
    }

    if (jws_input(&jws, header, "ES256", payload) && es256(key, &jws, signature)) {
        ret = jws_object(&jws, signature, sizeof(signature));
    }

    if (ret == NULL) {
        error_set_ossl(err, ERR_INTERNAL, "ES256 signature");
    }

    return ret;
}

json_t *
jose_mac(const unsigned char *secret, size_t len, json_t *header,
    const char *payload, struct error *err)
{
    CLEANUP(jws) struct jws   jws = { 0 };
    unsigned char             mac[EVP_MAX_MD_SIZE];
    unsigned                  size = 0;
    json_t                   *ret = NULL;

    if (jws_input(&jws, header, "HS256", payload)
        && HMAC(EVP_sha256(), secret, (int) len, (const unsigned char *) jws.input,
                jws.len, mac, &size))
    {
        ret = jws_object(&jws, mac, size);
    }

    if (ret == NULL) {
        error_set_ossl(err, ERR_INTERNAL, "HMAC-SHA-256");
    }

    return ret;
}
