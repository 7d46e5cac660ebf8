/* An authority comes back from its PEM files, or the rule that they break does. */
#include "ca_support.h"
#include "seal.h"
#include "tap.h"

#include <openssl/pem.h>
#include <stdlib.h>

/* PEM in the form that older programs write; encrypted unless cipher is NULL. */
static char *
key_text(EVP_PKEY *key, bool traditional, const EVP_CIPHER *cipher)
{
    char              *data, *text;
    long               len;
    char               password[] = "secret";
    CLEANUP(bio) BIO  *bio = BIO_new(BIO_s_mem());

    if (traditional) {
        PEM_write_bio_PrivateKey_traditional(bio, key, cipher, NULL, 0, NULL,
                                             cipher ? password : NULL);
    } else {
        PEM_write_bio_PrivateKey(bio, key, cipher, NULL, 0, NULL,
                                 cipher ? password : NULL);
    }

    len = BIO_get_mem_data(bio, &data);
    text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = '\0';

    return text;
}

static void
test_round_trip(const char *type)
{
    struct error              err = { 0 };
    struct ca                *sub, *again;
    CLEANUP(ca) struct ca    *ca = test_root(type, &err);
    CLEANUP(mem) char        *pem = NULL, *chain = NULL, *leaf_chain = NULL;
    CLEANUP(secret) char     *key = NULL, *old = NULL;
    CLEANUP(x509) X509       *leaf = NULL;

    sub = ca_create(ca, &(struct ca_spec) { .key_type = type,
        .common_name = "Sub", .not_before = NOW, .not_after = NOW + 100 * DAY,
        .path_len = 0 }, &err);
    pem = ca_cert_pem(sub, &err);
    key = ca_key_pem(sub, &err);

    again = ca_load(pem, key, NOW + 1, &err);
    ok(again && X509_cmp(again->cert, sub->cert) == 0
       && EVP_PKEY_eq(again->key, sub->key) == 1
       && sk_X509_num(again->above) == 1, "%s, PKCS#8: %s", type, err.detail);
    ca_free(again);

    if (strcmp(type, "ed25519") != 0) {
        old = key_text(sub->key, true, NULL);
        again = ca_load(pem, old, NOW + 1, &err);
        ok(again && strstr(old, "BEGIN PRIVATE KEY") == NULL,
           "%s, traditional: %s", type, err.detail);
        ca_free(again);
    }

    again = ca_load(pem, key, NOW + 1, &err);
    chain = ca_cert_pem(again, &err);
    is_str(chain, pem, "%s: and out again", type);

    leaf = test_leaf(again, "77", "DNS:a.example", &err);
    leaf_chain = ca_chain_pem(again, leaf, &err);
    /* leaf and sub; the root above is left out */
    const char  *p = leaf_chain;
    int          n = 0;

    while ((p = strstr(p, "BEGIN CERTIFICATE"))) {
        n++;
        p++;
    }

    is_int(n, 2, "%s: the chain of a CA below ends before the root", type);

    ca_free(again);
    ca_free(sub);
}

static void
refused(const char *cert, const char *key, time_t now, const char *rule)
{
    struct error   err = { 0 };
    struct ca     *ca = ca_load(cert, key, now, &err);

    ok(ca == NULL && err.code == ERR_INVALID && strstr(err.detail, rule),
       "refused: %s", err.detail);
    ca_free(ca);
}

/* A self-signed certificate with just these extensions. */
static char *
odd_cert(EVP_PKEY *key, const char *basic, const char *usage, bool key_id,
    const char *constraints)
{
    X509V3_CTX           ctx;
    X509_EXTENSION      *ext;
    CLEANUP(x509) X509  *cert = X509_new();
    const char          *values[] = { basic, usage, key_id ? "hash" : NULL,
                                      constraints };
    const int            nids[] = { NID_basic_constraints, NID_key_usage,
                                    NID_subject_key_identifier,
                                    NID_name_constraints };
    struct error         err;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 5);
    ASN1_TIME_set(X509_getm_notBefore(cert), NOW);
    ASN1_TIME_set(X509_getm_notAfter(cert), NOW + DAY);
    X509_set_pubkey(cert, key);

    for (int i = 0; i < 4; i++) {
        X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
        ext = values[i] ? X509V3_EXT_nconf_nid(NULL, &ctx, nids[i], values[i])
                        : NULL;

        if (ext) {
            X509_add_ext(cert, ext, -1);
            X509_EXTENSION_free(ext);
        }
    }

    X509_sign(cert, key, EVP_sha256());

    return ca_x509_pem(cert, &err);
}

