/* Reads, writes and judges certificate chains before they are served. */
#include "wire.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "x509_pem.h"
#include "x509_read.h"
#include "x509_rule.h"
#include "x509_san.h"
#include "x509_usage.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>



/* The leaf is always new; the CAs above it are what a caller may have kept. */
static bool
push_der(STACK_OF(X509) *chain, const unsigned char **p, size_t len,
    const struct certctl_chain_keep *keep, const char **why)
{
    X509  *cert;

    if (sk_X509_num(chain) == CERTCTL_CHAIN_DEPTH) {
        *why = "a chain may hold at most 10 certificates";
        return false;
    }

    *why = "a certificate is not valid DER (RFC 5280 4.1)";
    cert = keep != NULL && sk_X509_num(chain) > 0
           ? keep->get(p, len, keep->data)
           : certctl_x509_read(p, (long) len);

    if (cert == NULL || !sk_X509_push(chain, cert)) {
        X509_free(cert);
        return false;
    }

    return true;
}


static bool
push_block(STACK_OF(X509) *chain, const struct certctl_pem_block *block,
    const struct certctl_chain_keep *keep, const char **why)
{
    const unsigned char  *p = block->der;

    if (!push_der(chain, &p, block->len, keep, why)) {
        *why = certctl_pem_rule(block, *why);
        return false;
    }

    if (p != block->der + block->len) {
        *why = certctl_pem_rule(block, "it holds more than one certificate"
                                " (RFC 7468 section 5)");
        return false;
    }

    return true;
}


static STACK_OF(X509) *
finish(STACK_OF(X509) *chain, bool good, const char **why)
{
    if (good && sk_X509_num(chain) == 0) {
        *why = "no certificate was given";
        good = false;
    }

    if (!good) {
        sk_X509_pop_free(chain, X509_free);
        return NULL;
    }

    *why = NULL;

    return chain;
}


STACK_OF(X509) *
certctl_chain_from_bundle(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, const char **why)
{
    int              i;
    bool             good;
    STACK_OF(X509)  *chain;

    ERR_set_mark();

    *why = "out of memory";
    chain = sk_X509_new_null();
    good = chain != NULL;

    for (i = 0; good && i < bundle->count; i++) {
        good = push_block(chain, &bundle->certs[i], keep, why);
    }

    chain = finish(chain, good, why);
    ERR_pop_to_mark();

    return chain;
}


STACK_OF(X509) *
certctl_chain_from_pem(const char *pem, size_t len, const char **why)
{
    STACK_OF(X509)             *chain = NULL;
    struct certctl_pem_bundle   bundle;

    *why = certctl_pem_bundle(pem, len, &bundle);

    if (*why == NULL && bundle.key.der != NULL) {
        *why = certctl_pem_rule(&bundle.key, "only certificates are expected");
    }

    if (*why == NULL && bundle.staple.der != NULL) {
        *why = certctl_pem_rule(&bundle.staple,
                                "only certificates are expected");
    }

    if (*why == NULL) {
        chain = certctl_chain_from_bundle(&bundle, NULL, why);
    }

    certctl_pem_bundle_free(&bundle);

    return chain;
}


STACK_OF(X509) *
certctl_chain_from_der(const unsigned char *der, size_t len, const char **why)
{
    const unsigned char  *p = der, *end = der + len;
    STACK_OF(X509)       *chain;
    bool                  good;

    *why = "the chain is longer than 65536 bytes";

    if (len > CERTCTL_CHAIN_MAX) {
        return NULL;
    }

    ERR_set_mark();

    *why = "out of memory";
    chain = sk_X509_new_null();
    good = chain != NULL;

    while (good && p < end) {
        good = push_der(chain, &p, end - p, NULL, why);
    }

    chain = finish(chain, good, why);
    ERR_pop_to_mark();

    return chain;
}


