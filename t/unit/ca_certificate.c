/* Certificates carry what RFC 5280 asks of them and what the order says, no more. */
#include "ca_support.h"
#include "tap.h"
#include "x509_info.h"

#include <openssl/ocsp.h>
#include <stdlib.h>

#define SERIAL  "0123456789abcdef0123456789abcdef01234567"

static int
ext_critical(X509 *cert, int nid)
{
    int  i = X509_get_ext_by_NID(cert, nid, -1);

    return i < 0 ? -1 : X509_EXTENSION_get_critical(X509_get_ext(cert, i));
}

/* "<kind>:<text>" of each name, with a comma behind it. */
static bool
san_append(const char *kind, const char *text, void *data)
{
    char  *all = data;

    snprintf(all + strlen(all), 400 - strlen(all), "%s:%s,", kind, text);

    return true;
}

static int
validity_type(X509 *cert, bool after)
{
    return ASN1_STRING_type(after ? X509_get0_notAfter(cert)
                                  : X509_get0_notBefore(cert));
}

static void
test_serials(void)
{
    char            a[CA_SERIAL_HEX], b[CA_SERIAL_HEX];
    struct error    err = { 0 };
    unsigned        first = 0;

    for (int i = 0; i < 200; i++) {
        ca_serial_new(a, &err);
        ca_serial_new(b, &err);

        if (strlen(a) != 40 || strcmp(a, b) == 0 || !strchr("4567", a[0])) {
            break;
        }

        first |= 1u << (a[0] - '4');
    }

    is_int(first, 15, "serials: 20 octets, positive, all different");
}

static void
test_roots(void)
{
    static const struct { const char *type, *sig; } types[] = {
        { NULL,       "ecdsa-with-SHA256"       },
        { "ec-p256",  "ecdsa-with-SHA256"       },
        { "ec-p384",  "ecdsa-with-SHA384"       },
        { "rsa-2048", "sha256WithRSAEncryption" },
        { "ed25519",  "ED25519"                 },
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct error            err = { 0 };
        CLEANUP(ca) struct ca  *ca = test_root(types[i].type, &err);
        X509                   *cert = ca ? ca->cert : NULL;

        ok(cert, "root of %s: %s", types[i].type ? types[i].type : "default",
           err.detail);

        if (cert == NULL) {
            continue;
        }

        is_str(OBJ_nid2sn(X509_get_signature_nid(cert)),
               OBJ_nid2sn(OBJ_txt2nid(types[i].sig)), "signed with %s",
               types[i].sig);
        ok(X509_self_signed(cert, 1) == 1, "it signs itself");
        ok(ext_critical(cert, NID_basic_constraints) == 1
           && X509_check_ca(cert) == 1 && X509_get_pathlen(cert) == -1,
           "basicConstraints is critical, cA, no pathLenConstraint");
        ok(ext_critical(cert, NID_key_usage) == 1
           && X509_get_key_usage(cert)
              == (KU_KEY_CERT_SIGN | KU_CRL_SIGN | KU_DIGITAL_SIGNATURE),
           "keyUsage is critical: certificates, CRLs, OCSP");
        ok(X509_get0_subject_key_id(cert), "it has a key identifier");
    }
}

static void
test_root_rules(void)
{
    struct error       err = { 0 };
    struct ca_spec     spec = { .common_name = "R", .not_before = NOW,
                                .not_after = NOW + DAY, .path_len = 1 };
    struct ca         *ca;

    ca = ca_create(NULL, &spec, &err);
    ok(ca && X509_get_pathlen(ca->cert) == 1
       && X509_get_key_usage(ca->cert) == (KU_KEY_CERT_SIGN | KU_CRL_SIGN),
       "pathLenConstraint 1, no digitalSignature unless asked");
    ca_free(ca);

    spec.key_type = "ec-p224";
    ok(!ca_create(NULL, &spec, &err) && strstr(err.detail, "key type"),
       "an unknown key type: %s", err.detail);
    spec.key_type = NULL;

    spec.path_len = -2;
    ok(!ca_create(NULL, &spec, &err) && strstr(err.detail, "4.2.1.9"),
       "a negative pathLenConstraint: %s", err.detail);
    spec.path_len = CA_PATH_LEN_ANY;

    spec.common_name = "";
    ok(!ca_create(NULL, &spec, &err) && strstr(err.detail, "commonName"),
       "an authority without a name: %s", err.detail);
    spec.common_name = "12345678901234567890123456789012345678901234567890"
                       "123456789012345";
    ok(!ca_create(NULL, &spec, &err) && strstr(err.detail, "commonName"),
       "65 characters of name: %s", err.detail);
    spec.common_name = "R";

    spec.not_after = NOW;
    ok(!ca_create(NULL, &spec, &err) && strstr(err.detail, "4.1.2.5"),
       "no time between notBefore and notAfter: %s", err.detail);
}