static void
test_refusals(void)
{
    struct error              err = { 0 };
    CLEANUP(ca) struct ca    *ca = test_root("ec-p256", &err);
    CLEANUP(ca) struct ca    *other = test_root("ec-p256", &err);
    CLEANUP(mem) char        *cert = ca_cert_pem(ca, &err);
    CLEANUP(mem) char        *stranger = ca_cert_pem(other, &err);
    CLEANUP(secret) char     *key = ca_key_pem(ca, &err);
    CLEANUP(secret) char     *foreign = ca_key_pem(other, &err);
    CLEANUP(secret) char     *locked = key_text(ca->key, false,
                                                EVP_aes_256_cbc());
    CLEANUP(secret) char     *older = key_text(ca->key, true, EVP_aes_256_cbc());
    CLEANUP(mem) char        *both = malloc(strlen(cert) + strlen(stranger) + 1);
    static const struct { const char *basic, *usage; bool key_id;
                          const char *rule; } odd[] = {
        { NULL, "critical,keyCertSign", true, "4.2.1.9" },
        { "critical,CA:FALSE", "critical,keyCertSign", true, "4.2.1.9" },
        { "critical,CA:TRUE", "critical,cRLSign", true, "keyCertSign" },
        { "critical,CA:TRUE", "critical,keyCertSign", false, "4.2.1.2" },
    };

    refused("", key, NOW, "CA certificate");
    refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", key,
            NOW, "CA certificate");
    refused(cert, "", NOW, "private key");
    refused(cert, foreign, NOW, "not that of the CA");
    refused(cert, locked, NOW, "CA key: PEM block 1 (ENCRYPTED PRIVATE KEY), line 1: the "
            "private key is encrypted");
    refused(cert, older, NOW, "CA key: PEM block 1 (EC PRIVATE KEY), line 1: the private key "
            "is encrypted");
    refused(cert, key, NOW - 2 * DAY, "not yet valid");
    refused(cert, key, NOW + 3651 * DAY, "has expired");

    memcpy(both, cert, strlen(cert));
    memcpy(both + strlen(cert), stranger, strlen(stranger) + 1);
    refused(both, key, NOW, "6.1");

    /* What follows the first certificate is read as strictly as the first. */
    both[strlen(cert) + 200] = '*';
    refused(both, key, NOW, "CA certificate");

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        CLEANUP(mem) char  *text = odd_cert(ca->key, odd[i].basic, odd[i].usage,
                                            odd[i].key_id, NULL);

        refused(text, key, NOW + 1, odd[i].rule);
    }
}

/* A root that "openssl req -x509" makes has no keyUsage, which RFC 5280 6.1.4 (n)
 * lets it have; files hold more than the certificate or the key they are for. */
static void
test_from_elsewhere(void)
{
    struct error             err = { 0 };
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    CLEANUP(secret) char    *key_pem = ca_pkey_pem(key, &err);
    CLEANUP(mem) char       *pem = odd_cert(key, "critical,CA:TRUE", NULL, true, NULL);
    CLEANUP(mem) char       *sub_pem = NULL;
    CLEANUP(secret) char    *file = malloc(16384), *sub_key = NULL;
    CLEANUP(ca) struct ca   *root = ca_load(pem, key_pem, NOW + 1, &err), *sub = NULL;
    CLEANUP(ca) struct ca   *again = NULL;

    ok(root, "a root without keyUsage: %s", err.detail);

    sub = ca_create(root, &(struct ca_spec) { .common_name = "Sub", .not_before = NOW,
        .not_after = NOW + DAY, .path_len = 0 }, &err);
    sub_pem = ca_cert_pem(sub, &err);
    sub_key = ca_key_pem(sub, &err);

    snprintf(file, 16384, "\xef\xbb\xbf" "Bag Attributes\n    localKeyID: 01\n%sKey Attributes\n%s",
             sub_pem, sub_key);
    again = ca_load(file, file, NOW + 1, &err);
    ok(again && sk_X509_num(again->above) == 1, "a CA below it, key and certificates in one "
       "file: %s", err.detail);
}

