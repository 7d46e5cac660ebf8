/* The delegated OCSP signer of an authority (RFC 6960 4.2.2.2): its short-lived deputy. */
#include "ca_build.h"
#include "x509_chain.h"
#include "x509_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#define CN_SIZE    65
#define BACKDATE   300                 /* for clients whose clock is slow */

/* A subject of its own for each authority. */
static void
responder_name(X509 *issuer, char out[CN_SIZE])
{
    const ASN1_OCTET_STRING  *id = X509_get0_subject_key_id(issuer);
    const unsigned char      *octets = ASN1_STRING_get0_data(id);
    int                       len = ASN1_STRING_length(id);
    size_t                    used;

    used = (size_t) snprintf(out, CN_SIZE, "OCSP responder ");

    for (int i = 0; i < len && used + 2 < CN_SIZE; i++) {
        used += (size_t) snprintf(out + used, CN_SIZE - used, "%02x", octets[i]);
    }
}

bool
ca_responder_create(struct ca *ca, const char *serial, time_t now, int life,
    struct error *err)
{
    char                      name[CN_SIZE];
    X509                     *cert;
    CLEANUP(pkey) EVP_PKEY   *key = certctl_key_generate("ec-p256");
    struct ca_profile         profile = {
        .serial = serial, .common_name = name, .eku = CA_EKU_OCSP_SIGNING,
        .not_before = now - BACKDATE, .not_after = now + life
    };

    if (key == NULL) {
        return error_set_ossl(err, ERR_INTERNAL, "OCSP responder's key");
    }

    responder_name(ca->cert, name);
    cert = ca_issue(ca, key, &profile, err);

    if (cert == NULL) {
        return error_prefix(err, "OCSP responder");
    }

    X509_free(ca->responder);
    EVP_PKEY_free(ca->responder_key);

    ca->responder = cert;
    ca->responder_key = TAKE(key);

    return true;
}

static const char *
responder_rule(const struct ca *ca, X509 *cert, EVP_PKEY *key, time_t now)
{
    if (X509_check_private_key(cert, key) != 1) {
        return "the private key is not that of the OCSP responder's certificate";
    }

    if (X509_check_issued(ca->cert, cert) != X509_V_OK
        || X509_verify(cert, X509_get0_pubkey(ca->cert)) != 1)
    {
        return "RFC 6960 4.2.2.2: the OCSP responder's certificate is not "
               "issued by this CA";
    }

    if (!(X509_get_extension_flags(cert) & EXFLAG_XKUSAGE)
        || !(X509_get_extended_key_usage(cert) & XKU_OCSP_SIGN))
    {
        return "RFC 6960 4.2.2.2: the OCSP responder's certificate lacks "
               "id-kp-OCSPSigning";
    }

    return X509_cmp_time(X509_get0_notBefore(cert), &now) < 0
           && X509_cmp_time(X509_get0_notAfter(cert), &now) > 0 ? NULL
           : "RFC 5280 4.1.2.5: the OCSP responder's certificate is not valid "
             "now";
}

bool
ca_responder_load(struct ca *ca, const char *cert_pem, const char *key_pem,
    time_t now, struct error *err)
{
    const char              *why = NULL;
    CLEANUP(x509) X509      *cert = NULL;
    CLEANUP(pkey) EVP_PKEY  *key = NULL;

    CLEANUP(x509_chain) STACK_OF(X509)  *chain = NULL;

    key = certctl_key_from_pem(key_pem, strlen(key_pem), &why);

    if (key == NULL) {
        return error_set(err, ERR_INVALID, "OCSP responder's key: %s", why);
    }

    chain = certctl_chain_from_pem(cert_pem, strlen(cert_pem), &why);

    if (chain == NULL) {
        return error_set(err, ERR_INVALID, "OCSP responder's certificate: %s", why);
    }

    cert = sk_X509_shift(chain);
    why = responder_rule(ca, cert, key, now);

    if (why) {
        ERR_clear_error();
        return error_set(err, ERR_INVALID, "%s", why);
    }

    X509_free(ca->responder);
    EVP_PKEY_free(ca->responder_key);

    ca->responder = TAKE(cert);
    ca->responder_key = TAKE(key);

    return true;
}