char *
certctl_chain_to_pem(STACK_OF(X509) *chain)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *data, *text = NULL;
    bool   good = bio != NULL;
    long   len;
    int    i;

    ERR_set_mark();

    for (i = 0; good && i < sk_X509_num(chain); i++) {
        good = PEM_write_bio_X509(bio, sk_X509_value(chain, i));
    }

    if (good) {
        len = BIO_get_mem_data(bio, &data);
        text = OPENSSL_strndup(data, len);
    }

    BIO_free(bio);
    ERR_pop_to_mark();

    return text;
}


/* "it <what> 2026-08-01T00:00:00Z (RFC 5280 4.1.2.5)" */
static const char *
time_rule(const char *what, const ASN1_TIME *at)
{
    char       text[32];
    struct tm  tm;

    if (!ASN1_TIME_to_tm(at, &tm)
        || strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    {
        return "the validity is not a valid time (RFC 5280 4.1.2.5)";
    }

    return certctl_rule("it %s %s (RFC 5280 4.1.2.5)", what, text);
}


static const char *
check_times(X509 *cert, time_t now)
{
    int  before = X509_cmp_time(X509_get0_notBefore(cert), &now);
    int  after = X509_cmp_time(X509_get0_notAfter(cert), &now);

    if (before == 0 || after == 0) {
        return "the validity is not a valid time (RFC 5280 4.1.2.5)";
    }

    if (before > 0) {
        return time_rule("is not yet valid, its validity begins at",
                         X509_get0_notBefore(cert));
    }

    return after < 0 ? time_rule("has expired at", X509_get0_notAfter(cert))
                     : NULL;
}


/* A root's signature of itself proves nothing, so its hash does not matter. */
static const char *
check_strength(X509 *cert)
{
    EVP_PKEY    *key = X509_get0_pubkey(cert);
    const char  *why;
    int          bits;

    if (key == NULL) {
        return "its public key cannot be read (RFC 5280 4.1.2.7)";
    }

    why = certctl_key_check(key);

    if (why != NULL || X509_get_extension_flags(cert) & EXFLAG_SS) {
        return why;
    }

    return X509_get_signature_info(cert, NULL, NULL, &bits, NULL)
           && bits >= CERTCTL_SIGNATURE_BITS_MIN
           ? NULL
           : "it is signed with a weak or unknown hash (RFC 9155)";
}


/* RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.12: what a TLS server's certificate is. */
static const char *
check_leaf(X509 *leaf)
{
    uint32_t  flags = X509_get_extension_flags(leaf);

    if (flags & EXFLAG_INVALID) {
        return "an extension of the leaf is not valid (RFC 5280 4.2)";
    }

    if (flags & EXFLAG_CRITICAL) {
        return "the leaf has a critical extension that no client knows"
               " (RFC 5280 4.2)";
    }

    if (flags & EXFLAG_CA) {
        return "the first certificate must be the leaf, and no CA"
               " (RFC 5280 4.2.1.9)";
    }

    return certctl_usage_check(leaf);
}


/* below: how many CA certificates stand between issuer and the leaf */
static const char *
check_issuer(X509 *cert, X509 *issuer, int below)
{
    long  pathlen = X509_get_pathlen(issuer);

    if (X509_check_ca(issuer) != 1) {
        return "it stands behind the leaf, but is no CA (RFC 5280 4.2.1.9)";
    }

    if (X509_check_issued(issuer, cert) != X509_V_OK) {
        return "the certificate before it is not issued by it"
               " (RFC 8446 4.4.2)";
    }

    if (X509_verify(cert, X509_get0_pubkey(issuer)) != 1) {
        return "the certificate before it is not signed by it"
               " (RFC 5280 6.1.3)";
    }

    return pathlen >= 0 && pathlen < below
           ? "the chain below it is longer than its pathLenConstraint allows"
             " (RFC 5280 4.2.1.9)"
           : NULL;
}


/* Certificate at of the chain by itself. */
static const char *
check_one(X509 *cert, int at, time_t now)
{
    const char  *why = check_times(cert, now);

    why = why ? why : check_strength(cert);

    return why ? certctl_rule_of(at, cert, why) : NULL;
}


/* Whether certificate at has issued cert, the one before it. */
static const char *
check_pair(X509 *cert, X509 *issuer, int at, int below)
{
    const char  *why = check_issuer(cert, issuer, below);

    return why ? certctl_rule_of(at, issuer, why) : NULL;
}


const char *
certctl_cas_check(STACK_OF(X509) *certs, int first, time_t now)
{
    int          i, below = 0, n = sk_X509_num(certs);
    X509        *cert;
    const char  *why = NULL;

    for (i = first; why == NULL && i < n; i++) {
        cert = sk_X509_value(certs, i);
        why = check_one(cert, i, now);
        below += !(X509_get_extension_flags(cert) & EXFLAG_SI);

        if (why == NULL && i + 1 < n) {
            why = check_pair(cert, sk_X509_value(certs, i + 1), i + 1, below);
        }
    }

    return why;
}


static const char *
check_chain(STACK_OF(X509) *chain, EVP_PKEY *key, time_t now)
{
    X509        *leaf = sk_X509_value(chain, 0);
    const char  *why;

    if (leaf == NULL) {
        return "no certificate was given";
    }

    why = check_leaf(leaf);

    if (why == NULL) {
        why = check_one(leaf, 0, now);
    }

    if (why == NULL && sk_X509_num(chain) > 1) {
        why = check_pair(leaf, sk_X509_value(chain, 1), 1, 0);
    }

    if (why == NULL) {
        why = certctl_cas_check(chain, 1, now);
    }

    if (why == NULL && key != NULL && X509_check_private_key(leaf, key) != 1) {
        why = "the private key is not the one of the leaf";
    }

    return why;
}


const char *
certctl_chain_check(STACK_OF(X509) *chain, EVP_PKEY *key, time_t now)
{
    const char  *why;

    ERR_set_mark();
    why = check_chain(chain, key, now);
    ERR_pop_to_mark();

    return why;
}


static bool
contains(const GENERAL_NAMES *names, const GENERAL_NAME *gn)
{
    int  i;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (certctl_san_equal(sk_GENERAL_NAME_value(names, i), gn)) {
            return true;
        }
    }

    return false;
}