/* How deep a CA lets others be below it (RFC 5280 4.2.1.9). */
static void
test_path_len(void)
{
    struct error             err = { 0 };
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    CLEANUP(secret) char    *key_pem = ca_pkey_pem(key, &err), *sub_key = NULL;
    CLEANUP(mem) char       *pem = odd_cert(key, "critical,CA:TRUE,pathlen:0", NULL, true, NULL);
    CLEANUP(mem) char       *both = malloc(16384), *sub_pem = NULL;
    CLEANUP(ca) struct ca   *root = ca_load(pem, key_pem, NOW + 1, &err), *sub = NULL;
    CLEANUP(ca) struct ca   *loose = NULL;
    CLEANUP(mem) char       *plain = odd_cert(key, "critical,CA:TRUE", NULL, true, NULL);

    ok(root, "a root with pathlen:0 by itself: %s", err.detail);

    loose = ca_load(plain, key_pem, NOW + 1, &err);
    sub = ca_create(loose, &(struct ca_spec) { .common_name = "Sub", .not_before = NOW,
        .not_after = NOW + DAY, .path_len = CA_PATH_LEN_ANY }, &err);
    sub_pem = ca_x509_pem(sub->cert, &err);
    sub_key = ca_key_pem(sub, &err);

    snprintf(both, 16384, "%s%s", sub_pem, pem);
    refused(both, sub_key, NOW + 1, "certificate 2 of the chain: RFC 5280 4.2.1.9: its "
            "pathLenConstraint");
    snprintf(both, 16384, "%s%s", sub_pem, plain);
    CLEANUP(ca) struct ca  *good = ca_load(both, sub_key, NOW + 1, &err);
    ok(good, "the same below a root without it: %s", err.detail);
}

/* What a CA from elsewhere may not name, it does not name here. */
static void
test_constraints(void)
{
    static const struct { const char *sans; bool allowed; } names[] = {
        { "DNS:a.example.com", true }, { "DNS:a.example.org", false },
        { "DNS:a.example.com,DNS:a.example.org", false },
        { "DNS:no.example.com", false }, { "IP:192.0.2.7", true },
        { "IP:198.51.100.1", false },
    };
    struct error             err = { 0 };
    CLEANUP(pkey) EVP_PKEY  *key = certctl_key_generate("ec-p256");
    CLEANUP(secret) char    *key_pem = ca_pkey_pem(key, &err);
    CLEANUP(mem) char       *pem = odd_cert(key, "critical,CA:TRUE",
        "critical,keyCertSign", true, "critical,permitted;DNS:example.com,"
        "excluded;DNS:no.example.com,permitted;IP:192.0.2.0/255.255.255.0");
    CLEANUP(ca) struct ca   *ca = ca_load(pem, key_pem, NOW + 1, &err);

    ok(ca, "a CA with nameConstraints: %s", err.detail);

    for (size_t i = 0; ca && i < sizeof(names) / sizeof(names[0]); i++) {
        CLEANUP(x509) X509  *cert = test_leaf(ca, "77", names[i].sans, &err);

        ok(names[i].allowed ? cert != NULL
           : !cert && strstr(err.detail, "4.2.1.10"), "%s %s", names[i].sans,
           names[i].allowed ? "is allowed" : err.detail);
    }
}

int
main(void)
{
    test_round_trip("ec-p256");
    test_round_trip("ec-p384");
    test_round_trip("rsa-2048");
    test_round_trip("ed25519");
    test_refusals();
    test_from_elsewhere();
    test_path_len();
    test_constraints();

    return done_testing();
}
