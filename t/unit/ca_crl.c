/* A CRL says what RFC 5280 section 5 asks, of none or of 100,000 certificates. */
#include "ca_support.h"
#include "tap.h"

#include <stdlib.h>

#define MANY  100000

static X509_CRL *
crl_read(const unsigned char *der, size_t len)
{
    const unsigned char  *p = der;
    X509_CRL             *crl = d2i_X509_CRL(NULL, &p, (long) len);

    return crl && p == der + len ? crl : NULL;
}

static long
ext_number(X509_CRL *crl)
{
    ASN1_INTEGER  *value = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    long           n = value ? ASN1_INTEGER_get(value) : -1;

    ASN1_INTEGER_free(value);

    return n;
}

/* -1: the entry carries no reason. */
static long
entry_reason(const X509_REVOKED *entry)
{
    ASN1_ENUMERATED  *value = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason,
                                                       NULL, NULL);
    long              n = value ? ASN1_ENUMERATED_get(value) : -1;

    ASN1_ENUMERATED_free(value);

    return n;
}

static void
test_small(const char *type)
{
    struct error                   err = { 0 };
    unsigned char                 *der = NULL;
    size_t                         len = 0;
    CLEANUP(ca) struct ca         *ca = test_root(type, &err);
    CLEANUP(x509_crl) X509_CRL    *crl = NULL;
    AUTHORITY_KEYID               *akid;
    X509_REVOKED                  *entry;
    ASN1_INTEGER                  *serial = ASN1_INTEGER_new();
    const struct ca_revoked        revoked[] = {
        { "abcdef", NOW - 100, 0 }, { "77", NOW - 200, 1 }, { "01", NOW, 4 },
    };
    struct ca_crl_spec             spec = { 7, NOW, NOW + DAY, revoked, 3 };

    ok(ca_crl(ca, &spec, &der, &len, &err), "%s: a CRL: %s", type, err.detail);
    crl = crl_read(der, len);
    ok(crl && X509_CRL_verify(crl, ca->key) == 1, "%s: signed by the CA", type);
    is_int(X509_CRL_get_version(crl), X509_CRL_VERSION_2, "version 2 (5.1.2.1)");
    ok(X509_NAME_cmp(X509_CRL_get_issuer(crl),
                     X509_get_subject_name(ca->cert)) == 0, "issuer (5.1.2.3)");
    is_int(ext_number(crl), 7, "crlNumber (5.2.3)");

    akid = X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
    ok(akid && akid->keyid && ASN1_OCTET_STRING_cmp(akid->keyid,
           X509_get0_subject_key_id(ca->cert)) == 0,
       "authorityKeyIdentifier (5.2.1)");
    AUTHORITY_KEYID_free(akid);

    ok(X509_CRL_get_ext_by_NID(crl, NID_issuing_distribution_point, -1) == -1,
       "a full CRL has no issuingDistributionPoint");
    ok(ASN1_TIME_cmp_time_t(X509_CRL_get0_lastUpdate(crl), NOW) == 0
       && ASN1_TIME_cmp_time_t(X509_CRL_get0_nextUpdate(crl), NOW + DAY) == 0,
       "thisUpdate and nextUpdate");

    ASN1_INTEGER_set(serial, 0xabcdef);
    ok(X509_CRL_get0_by_serial(crl, &entry, serial) == 1
       && entry_reason(entry) == -1, "unspecified is not said (5.3.1)");
    ASN1_INTEGER_set(serial, 0x77);
    ok(X509_CRL_get0_by_serial(crl, &entry, serial) == 1
       && entry_reason(entry) == 1
       && ASN1_TIME_cmp_time_t(X509_REVOKED_get0_revocationDate(entry),
                               NOW - 200) == 0, "keyCompromise, and when");
    ASN1_INTEGER_set(serial, 0x78);
    ok(X509_CRL_get0_by_serial(crl, &entry, serial) == 0, "no other");

    ASN1_INTEGER_free(serial);
    OPENSSL_free(der);
}

static void
test_empty(const struct ca *ca)
{
    struct error                 err = { 0 };
    unsigned char               *der = NULL;
    size_t                       len = 0;
    struct ca_crl_spec           spec = { 1, NOW, NOW + DAY, NULL, 0 };
    CLEANUP(x509_crl) X509_CRL  *crl = NULL;

    ok(ca_crl(ca, &spec, &der, &len, &err), "an empty CRL");
    crl = crl_read(der, len);
    ok(crl && X509_CRL_get_REVOKED(crl) == NULL,
       "revokedCertificates is absent when empty (5.1.2.6)");
    OPENSSL_free(der);
}

static void
test_many(const struct ca *ca)
{
    struct error                 err = { 0 };
    unsigned char               *der = NULL;
    size_t                       len = 0;
    struct ca_revoked           *revoked = calloc(MANY, sizeof(*revoked));
    char                       (*serials)[CA_SERIAL_HEX] = calloc(MANY,
                                                               sizeof(*serials));
    struct ca_crl_spec           spec = { INT64_MAX, NOW, NOW + DAY, revoked,
                                          MANY };
    CLEANUP(x509_crl) X509_CRL  *crl = NULL;

    for (size_t i = 0; i < MANY; i++) {
        ca_serial_new(serials[i], &err);
        revoked[i] = (struct ca_revoked) { serials[i], NOW - (time_t) i, 4 };
    }

    ok(ca_crl(ca, &spec, &der, &len, &err), "%d entries: %s", MANY, err.detail);
    crl = crl_read(der, len);
    ok(crl && X509_CRL_verify(crl, ca->key) == 1
       && sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)) == MANY,
       "all there, in %zu octets", len);

    OPENSSL_free(der);
    free(revoked);
    free(serials);
}

static void
test_refusals(const struct ca *ca)
{
    static const struct { struct ca_crl_spec spec; struct ca_revoked entry;
                          const char *rule; } bad[] = {
        { { -1, NOW, NOW + 1, NULL, 0 }, { "1", NOW, 0 }, "crlNumber" },
        { { 1, NOW, NOW, NULL, 0 }, { "1", NOW, 0 }, "nextUpdate" },
        { { 1, NOW, NOW + 1, NULL, 1 }, { "0", NOW, 0 }, "4.1.2.2" },
        { { 1, NOW, NOW + 1, NULL, 1 }, { "1", NOW, 7 }, "5.3.1" },
        { { 1, NOW, NOW + 1, NULL, 1 }, { "1", NOW, 8 }, "5.3.1" },
        { { 1, NOW, NOW + 1, NULL, 1 }, { "1", NOW, 11 }, "5.3.1" },
        { { 1, NOW, NOW + 1, NULL, 1 }, { "1", NOW, -1 }, "5.3.1" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error         err = { 0 };
        unsigned char       *der = NULL;
        size_t               len = 42;
        struct ca_crl_spec   spec = bad[i].spec;

        spec.revoked = &bad[i].entry;
        ok(!ca_crl(ca, &spec, &der, &len, &err) && err.code == ERR_INVALID
           && strstr(err.detail, bad[i].rule) && der == NULL && len == 42,
           "refused: %s", err.detail);
    }
}

int
main(void)
{
    struct error            err = { 0 };
    CLEANUP(ca) struct ca  *ca = test_root("ec-p256", &err);

    test_small("ec-p256");
    test_small("ec-p384");
    test_small("rsa-2048");
    test_small("ed25519");
    test_empty(ca);
    test_many(ca);
    test_refusals(ca);

    return done_testing();
}
