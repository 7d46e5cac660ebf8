/* x509_key: every key type of the wire, and keys that are refused. */
#include "pki.h"
#include "tap.h"
#include "wire.h"
#include "x509_key.h"

static char *
to_pem(EVP_PKEY *key, const char *passphrase, int traditional)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *data, *text;
    long   len;

    PKI_MUST(traditional
             ? PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0,
                                                    NULL, NULL)
             : PEM_write_bio_PKCS8PrivateKey(bio, key,
                   passphrase ? EVP_aes_128_cbc() : NULL, passphrase,
                   passphrase ? strlen(passphrase) : 0, NULL, NULL));
    len = BIO_get_mem_data(bio, &data);
    text = OPENSSL_strndup(data, len);
    BIO_free(bio);
    return text;
}

static void
makes_each_type(void)
{
#define X(name, text, bits)  { text, bits },
    static const struct { const char *text; int bits; } types[] = {
        CERTCTL_KEY_TYPES(X)
    };
#undef X

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const char     *type = types[i].text, *why;
        EVP_PKEY       *key = certctl_key_generate(type), *again;
        unsigned char  *der;
        char           *pem;
        int             len;

        ok(certctl_key_type_known(type) && key, "%s is made", type);
        is_int(EVP_PKEY_get_bits(key), types[i].bits, "%s has its size", type);
        is_str(certctl_key_type(key), type, "%s is known again", type);
        ok(certctl_key_check(key) == NULL, "%s is no weak key", type);

        len = certctl_key_to_der(key, &der);
        again = certctl_key_from_der(der, len);
        ok(again && EVP_PKEY_eq(key, again) == 1, "%s through DER", type);
        EVP_PKEY_free(again);
        ok(certctl_key_from_der(der, len - 1) == NULL, "%s cut off", type);
        OPENSSL_clear_free(der, len);

        pem = to_pem(key, NULL, 0);
        again = certctl_key_from_pem(pem, strlen(pem), &why);
        ok(again && EVP_PKEY_eq(key, again) == 1, "%s through PEM", type);
        EVP_PKEY_free(again);
        OPENSSL_free(pem);
        EVP_PKEY_free(key);
    }

    ok(certctl_key_generate("rsa-1024") == NULL, "no other type is made");
    ok(!certctl_key_type_known("") && !certctl_key_type_known("EC-P256"),
       "names are exact");
}

static void
refuse(EVP_PKEY *key, const char *what, const char *rule)
{
    const char  *why = certctl_key_check(key);

    ok(why && strstr(why, rule), "%s is refused: %s", what, why ? why : "not");
    EVP_PKEY_free(key);
}

static void
judges(void)
{
    EVP_PKEY      *key = EVP_EC_gen("P-521");
    EVP_PKEY_CTX  *ctx;
    EVP_PKEY      *odd = NULL, *back;
    unsigned char *der;
    int            len;

    ok(certctl_key_check(key) == NULL, "P-521 may sign for us");
    is_str(certctl_key_type(key), "other", "but is no type of ours");
    EVP_PKEY_free(key);

    refuse(EVP_RSA_gen(1024), "RSA with 1024 bits", "at least 2048");
    refuse(EVP_EC_gen("secp256k1"), "secp256k1", "named curve");
    refuse(EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), "X25519",
           "RSA, RSA-PSS, ECDSA, Ed25519 or Ed448");

    ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    PKI_MUST(EVP_PKEY_keygen_init(ctx) > 0
             && EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx,
                                                   NID_X9_62_prime256v1) > 0
             && EVP_PKEY_CTX_set_ec_param_enc(ctx, 0) > 0
             && EVP_PKEY_generate(ctx, &odd) > 0);
    len = certctl_key_to_der(odd, &der);
    back = certctl_key_from_der(der, len);
    ok(back != NULL, "a curve written out in full can be read");
    refuse(back, "a curve written out in full", "name its curve");
    OPENSSL_clear_free(der, len);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(odd);
}

static void
refuses_text(const char *text, const char *what, const char *rule)
{
    const char  *why = NULL;
    EVP_PKEY    *key = certctl_key_from_pem(text, strlen(text), &why);

    ok(key == NULL && why && strstr(why, rule), "%s: %s", what,
       why ? why : "was accepted");
    EVP_PKEY_free(key);
}

#define TEXT  (CERTCTL_CHAIN_MAX + 4096)

/* What "openssl ecparam -genkey" writes. */
static void
reads_parameters(const char *old)
{
    const char  *curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                         "-----END EC PARAMETERS-----\n", *why;
    char        *text = malloc(TEXT);
    EVP_PKEY    *key;

    snprintf(text, TEXT, "%s\n%s", curve, old);
    key = certctl_key_from_pem(text, strlen(text), &why);
    ok(key && why == NULL, "EC PARAMETERS before it are passed over");
    EVP_PKEY_free(key);

    refuses_text(curve, "EC PARAMETERS alone", "no private key");
    free(text);
}

