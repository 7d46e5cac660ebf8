/* Reads, writes and judges certificate chains before they are served. */
#include "wire.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "x509_pem.h"
#include "x509_read.h"
#include "x509_san.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define SIGNATURE_BITS_MIN  112     /* leaves out MD5 and SHA-1 */


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


/* The blocks of pem into chain; false with the rule in *why. */
static bool
read_blocks(STACK_OF(X509) *chain, const char *pem, size_t len,
    const struct certctl_chain_keep *keep, const char **why)
{
    const char           *pos = pem, *end = pem + len;
    const unsigned char  *p;
    unsigned char        *der;
    char                  label[32];
    size_t                dlen;
    bool                  good;
    int                   rc;

    for ( ;; ) {
        rc = certctl_pem_next(&pos, end, label, &der, &dlen, why);

        if (rc != 1) {
            return rc == 0;
        }

        p = der;
        *why = "only PEM blocks CERTIFICATE are allowed (RFC 7468 section 5)";
        good = strcmp(label, "CERTIFICATE") == 0
               && push_der(chain, &p, dlen, keep, why);

        if (good && p != der + dlen) {
            *why = "a PEM block holds more than one certificate";
            good = false;
        }

        OPENSSL_clear_free(der, dlen);

        if (!good) {
            return false;
        }
    }
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
certctl_chain_from_pem(const char *pem, size_t len, const char **why)
{
    return certctl_chain_from_pem_kept(pem, len, NULL, why);
}


STACK_OF(X509) *
certctl_chain_from_pem_kept(const char *pem, size_t len,
    const struct certctl_chain_keep *keep, const char **why)
{
    STACK_OF(X509)  *chain;

    *why = "the chain is longer than 65536 bytes";

    if (len > CERTCTL_CHAIN_MAX) {
        return NULL;
    }

    ERR_set_mark();

    *why = "out of memory";
    chain = sk_X509_new_null();
    chain = finish(chain, chain && read_blocks(chain, pem, len, keep, why),
                   why);

    ERR_pop_to_mark();

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


static const char *
check_times(X509 *cert, time_t now)
{
    int  before = X509_cmp_time(X509_get0_notBefore(cert), &now);
    int  after = X509_cmp_time(X509_get0_notAfter(cert), &now);

    if (before == 0 || after == 0) {
        return "the validity is not a valid time (RFC 5280 4.1.2.5)";
    }

    if (before > 0) {
        return "a certificate of the chain is not yet valid";
    }

    return after < 0 ? "a certificate of the chain has expired" : NULL;
}


/* A root's signature of itself proves nothing, so its hash does not matter. */
static const char *
check_strength(X509 *cert)
{
    EVP_PKEY    *key = X509_get0_pubkey(cert);
    const char  *why;
    int          bits;

    if (key == NULL) {
        return "the public key of a certificate cannot be read";
    }

    why = certctl_key_check(key);

    if (why != NULL || X509_get_extension_flags(cert) & EXFLAG_SS) {
        return why;
    }

    return X509_get_signature_info(cert, NULL, NULL, &bits, NULL)
           && bits >= SIGNATURE_BITS_MIN
           ? NULL
           : "a certificate is signed with a weak or unknown hash";
}


/* RFC 5280 4.2.1.3, 4.2.1.9, 4.2.1.12: what a TLS server's certificate is. */
static const char *
check_leaf(X509 *leaf)
{
    uint32_t  flags = X509_get_extension_flags(leaf);
    uint32_t  usage = X509_get_extended_key_usage(leaf);

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

    if (!(usage & (XKU_SSL_SERVER | XKU_ANYEKU))) {
        return "the leaf may not authenticate servers (RFC 5280 4.2.1.12)";
    }

    if (!(X509_get_key_usage(leaf)
          & (KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT)))
    {
        return "the leaf's key usage allows no TLS (RFC 5280 4.2.1.3)";
    }

    return NULL;
}


/* below: how many CA certificates stand between issuer and the leaf */
static const char *
check_issuer(X509 *cert, X509 *issuer, int below)
{
    long  pathlen = X509_get_pathlen(issuer);

    if (X509_check_ca(issuer) != 1) {
        return "a certificate behind the leaf is no CA (RFC 5280 4.2.1.9)";
    }

    if (X509_check_issued(issuer, cert) != X509_V_OK) {
        return "a certificate is not issued by the next one"
               " (RFC 8446 4.4.2)";
    }

    if (X509_verify(cert, X509_get0_pubkey(issuer)) != 1) {
        return "a certificate is not signed by the next one"
               " (RFC 5280 6.1.3)";
    }

    return pathlen >= 0 && pathlen < below
           ? "the chain is longer than a CA's pathLenConstraint allows"
             " (RFC 5280 4.2.1.9)"
           : NULL;
}


static const char *
check_one(X509 *cert, time_t now)
{
    const char  *why = check_times(cert, now);

    return why ? why : check_strength(cert);
}


const char *
certctl_cas_check(STACK_OF(X509) *certs, int first, time_t now)
{
    int          i, below = 0, n = sk_X509_num(certs);
    X509        *cert;
    const char  *why = NULL;

    for (i = first; why == NULL && i < n; i++) {
        cert = sk_X509_value(certs, i);
        why = check_one(cert, now);
        below += !(X509_get_extension_flags(cert) & EXFLAG_SI);

        if (why == NULL && i + 1 < n) {
            why = check_issuer(cert, sk_X509_value(certs, i + 1), below);
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
        why = check_one(leaf, now);
    }

    if (why == NULL && sk_X509_num(chain) > 1) {
        why = check_issuer(leaf, sk_X509_value(chain, 1), 0);
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
