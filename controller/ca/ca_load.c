/* An authority out of its PEM files, or the rule that it breaks. */
#include "ca_build.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "x509_rule.h"

#include <openssl/err.h>
#include <string.h>

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

/* A key in the same file is passed over, as are certificates in the key's. */
static bool
load_certs(struct ca *ca, const struct certctl_pem_bundle *bundle,
    struct error *err)
{
    const char  *why;

    ca->above = certctl_chain_from_bundle(bundle, NULL, &why);

    if (ca->above == NULL) {
        return error_set(err, ERR_INVALID, "%s", why);
    }

    ca->cert = sk_X509_shift(ca->above);

    return true;
}

static bool
load_key(struct ca *ca, const struct certctl_pem_bundle *bundle,
    struct error *err)
{
    const char  *why;

    ca->key = certctl_key_from_bundle(bundle, &why);

    return ca->key || error_set(err, ERR_INVALID, "%s", why);
}

/* What a PEM text holds goes into ca by load. */
static bool
load_text(struct ca *ca, const char *pem,
    bool (*load)(struct ca *, const struct certctl_pem_bundle *, struct error *),
    struct error *err)
{
    bool                       good;
    struct certctl_pem_bundle  bundle;
    const char                *why = certctl_pem_bundle(pem, strlen(pem), &bundle);

    good = why ? error_set(err, ERR_INVALID, "%s", why) : load(ca, &bundle, err);
    certctl_pem_bundle_free(&bundle);

    return good;
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

    /* only if it is there: 6.1.4 (n) */

    if (!(X509_get_key_usage(cert) & KU_KEY_CERT_SIGN)) {
        return "RFC 5280 4.2.1.3: the CA certificate's keyUsage lacks "
               "keyCertSign";
    }

    return NULL;
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

/* cert has CAs below it, of which below is the next; NULL for the authority's own. */
static const char *
cert_rule(X509 *cert, X509 *below, int cas, time_t now)
{
    const char  *why;

    if (below && (X509_check_issued(cert, below) != X509_V_OK
                  || X509_verify(below, X509_get0_pubkey(cert)) != 1))
    {
        return "RFC 5280 6.1: each certificate above the CA's must have issued "
               "the one before it";
    }

    why = authority_rule(cert);
    why = why ? why : time_rule(cert, now);

    if (why) {
        return why;
    }

    if (below == NULL) {
        return X509_get0_subject_key_id(cert)
               ? certctl_key_check(X509_get0_pubkey(cert))
               : "RFC 5280 4.2.1.2: the CA certificate lacks subjectKeyIdentifier";
    }

    return X509_get_pathlen(cert) >= 0 && X509_get_pathlen(cert) < cas
           ? "RFC 5280 4.2.1.9: its pathLenConstraint forbids the CA below it"
           : NULL;
}

static const char *
chain_rule(const struct ca *ca, time_t now)
{
    int          cas = 0;
    X509        *cert = ca->cert, *below = NULL;
    const char  *why = NULL;

    for (int i = 0; cert && why == NULL; i++) {
        why = cert_rule(cert, below, cas, now);
        why = why ? certctl_rule_of(i, cert, why) : NULL;

        cas += !(X509_get_extension_flags(cert) & EXFLAG_SI);
        below = cert;
        cert = sk_X509_value(ca->above, i);
    }

    ERR_clear_error();

    return why;
}

struct ca *
ca_load_certs(const char *pem, time_t now, struct error *err)
{
    const char              *why;
    CLEANUP(ca) struct ca   *ca = calloc(1, sizeof(*ca));

    if (ca == NULL) {
        error_set(err, ERR_INTERNAL, "CA: out of memory");
        return NULL;
    }

    if (!load_text(ca, pem, load_certs, err)) {
        return NULL;
    }

    why = chain_rule(ca, now);

    if (why) {
        error_set(err, ERR_INVALID, "%s", why);
        return NULL;
    }

    return TAKE(ca);
}

bool
ca_load_key(struct ca *ca, const char *pem, struct error *err)
{
    if (!load_text(ca, pem, load_key, err)) {
        return false;
    }

    if (X509_check_private_key(ca->cert, ca->key) != 1) {
        ERR_clear_error();
        return error_set(err, ERR_INVALID, "the private key is not that of the "
                         "CA certificate");
    }

    return true;
}

struct ca *
ca_load(const char *cert_pem, const char *key_pem, time_t now, struct error *err)
{
    CLEANUP(ca) struct ca  *ca = ca_load_certs(cert_pem, now, err);

    if (ca == NULL) {
        error_prefix(err, "CA certificate");
        return NULL;
    }

    if (!ca_load_key(ca, key_pem, err)) {
        error_prefix(err, "CA key");
        return NULL;
    }

    return TAKE(ca);
}
