/* End entity certificates (RFC 5280 4): what they may do stands in a table. */
#include "ca_build.h"

#include <string.h>

CLEANUP_FUNC(constraints, NAME_CONSTRAINTS *, NAME_CONSTRAINTS_free)

/* Each set of usages in the words of x509v3_config(5); first match counts. */
static const struct {
    int          eku;
    const char  *value;
} ekus[] = {
    { CA_EKU_SERVER_AUTH | CA_EKU_CLIENT_AUTH, "serverAuth,clientAuth" },
    { CA_EKU_SERVER_AUTH,                      "serverAuth"            },
    { CA_EKU_CLIENT_AUTH,                      "clientAuth"            },
    { CA_EKU_OCSP_SIGNING,                     "OCSPSigning"           },
};

static bool
eku_add(X509 *cert, X509 *issuer, int eku, struct error *err)
{
    for (size_t i = 0; i < sizeof(ekus) / sizeof(ekus[0]); i++) {
        if (ekus[i].eku == eku) {
            return ca_extension_add(cert, issuer, NID_ext_key_usage,
                                    ekus[i].value, err);
        }
    }

    return eku == 0
           || error_set(err, ERR_INVALID, "RFC 6960 4.2.2.2: OCSPSigning goes "
                        "with no other extendedKeyUsage");
}

static bool
usage_add(X509 *cert, X509 *issuer, EVP_PKEY *key, const struct ca_profile *profile,
    struct error *err)
{
    bool  ocsp = profile->eku == CA_EKU_OCSP_SIGNING;

    return ca_extension_add(cert, issuer, NID_key_usage,
                  /* RSA key transport, which TLS 1.2 clients may ask for. */
                  EVP_PKEY_is_a(key, "RSA") && !ocsp
                  ? "critical,digitalSignature,keyEncipherment"
                  : "critical,digitalSignature", err)
           && eku_add(cert, issuer, profile->eku, err)
           && (!ocsp || ca_extension_add(cert, issuer,
                            NID_id_pkix_OCSP_noCheck, "NULL", err))
           && (!profile->must_staple || ca_extension_add(cert, issuer,
                            NID_tlsfeature, "status_request", err));
}

static bool
extensions_add(X509 *cert, X509 *issuer, EVP_PKEY *key,
    const struct ca_profile *profile, struct error *err)
{
    return ca_extension_add(cert, issuer, NID_basic_constraints,
                  "critical,CA:FALSE", err)
           && usage_add(cert, issuer, key, profile, err)
           && ca_extension_add(cert, issuer, NID_subject_key_identifier, "hash",
                  err)
           && ca_extension_add(cert, issuer, NID_authority_key_identifier,
                  "keyid:always", err)
           && (profile->sans == NULL
               || ca_extension_sans(cert, profile->sans,
                      profile->common_name == NULL, err))
           && ca_extension_urls(cert, profile->ocsp_url,
                  profile->ca_issuers_url, profile->crl_url, err);
}

static bool
constraints_hold(X509 *authority, X509 *cert, struct error *err)
{
    int                                     critical;
    CLEANUP(constraints) NAME_CONSTRAINTS  *nc = NULL;

    nc = X509_get_ext_d2i(authority, NID_name_constraints, &critical, NULL);

    if (nc == NULL && critical != -1) {                  /* -1: there are none */
        return error_set_ossl(err, ERR_INVALID, "RFC 5280 4.2.1.10: the CA's "
                              "nameConstraints");
    }

    if (nc && NAME_CONSTRAINTS_check(cert, nc) != X509_V_OK) {
        return error_set(err, ERR_INVALID, "RFC 5280 4.2.1.10: the CA's "
                         "nameConstraints do not allow these names");
    }

    return true;
}

/* OpenSSL looks at names that it has kept from a whole certificate, so this comes
 * after the signature; X509_check_purpose() keeps them. */
static bool
names_allowed(const struct ca *ca, X509 *cert, struct error *err)
{
    bool  good;

    if (X509_check_purpose(cert, -1, 0) != 1) {
        return error_set_ossl(err, ERR_INTERNAL, "certificate");
    }

    good = constraints_hold(ca->cert, cert, err);

    for (int i = 0; good && i < sk_X509_num(ca->above); i++) {
        good = constraints_hold(sk_X509_value(ca->above, i), cert, err);
    }

    return good;
}

X509 *
ca_issue(const struct ca *ca, EVP_PKEY *key, const struct ca_profile *profile,
    struct error *err)
{
    CLEANUP(x509) X509  *cert = X509_new();

    if (cert == NULL) {
        error_set_ossl(err, ERR_INTERNAL, "certificate");
        return NULL;
    }

    if (profile->common_name == NULL
        && (profile->sans == NULL || *profile->sans == '\0'))
    {
        error_set(err, ERR_INVALID, "RFC 5280 4.1.2.6: a certificate without a "
                  "subject needs a subjectAltName");
        return NULL;
    }

    if (!ca_cert_begin(cert, ca->cert, key, profile->serial,
            profile->common_name, err)
        || !ca_cert_validity(cert, ca, profile->not_before,
            profile->not_after, err)
        || !extensions_add(cert, ca->cert, key, profile, err)
        || !ca_cert_sign(cert, ca->key, err)
        || !names_allowed(ca, cert, err))
    {
        return NULL;
    }

    return TAKE(cert);
}
