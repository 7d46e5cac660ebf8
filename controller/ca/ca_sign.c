/* The frame of a certificate (RFC 5280 4.1) and the signature over it. */
#include "ca_build.h"
#include "x509_key.h"

#include <string.h>

#define CN_MAX  64                     /* ub-common-name (RFC 5280 A.1) */

const EVP_MD *
ca_digest(const EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448")) {
        return NULL;
    }

    /* A hash as wide as the curve (FIPS 186-5 6.1). */
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256
           ? EVP_sha384() : EVP_sha256();
}

bool
ca_time(const ASN1_TIME *at, time_t *ret)
{
    struct tm  tm;

    if (!ASN1_TIME_to_tm(at, &tm)) {
        return false;
    }

    *ret = timegm(&tm);

    return true;
}

static bool
cert_name(X509 *cert, const char *common_name, struct error *err)
{
    CLEANUP(x509_name) X509_NAME  *name = X509_NAME_new();

    if (common_name && (*common_name == '\0' || strlen(common_name) > CN_MAX)) {
        return error_set(err, ERR_INVALID, "RFC 5280 A.1: commonName has 1 to "
                         "%d characters", CN_MAX);
    }

    if (name == NULL
        || (common_name
            && !X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                   (const unsigned char *) common_name, -1, -1, 0))
        || !X509_set_subject_name(cert, name))
    {
        return error_set_ossl(err, ERR_INVALID, "subject name");
    }

    return true;
}

bool
ca_cert_begin(X509 *cert, X509 *issuer, EVP_PKEY *key, const char *serial,
    const char *common_name, struct error *err)
{
    const char                            *why = certctl_key_check(key);
    CLEANUP(asn1_integer) ASN1_INTEGER    *number = NULL;

    if (why) {
        return error_set(err, ERR_INVALID, "%s", why);
    }

    number = ca_serial_parse(serial, err);

    if (number == NULL || !cert_name(cert, common_name, err)) {
        return false;
    }

    if (!X509_set_version(cert, X509_VERSION_3)
        || !X509_set_serialNumber(cert, number)
        || !X509_set_issuer_name(cert, X509_get_subject_name(issuer))
        || !X509_set_pubkey(cert, key))
    {
        return error_set_ossl(err, ERR_INTERNAL, "certificate");
    }

    return true;
}

bool
ca_validity(const struct ca *ca, time_t *not_before, time_t *not_after,
    struct error *err)
{
    X509    *cert = ca->cert;
    time_t   from, to;

    for (int i = 0; cert; i++) {
        if (!ca_time(X509_get0_notBefore(cert), &from)
            || !ca_time(X509_get0_notAfter(cert), &to))
        {
            return error_set(err, ERR_INVALID, "RFC 5280 4.1.2.5: the "
                             "authority's validity cannot be read");
        }

        *not_before = i && *not_before > from ? *not_before : from;
        *not_after = i && *not_after < to ? *not_after : to;
        cert = sk_X509_value(ca->above, i);
    }

    return true;
}

/* ASN1_TIME_set writes UTCTime through 2049, then GeneralizedTime (4.1.2.5). */
bool
ca_cert_validity(X509 *cert, const struct ca *issuer, time_t not_before,
    time_t not_after, struct error *err)
{
    time_t                        from, to;
    CLEANUP(asn1_time) ASN1_TIME  *before = NULL, *after = NULL;

    if (issuer) {
        if (!ca_validity(issuer, &from, &to, err)) {
            return false;
        }

        not_before = not_before < from ? from : not_before;
        not_after = not_after > to ? to : not_after;
    }

    if (not_after <= not_before) {
        return error_set(err, ERR_INVALID, "RFC 5280 4.1.2.5: notAfter lies "
                         "before notBefore, or the authority expires first");
    }

    before = ASN1_TIME_set(NULL, not_before);
    after = ASN1_TIME_set(NULL, not_after);

    if (before == NULL || after == NULL || !X509_set1_notBefore(cert, before)
        || !X509_set1_notAfter(cert, after))
    {
        return error_set_ossl(err, ERR_INVALID, "RFC 5280 4.1.2.5: validity");
    }

    return true;
}

bool
ca_cert_sign(X509 *cert, EVP_PKEY *issuer_key, struct error *err)
{
    if (!X509_sign(cert, issuer_key, ca_digest(issuer_key))
        || X509_verify(cert, issuer_key) != 1)
    {
        return error_set_ossl(err, ERR_INTERNAL, "signature");
    }

    return true;
}
