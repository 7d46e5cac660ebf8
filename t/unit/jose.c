/* JWS, JWK and thumbprints: RFC 7515 A.3, RFC 7638, RFC 8037's forms of base64url. */
#include "jose.h"
#include "ossl.h"
#include "tap.h"
#include "x509_key.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* The key of RFC 7515 A.3.1. */
#define X  "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define Y  "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

static EVP_PKEY *
rfc_key(void)
{
    size_t           len;
    unsigned char    point[65] = { 4 };
    unsigned char   *x = jose_decode(X, &len), *y = jose_decode(Y, &len);
    OSSL_PARAM       params[3];
    EVP_PKEY_CTX    *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY        *key = NULL;

    memcpy(point + 1, x, 32);
    memcpy(point + 33, y, 32);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point));
    params[2] = OSSL_PARAM_construct_end();
    EVP_PKEY_fromdata_init(ctx);
    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(ctx);
    OPENSSL_free(x);
    OPENSSL_free(y);

    return key;
}

static void
test_base64url(void)
{
    static const struct { const char *text, *octets; size_t len; } good[] = {
        { "", "", 0 }, { "Zg", "f", 1 }, { "Zm8", "fo", 2 }, { "Zm9v", "foo", 3 },
        { "Zm9vYg", "foob", 4 }, { "A-z_4ME", "\x03\xec\xff\xe0\xc1", 5 },
    };
    static const char *const  bad[] = { "Z", "Zm9v+", "Zm9v/w", "Zm 9", "Zm9vY" };
    size_t                    len;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CLEANUP(mem) char  *text = jose_encode(good[i].octets, good[i].len);
        unsigned char      *octets = jose_decode(good[i].text, &len);

        is_str(text, good[i].text, "RFC 7515 2: encoded");
        ok(octets && len == good[i].len && memcmp(octets, good[i].octets, len) == 0, "and decoded");
        OPENSSL_free(octets);
    }

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(jose_decode(bad[i], &len) == NULL, "not base64url: %s", bad[i]);
    }
}

static void
test_jwk(void)
{
    CLEANUP(pkey) EVP_PKEY    *key = rfc_key(), *rsa = certctl_key_generate("rsa-2048");
    CLEANUP(json_ref) json_t  *jwk = jose_jwk(key);
    CLEANUP(mem) char         *thumbprint = jose_thumbprint(key);

    is_str(json_string_value(json_object_get(jwk, "x")), X, "RFC 7515 A.3.1: x");
    is_str(json_string_value(json_object_get(jwk, "y")), Y, "and y");
    is_str(thumbprint, "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", "RFC 7638: its thumbprint");
    ok(jose_jwk(rsa) == NULL && jose_thumbprint(rsa) == NULL, "a key of another kind has none");
}

/* 100 signatures: r or s begins with a zero octet now and then. */
static void
test_sign(void)
{
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    CLEANUP(pkey) EVP_PKEY  *other = certctl_key_generate("ec-p384");
    struct error             err;
    int                      good = 0;

    for (int i = 0; i < 100; i++) {
        CLEANUP(json_ref) json_t    *jws = NULL;
        CLEANUP(md_ctx) EVP_MD_CTX  *ctx = EVP_MD_CTX_new();
        ECDSA_SIG                 *sig = ECDSA_SIG_new();
        size_t                     len;
        unsigned char             *raw, *der = NULL;
        char                       input[200];
        int                        size;

        jws = jose_sign(key, json_pack("{s:i}", "n", i), "{}", &err);
        raw = jose_decode(json_string_value(json_object_get(jws, "signature")), &len);
        snprintf(input, sizeof(input), "%s.%s",
                 json_string_value(json_object_get(jws, "protected")),
                 json_string_value(json_object_get(jws, "payload")));
        ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
        size = i2d_ECDSA_SIG(sig, &der);
        EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key);
        good += len == 64
                && EVP_DigestVerify(ctx, der, (size_t) size, (unsigned char *) input,
                                    strlen(input)) == 1;
        ECDSA_SIG_free(sig);
        OPENSSL_free(der);
        OPENSSL_free(raw);
    }

    is_int(good, 100, "RFC 7518 3.4: r and s of 32 octets each, which verify");
    ok(jose_sign(other, json_object(), "", &err) == NULL && err.code == ERR_INVALID,
       "P-384: refused");
}

/* RFC 7515 A.1.1's key and payload, under a header of ours. */
static void
test_mac(void)
{
    static const char         text[] = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"
                                       "aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    size_t                    len;
    unsigned char            *secret = jose_decode(text, &len);
    struct error              err;
    CLEANUP(json_ref) json_t *jws = jose_mac(secret, len, json_object(), "x", &err);

    is_int((int) len, 64, "RFC 7515 A.1.1: a key of 64 octets");
    is_str(json_string_value(json_object_get(jws, "protected")), "eyJhbGciOiJIUzI1NiJ9", "HS256");
    is_int((int) strlen(json_string_value(json_object_get(jws, "signature"))), 43, "32 octets");
    OPENSSL_free(secret);
}

int
main(void)
{
    test_base64url();
    test_jwk();
    test_sign();
    test_mac();

    return done_testing();
}
