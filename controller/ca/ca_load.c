/* An authority out of its PEM files, or the rule that it breaks. */
#include "ca_build.h"
#include "x509_key.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define CA_DEPTH  10                   /* certificates above an authority */

void
ca_free(struct ca *ca)
{
    if (ca) {
        X509_free(ca->cert);
        EVP_PKEY_free(ca->key);
        x509_chain_free(ca->above);
        X509_free(ca->responder);
        EVP_PKEY_free(ca->responder_key);
        free(ca);
    }
}

/* A text before or between the blocks is passed over: openssl ca writes one. */
static bool
load_certs(struct ca *ca, const char *pem, struct error *err)
{
    X509              *cert;
    CLEANUP(bio) BIO  *bio = BIO_new_mem_buf(pem, -1);

    ca->cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ca->above = sk_X509_new_null();

    if (ca->cert == NULL || ca->above == NULL) {
        return error_set_ossl(err, ERR_INVALID, "CA certificate: not a PEM "
                              "certificate (RFC 7468)");
    }

    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (sk_X509_num(ca->above) == CA_DEPTH
            || !sk_X509_push(ca->above, cert))
        {
            X509_free(cert);
            return error_set(err, ERR_INVALID, "more than %d certificates above "
                             "the CA's own", CA_DEPTH);
        }
    }

    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        return error_set_ossl(err, ERR_INVALID, "CA certificate");
    }

    ERR_clear_error();

    return true;
}

/* Nobody is asked: an encrypted key is refused. */
static int
no_password(char *buf, int size, int rwflag, void *data)
{
    (void) buf, (void) size, (void) rwflag, (void) data;

    return -1;
}

static EVP_PKEY *
load_key(const char *pem, struct error *err)
{
    EVP_PKEY          *key;
    CLEANUP(bio) BIO  *bio = BIO_new_mem_buf(pem, -1);

    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    if (key == NULL) {
        if (strstr(pem, "ENCRYPTED")) {
            ERR_clear_error();
            error_set(err, ERR_INVALID, "the key is encrypted: give it without "
                      "a password");
        } else {
            error_set_ossl(err, ERR_INVALID, "private key: not a PEM key of a "
                           "known kind (RFC 5958)");
        }
    }

    return key;
}

static const char *
key_rule(const struct ca *ca)
{
    const char  *why = certctl_key_check(ca->key);

    if (why) {
        return why;
    }

    return X509_check_private_key(ca->cert, ca->key) == 1 ? NULL
           : "the private key is not that of the CA certificate";
}

/* What makes a certificate one of an authority (RFC 5280 4.2.1). */
static const char *
authority_rule(X509 *cert)
{
    uint32_t  flags = X509_get_extension_flags(cert);

    if (flags & EXFLAG_INVALID) {
        return "RFC 5280 4.2: the CA certificate has an extension that cannot "
               "be read";
    }

    if (flags & EXFLAG_CRITICAL) {
        return "RFC 5280 4.2: the CA certificate has a critical extension that "
               "is not known here";
    }

    if (X509_get_version(cert) != X509_VERSION_3 || !(flags & EXFLAG_BCONS)
        || !(flags & EXFLAG_CA))
    {
        return "RFC 5280 4.2.1.9: the certificate has no basicConstraints with "
               "cA, so it is no CA's";
    }

    if (!(flags & EXFLAG_KUSAGE)
        || !(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN))
    {
        return "RFC 5280 4.2.1.3: the CA certificate's keyUsage lacks "
               "keyCertSign";
    }

    return X509_get0_subject_key_id(cert) ? NULL
           : "RFC 5280 4.2.1.2: the CA certificate lacks subjectKeyIdentifier";
}

static const char *
time_rule(X509 *cert, time_t now)
{
    if (X509_cmp_time(X509_get0_notBefore(cert), &now) >= 0) {
        return "RFC 5280 4.1.2.5: the CA certificate is not yet valid";
    }

    return X509_cmp_time(X509_get0_notAfter(cert), &now) > 0 ? NULL
           : "RFC 5280 4.1.2.5: the CA certificate has expired";
}

static const char *
above_rule(const struct ca *ca, time_t now)
{
    X509        *cert = ca->cert, *issuer;
    const char  *why;

    for (int i = 0; i < sk_X509_num(ca->above); i++) {
        issuer = sk_X509_value(ca->above, i);

        if (X509_check_issued(issuer, cert) != X509_V_OK
            || X509_verify(cert, X509_get0_pubkey(issuer)) != 1)
        {
            ERR_clear_error();
            return "RFC 5280 6.1: each certificate above the CA's must have "
                   "issued the one before it";
        }

        why = authority_rule(issuer);
        why = why ? why : time_rule(issuer, now);

        if (why) {
            return why;
        }

        if (X509_get_pathlen(issuer) >= 0 && X509_get_pathlen(issuer) < i) {
            return "RFC 5280 4.2.1.9: a certificate above has a "
                   "pathLenConstraint that forbids this CA";
        }

        cert = issuer;
    }

    return NULL;
}

struct ca *
ca_load(const char *cert_pem, const char *key_pem, time_t now, struct error *err)
{
    const char              *why;
    CLEANUP(ca) struct ca   *ca = calloc(1, sizeof(*ca));

    if (ca == NULL) {
        error_set(err, ERR_INTERNAL, "CA: out of memory");
        return NULL;
    }

    ERR_clear_error();

    if (!load_certs(ca, cert_pem, err)) {
        return NULL;
    }

    ca->key = load_key(key_pem, err);

    if (ca->key == NULL) {
        return NULL;
    }

    why = authority_rule(ca->cert);
    why = why ? why : key_rule(ca);
    why = why ? why : time_rule(ca->cert, now);
    why = why ? why : above_rule(ca, now);

    if (why) {
        ERR_clear_error();
        error_set(err, ERR_INVALID, "%s", why);
        return NULL;
    }

    return TAKE(ca);
}
