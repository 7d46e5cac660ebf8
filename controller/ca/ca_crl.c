/* Certificate revocation lists (RFC 5280 section 5): complete ones, version 2. */
#include "ca_build.h"

CLEANUP_FUNC(revoked, X509_REVOKED *, X509_REVOKED_free)
CLEANUP_FUNC(enumerated, ASN1_ENUMERATED *, ASN1_ENUMERATED_free)

#define REASON_UNUSED     7
#define REASON_DELTA      8            /* removeFromCRL */
#define REASON_MAX        10

bool
ca_reason_known(int reason)
{
    return reason >= 0 && reason <= REASON_MAX && reason != REASON_UNUSED
           && reason != REASON_DELTA;
}

/* CRLReason 0 should be absent rather than said (5.3.1). */
static bool
reason_add(X509_REVOKED *revoked, int reason)
{
    CLEANUP(enumerated) ASN1_ENUMERATED  *code = NULL;

    if (reason == 0) {
        return true;
    }

    code = ASN1_ENUMERATED_new();

    return code && ASN1_ENUMERATED_set(code, reason)
           && X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, code, 0,
                  X509V3_ADD_APPEND) == 1;
}

static bool
entry_add(X509_CRL *crl, const struct ca_revoked *entry, struct error *err)
{
    CLEANUP(revoked) X509_REVOKED        *revoked = X509_REVOKED_new();
    CLEANUP(asn1_time) ASN1_TIME         *at = ASN1_TIME_set(NULL,
                                                             entry->revoked_at);
    CLEANUP(asn1_integer) ASN1_INTEGER   *serial = ca_serial_parse(entry->serial,
                                                                   err);

    if (serial == NULL) {
        return false;
    }

    if (!ca_reason_known(entry->reason)) {
        return error_set(err, ERR_INVALID, "RFC 5280 5.3.1: %d is no reason for "
                         "an entry of a complete CRL", entry->reason);
    }

    if (revoked == NULL || at == NULL
        || !X509_REVOKED_set_serialNumber(revoked, serial)
        || !X509_REVOKED_set_revocationDate(revoked, at)
        || !reason_add(revoked, entry->reason)
        || !X509_CRL_add0_revoked(crl, revoked))
    {
        return error_set_ossl(err, ERR_INTERNAL, "CRL entry");
    }

    (void) TAKE(revoked);

    return true;
}

static bool
number_add(X509_CRL *crl, int64_t number)
{
    CLEANUP(asn1_integer) ASN1_INTEGER  *value = ASN1_INTEGER_new();

    return value && ASN1_INTEGER_set_int64(value, number)
           && X509_CRL_add1_ext_i2d(crl, NID_crl_number, value, 0,
                  X509V3_ADD_APPEND) == 1;
}

static bool
key_id_add(X509_CRL *crl, X509 *issuer)
{
    X509V3_CTX                         ctx;
    CLEANUP(x509_ext) X509_EXTENSION  *ext = NULL;

    X509V3_set_ctx(&ctx, issuer, NULL, NULL, crl, 0);
    X509V3_set_ctx_nodb(&ctx);

    ext = X509V3_EXT_nconf_nid(NULL, &ctx, NID_authority_key_identifier,
                               "keyid:always");

    return ext && X509_CRL_add_ext(crl, ext, -1);
}

/* All but the entries: the fields of 5.1 and the extensions of 5.2. */
static bool
frame_make(X509_CRL *crl, X509 *issuer, const struct ca_crl_spec *spec,
    struct error *err)
{
    CLEANUP(asn1_time) ASN1_TIME  *last = ASN1_TIME_set(NULL, spec->this_update);
    CLEANUP(asn1_time) ASN1_TIME  *next = ASN1_TIME_set(NULL, spec->next_update);

    if (spec->number < 0 || spec->next_update <= spec->this_update) {
        return error_set(err, ERR_INVALID, "RFC 5280 5: crlNumber is not "
                         "negative and nextUpdate comes after thisUpdate");
    }

    if (last == NULL || next == NULL || !X509_CRL_set_version(crl, X509_CRL_VERSION_2)
        || !X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer))
        || !X509_CRL_set1_lastUpdate(crl, last)
        || !X509_CRL_set1_nextUpdate(crl, next)
        || !key_id_add(crl, issuer) || !number_add(crl, spec->number))
    {
        return error_set_ossl(err, ERR_INTERNAL, "CRL");
    }

    return true;
}

bool
ca_crl(const struct ca *ca, const struct ca_crl_spec *spec, unsigned char **ret,
    size_t *ret_len, struct error *err)
{
    int                           len;
    unsigned char                *der = NULL;
    CLEANUP(x509_crl) X509_CRL   *crl = X509_CRL_new();

    if (!(X509_get_key_usage(ca->cert) & KU_CRL_SIGN)) {
        return error_set(err, ERR_INVALID, "RFC 5280 4.2.1.3: the CA "
                         "certificate's keyUsage lacks cRLSign");
    }

    if (crl == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "CRL");
    }

    if (!frame_make(crl, ca->cert, spec, err)) {
        return false;
    }

    for (size_t i = 0; i < spec->nrevoked; i++) {
        if (!entry_add(crl, &spec->revoked[i], err)) {
            return false;
        }
    }

    if (!X509_CRL_sign(crl, ca->key, ca_digest(ca->key))
        || (len = i2d_X509_CRL(crl, &der)) <= 0)
    {
        return error_set_ossl(err, ERR_INTERNAL, "CRL");
    }

    *ret = der;
    *ret_len = (size_t) len;

    return true;
}