/* An RSA-PSS key that is for this hash, mask and salt only, or for any. */
static EVP_PKEY *
pss_key(const EVP_MD *md, const EVP_MD *mask, int salt)
{
    EVP_PKEY      *key = NULL;
    EVP_PKEY_CTX  *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);

    PKI_MUST(EVP_PKEY_keygen_init(ctx) > 0
             && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048) > 0
             && (md == NULL
                 || (EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, md) > 0
                     && EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(ctx, mask) > 0
                     && EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(ctx, salt) > 0))
             && EVP_PKEY_generate(ctx, &key) > 0);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static void
judges_pss(void)
{
    const char  *rule = "RFC 8446 4.2.3", *why;
    EVP_PKEY    *good[] = { pss_key(NULL, NULL, 0), pss_key(EVP_sha256(), EVP_sha256(), 20),
                            pss_key(EVP_sha384(), EVP_sha384(), 48) };
    X509_REQ    *req;
    char        *pem;

    for (int i = 0; i < 3; i++) {
        why = certctl_key_check(good[i]);
        ok(why == NULL, "RSA-PSS key %d may be used: %s", i, why ? why : "yes");

        pem = to_pem(good[i], NULL, 0);
        EVP_PKEY_free(certctl_key_from_pem(pem, strlen(pem), &why));
        ok(why == NULL, "through PEM: %s", why ? why : "yes");
        OPENSSL_free(pem);

        req = certctl_csr_build(good[i], "DNS:a", false, &why);
        ok(req && X509_REQ_verify(req, good[i]) == 1, "and signs a request");
        X509_REQ_free(req);
        EVP_PKEY_free(good[i]);
    }

    refuse(pss_key(EVP_sha1(), EVP_sha1(), 20), "RSA-PSS for SHA-1", rule);
    refuse(pss_key(EVP_sha256(), EVP_sha1(), 32), "RSA-PSS with a mask of SHA-1", rule);
    refuse(pss_key(EVP_sha256(), EVP_sha256(), 33), "RSA-PSS with a long salt", rule);

    good[0] = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    ok(certctl_key_check(good[0]) == NULL, "Ed448 may be used");
    EVP_PKEY_free(good[0]);
}

static void
reads_pem(void)
{
    EVP_PKEY    *key = certctl_key_generate("ec-p256"), *again, *weak;
    char        *plain = to_pem(key, NULL, 0), *old = to_pem(key, NULL, 1);
    char        *sealed = to_pem(key, "secret", 0);
    char        *text = malloc(TEXT);
    const char  *why;

    again = certctl_key_from_pem(old, strlen(old), &why);
    ok(again && EVP_PKEY_eq(key, again) == 1, "the older EC PRIVATE KEY");
    EVP_PKEY_free(again);

    snprintf(text, TEXT, " \r\n%s\n\n", plain);
    again = certctl_key_from_pem(text, strlen(text), &why);
    ok(again != NULL, "white space around it");
    EVP_PKEY_free(again);

    reads_parameters(old);

    refuses_text("", "nothing", "no private key");
    refuses_text("  \n", "white space alone", "no private key");
    refuses_text("hello", "other text", "no private key");
    refuses_text(sealed, "an encrypted key", "encrypted");
    snprintf(text, TEXT, "%s%s", plain, plain);
    again = certctl_key_from_pem(text, strlen(text), &why);
    ok(again != NULL, "the same key twice");
    EVP_PKEY_free(again);
    snprintf(text, TEXT, "%s%s", plain, old);
    refuses_text(text, "two keys", "PEM block 2 (EC PRIVATE KEY), line 6: a second private key");
    snprintf(text, TEXT, "%.60s", plain);
    refuses_text(text, "a cut off block", "no -----END PRIVATE KEY----- follows");
    refuses_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                 "no key in the block", "PKCS#8");
    refuses_text("-----BEGIN PRIVATE KEY-----\nA*AA\n-----END PRIVATE KEY-----\n",
                 "no base64", "base64");
    refuses_text("-----BEGIN PRIVATE KEY-----\nAA=A\n-----END PRIVATE KEY-----\n",
                 "padding inside", "base64");
    refuses_text("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
                 "an empty block", "not complete");
    refuses_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                 "another kind of block", "PRIVATE KEY is expected");
    refuses_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END CERTIFICATE-----\n",
                 "labels that differ", "line 3 must be -----END PRIVATE KEY-----");
    refuses_text("-----BEGIN A LABEL THAT NOBODY WOULD EVER USE FOR KEYS, "
                 "CERTIFICATES OR REQUESTS-----\n",
                 "a long label", "line 1 is not a line -----BEGIN label-----");

    memset(text, ' ', CERTCTL_CHAIN_MAX + 1);
    text[CERTCTL_CHAIN_MAX + 1] = '\0';
    refuses_text(text, "more than a request may hold", "longer than 65536");

    weak = EVP_RSA_gen(1024);
    OPENSSL_free(plain);
    plain = to_pem(weak, NULL, 0);
    refuses_text(plain, "a weak key", "2048");

    EVP_PKEY_free(weak);
    OPENSSL_free(plain);
    OPENSSL_free(old);
    OPENSSL_free(sealed);
    free(text);
    EVP_PKEY_free(key);
}

int
main(void)
{
    makes_each_type();
    judges();
    judges_pss();
    reads_pem();
    is_int(ERR_peek_error(), 0, "nothing is left in the error queue");
    return done_testing();
}