static bool
contains_all(const GENERAL_NAMES *names, const GENERAL_NAMES *wanted)
{
    int  i;

    for (i = 0; i < sk_GENERAL_NAME_num(wanted); i++) {
        if (!contains(names, sk_GENERAL_NAME_value(wanted, i))) {
            return false;
        }
    }

    return true;
}


const char *
certctl_names_equal(const GENERAL_NAMES *have, const GENERAL_NAMES *want)
{
    if (sk_GENERAL_NAME_num(have) > CERTCTL_SANS_MAX) {
        return "a certificate may hold at most 100 names";
    }

    if (!contains_all(have, want)) {
        return "the certificate lacks a name that was asked for";
    }

    return contains_all(want, have)
           ? NULL
           : "the certificate carries a name that was not asked for";
}


const char *
certctl_names_are(const GENERAL_NAMES *have, const char *sans)
{
    GENERAL_NAMES  *want;
    const char     *why = NULL;

    ERR_set_mark();

    want = certctl_sans_parse(sans, &why);

    if (why == NULL) {
        why = certctl_names_equal(have, want);
    }

    GENERAL_NAMES_free(want);
    ERR_pop_to_mark();

    return why;
}


const char *
certctl_chain_names_equal(STACK_OF(X509) *chain, const char *sans)
{
    GENERAL_NAMES  *have;
    const char     *why;

    ERR_set_mark();
    have = X509_get_ext_d2i(sk_X509_value(chain, 0), NID_subject_alt_name,
                            NULL, NULL);
    ERR_pop_to_mark();

    why = certctl_names_are(have, sans);
    GENERAL_NAMES_free(have);

    return why;
}
