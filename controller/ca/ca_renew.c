/* A root that would expire gets another certificate for the same key. */
#include "ca_build.h"
#include "x509_chain.h"

#include <string.h>

bool
ca_half_life(const char *cert_pem, time_t *ret, struct error *err)
{
    time_t                              from, to;
    const char                         *why = NULL;
    CLEANUP(x509_chain) STACK_OF(X509)  *chain = NULL;

    chain = certctl_chain_from_pem(cert_pem, strlen(cert_pem), &why);

    if (chain == NULL) {
        return error_set(err, ERR_INVALID, "CA certificate: %s", why);
    }

    if (!ca_time(X509_get0_notBefore(sk_X509_value(chain, 0)), &from)
        || !ca_time(X509_get0_notAfter(sk_X509_value(chain, 0)), &to))
    {
        return error_set(err, ERR_INVALID, "RFC 5280 4.1.2.5: the CA certificate's "
                         "validity cannot be read");
    }

    *ret = from + (to - from) / 2;

    return true;
}

bool
ca_root_renew(struct ca *root, time_t not_before, time_t not_after,
    struct error *err)
{
    char                                 serial[CA_SERIAL_HEX];
    CLEANUP(x509) X509                  *cert = X509_dup(root->cert);
    CLEANUP(asn1_integer) ASN1_INTEGER  *number = NULL;

    if (cert == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "CA");
    }

    if (!ca_serial_new(serial, err)
        || (number = ca_serial_parse(serial, err)) == NULL
        || !ca_cert_validity(cert, NULL, not_before, not_after, err))
    {
        return false;
    }

    if (!X509_set_serialNumber(cert, number)) {
        return error_set_ossl(err, ERR_INTERNAL, "CA");
    }

    if (!ca_cert_sign(cert, root->key, err)) {
        return false;
    }

    X509_free(root->cert);
    root->cert = TAKE(cert);

    return true;
}