static void
test_below(void)
{
    struct error             err = { 0 };
    CLEANUP(ca) struct ca   *root = test_root(NULL, &err);
    CLEANUP(ca) struct ca   *sub = NULL;
    struct ca_spec           spec = { .common_name = "Sub", .not_before = 0,
                                      .not_after = NOW + 9000L * DAY,
                                      .path_len = 0,
                                      .crl_url = "http://pki.example/root.crl" };

    sub = ca_create(root, &spec, &err);
    ok(sub && X509_check_issued(root->cert, sub->cert) == X509_V_OK
       && X509_verify(sub->cert, root->key) == 1, "a CA below: %s", err.detail);

    if (sub == NULL) {
        return;
    }

    ok(ASN1_TIME_compare(X509_get0_notBefore(sub->cert),
                            X509_get0_notBefore(root->cert)) == 0
       && ASN1_TIME_compare(X509_get0_notAfter(sub->cert),
                            X509_get0_notAfter(root->cert)) == 0,
       "its validity is cut to its issuer's");
    ok(X509_get0_authority_key_id(sub->cert)
       && ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(sub->cert),
                                X509_get0_subject_key_id(root->cert)) == 0,
       "authorityKeyIdentifier is the issuer's key");
    is_int(sk_X509_num(sub->above), 1, "it knows who is above");

    ok(!ca_create(sub, &spec, &err)
       && strstr(err.detail, "pathLenConstraint 0"),
       "pathLenConstraint 0 allows none below: %s", err.detail);
}

static void
test_server(const struct ca *ca, EVP_PKEY *key, int ku)
{
    struct error         err = { 0 };
    char                 sans[400] = "", url[200];
    X509                *cert;
    const unsigned char *p;
    struct certctl_x509_info  info;
    struct ca_profile    profile = {
        .serial = SERIAL,
        .sans = "DNS:shop.example.com,DNS:*.shop.example.com,IP:192.0.2.1,"
                "IP:2001:db8::1,URI:urn:certctl:agent:ag-1",
        .not_before = NOW, .not_after = NOW + 90 * DAY,
        .eku = CA_EKU_SERVER_AUTH | CA_EKU_CLIENT_AUTH, .must_staple = true,
        .ocsp_url = "http://pki.example/ocsp/a,b;c",
        .ca_issuers_url = "http://pki.example/ca",
        .crl_url = "http://pki.example/crl"
    };

    cert = ca_issue(ca, key, &profile, &err);
    ok(cert, "a server certificate: %s", err.detail);

    if (cert == NULL) {
        return;
    }

    ok(certctl_x509_info(cert, &info) == NULL, "it can be read");
    is_str(info.serial, SERIAL, "the serial is the one given");
    is_int(info.not_before, NOW, "notBefore is the one given");
    is_int(info.not_after, NOW + 90 * DAY, "notAfter is the one given");
    ok(info.must_staple, "must-staple");

    certctl_x509_each_san(cert, san_append, sans);
    is_str(sans, "DNS:shop.example.com,DNS:*.shop.example.com,IP:192.0.2.1,"
           "IP:2001:db8::1,URI:urn:certctl:agent:ag-1,", "names of the order");
    is_int(X509_NAME_entry_count(X509_get_subject_name(cert)), 0, "no subject");
    is_int(ext_critical(cert, NID_subject_alt_name), 1, "and so a critical SAN");

    ok(ext_critical(cert, NID_basic_constraints) == 1 && X509_check_ca(cert) == 0,
       "no CA");
    is_int(X509_get_key_usage(cert), ku, "keyUsage fits the key");
    is_int(X509_get_extended_key_usage(cert), XKU_SSL_SERVER | XKU_SSL_CLIENT,
           "extendedKeyUsage is the one asked for");

    certctl_x509_ocsp_url(cert, url, sizeof(url));
    is_str(url, "http://pki.example/ocsp/a,b;c", "the URL is taken as it stands");
    ok(X509_get_ext_by_NID(cert, NID_crl_distribution_points, -1) >= 0,
       "it names its CRL");
    ok(X509_get0_subject_key_id(cert)
       && ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(cert),
                                X509_get0_subject_key_id(ca->cert)) == 0,
       "key identifiers");
    ok(X509_verify(cert, ca->key) == 1, "signed by the CA");

    /* A retry asks the same and gets the same, signature apart. */
    X509           *again = ca_issue(ca, key, &profile, &err);
    unsigned char  *tbs = NULL, *tbs2 = NULL;
    int             len = i2d_re_X509_tbs(cert, &tbs);

    p = tbs;
    ok(len > 0 && i2d_re_X509_tbs(again, &tbs2) == len
       && memcmp(p, tbs2, len) == 0, "the same order gives the same certificate");

    OPENSSL_free(tbs);
    OPENSSL_free(tbs2);
    X509_free(again);
    X509_free(cert);
}

static void
test_times(const struct ca *ca, EVP_PKEY *key)
{
    struct error        err = { 0 };
    X509               *cert;
    struct ca_profile   profile = { .serial = "1", .sans = "DNS:a.example",
                                    .not_before = 2524607999 /* end of 2049 */,
                                    .not_after = 2524608000 };
    CLEANUP(ca) struct ca  *old = ca_create(NULL, &(struct ca_spec) {
        .common_name = "Long", .not_before = NOW, .not_after = 4102444800,
        .path_len = CA_PATH_LEN_ANY }, &err);

    cert = old ? ca_issue(old, key, &profile, &err) : NULL;
    ok(cert && validity_type(cert, false) == V_ASN1_UTCTIME
       && validity_type(cert, true) == V_ASN1_GENERALIZEDTIME,
       "UTCTime through 2049, GeneralizedTime from 2050 (4.1.2.5)");
    X509_free(cert);

    profile.not_before = NOW;
    profile.not_after = NOW + 9999L * DAY;
    cert = ca_issue(ca, key, &profile, &err);
    ok(cert && ASN1_TIME_compare(X509_get0_notAfter(cert),
                                 X509_get0_notAfter(ca->cert)) == 0,
       "it does not outlive its CA");
    X509_free(cert);

    profile.not_before = NOW + 4000L * DAY;
    ok(!ca_issue(ca, key, &profile, &err) && strstr(err.detail, "4.1.2.5"),
       "a CA that is gone by then: %s", err.detail);
}

/* Each is refused with its rule, and nothing comes out. */
static void
test_refusals(const struct ca *ca, EVP_PKEY *key)
{
    static const struct { const char *serial, *sans, *name, *rule; } bad[] = {
        { "",    "DNS:a.example", NULL, "4.1.2.2" },
        { "0",   "DNS:a.example", NULL, "4.1.2.2" },
        { "xyz", "DNS:a.example", NULL, "4.1.2.2" },
        { "-1",  "DNS:a.example", NULL, "4.1.2.2" },
        { "123456789012345678901234567890123456789012", "DNS:a.example", NULL,
          "4.1.2.2" },
        { "8000000000000000000000000000000000000000", "DNS:a.example", NULL,
          "4.1.2.2" },
        { "1",   NULL,            NULL, "4.1.2.6" },
        { "1",   "",              NULL, "4.1.2.6" },
        { "1",   "DNS:a b",       NULL, "" },
        { "1",   "DNS:a.example,", NULL, "" },
        { "1",   "IP:999.1.1.1",  NULL, "" },
        { "1",   "dirName:x",     NULL, "" },
        { "1",   "DNS:a.example", "",   "commonName" },
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error        err = { 0 };
        struct ca_profile   profile = {
            .serial = bad[i].serial, .sans = bad[i].sans,
            .common_name = bad[i].name, .not_before = NOW,
            .not_after = NOW + DAY };

        ok(!ca_issue(ca, key, &profile, &err) && err.code == ERR_INVALID
           && err.detail[0] && strstr(err.detail, bad[i].rule),
           "refused: %s", err.detail);
    }

    struct error        err = { 0 };
    struct ca_profile   both = { .serial = "1", .sans = "DNS:a", .eku = 5,
                                 .not_before = NOW, .not_after = NOW + DAY };
    EVP_PKEY           *weak = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t) 1024);

    ok(!ca_issue(ca, key, &both, &err), "refused: %s", err.detail);

    both.eku = 0;
    ok(weak && !ca_issue(ca, weak, &both, &err) && err.code == ERR_INVALID,
       "refused: %s", err.detail);
    EVP_PKEY_free(weak);
}

int
main(void)
{
    struct error             err = { 0 };
    CLEANUP(ca) struct ca   *ca = test_root("ec-p256", &err);
    CLEANUP(pkey) EVP_PKEY  *ec = certctl_key_generate("ec-p256");
    CLEANUP(pkey) EVP_PKEY  *rsa = certctl_key_generate("rsa-2048");
    CLEANUP(pkey) EVP_PKEY  *ed = certctl_key_generate("ed25519");

    test_serials();
    test_roots();
    test_root_rules();
    test_below();

    test_server(ca, ec, KU_DIGITAL_SIGNATURE);
    test_server(ca, rsa, KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT);
    test_server(ca, ed, KU_DIGITAL_SIGNATURE);

    test_times(ca, ec);
    test_refusals(ca, ec);

    return done_testing();
}
