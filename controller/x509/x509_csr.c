/* Certification requests: building, checking and reading them (RFC 2986). */
#include "wire.h"
#include "x509_key.h"
#include "x509_pem.h"
#include "x509_san.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

/* TLS feature status_request: SEQUENCE { INTEGER 5 } (RFC 7633 section 6) */
static const unsigned char  must_staple_der[] = {
    0x30, 0x03, 0x02, 0x01, 0x05
};


static bool
add_must_staple(STACK_OF(X509_EXTENSION) **exts)
{
    ASN1_OCTET_STRING  *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION     *ext = NULL;
    bool                good;

    good = value != NULL
           && ASN1_OCTET_STRING_set(value, must_staple_der,
                                    sizeof(must_staple_der))
           && (ext = X509_EXTENSION_create_by_NID(NULL, NID_tlsfeature, 0,
                                                  value)) != NULL
           && X509v3_add_ext(exts, ext, -1) != NULL;

    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);

    return good;
}


/*
 * Not critical, although the subject is empty: RFC 5280 4.2.1.6 asks that of
 * certificates, which is for the issuer to see to, and there are clients that
 * look for the extension of a request by the line that it is printed with.
 */
static bool
add_extensions(X509_REQ *req, GENERAL_NAMES *names, bool must_staple)
{
    STACK_OF(X509_EXTENSION)  *exts = NULL;
    bool                       good;

    good = X509V3_add1_i2d(&exts, NID_subject_alt_name, names, 0,
                           X509V3_ADD_APPEND) == 1
           && (!must_staple || add_must_staple(&exts))
           && X509_REQ_add_extensions(req, exts);

    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);

    return good;
}


static const EVP_MD *
digest_for(EVP_PKEY *key)
{
    char  name[32];

    switch (EVP_PKEY_get_base_id(key)) {

    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        return NULL;                      /* it hashes by itself: RFC 8410 */

    case EVP_PKEY_EC:
        return EVP_PKEY_get_bits(key) > 256 ? EVP_sha384() : EVP_sha256();

    case EVP_PKEY_RSA_PSS:
        return EVP_PKEY_get_default_digest_name(key, name, sizeof(name)) == 2
               ? EVP_get_digestbyname(name)   /* no other is allowed */
               : EVP_sha256();

    default:
        return EVP_sha256();
    }
}


X509_REQ *
certctl_csr_build(EVP_PKEY *key, const char *sans, bool must_staple,
    const char **why)
{
    GENERAL_NAMES  *names;
    X509_REQ       *req;

    ERR_set_mark();

    req = NULL;
    names = certctl_sans_parse(sans, why);

    if (names != NULL) {
        *why = certctl_key_check(key);
    }

    if (*why == NULL) {
        req = X509_REQ_new();

        if (req == NULL
            || !X509_REQ_set_version(req, X509_REQ_VERSION_1)
            || !X509_REQ_set_pubkey(req, key)
            || !add_extensions(req, names, must_staple)
            || X509_REQ_sign(req, key, digest_for(key)) <= 0)
        {
            *why = "the request could not be signed";
            X509_REQ_free(req);
            req = NULL;
        }
    }

    GENERAL_NAMES_free(names);
    ERR_pop_to_mark();

    return req;
}


static GENERAL_NAMES *
names_of(X509_REQ *req, const char **why)
{
    STACK_OF(X509_EXTENSION)  *exts = X509_REQ_get_extensions(req);
    GENERAL_NAMES             *names;
    int                        crit;

    names = X509V3_get_d2i(exts, NID_subject_alt_name, &crit, NULL);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);

    /* -1: there is none; else it occurs twice or is not valid */
    *why = (names == NULL && crit != -1)
           ? "the request's subjectAltName is not valid (RFC 5280 4.2.1.6)"
           : NULL;

    return names;
}


/* What RSASSA-PSS hashes with; left out it is SHA-1 (RFC 4055 3.1). */
static int
pss_digest(const X509_ALGOR *algorithm)
{
    int              type, nid = NID_undef;
    const void      *value;
    RSA_PSS_PARAMS  *params;

    X509_ALGOR_get0(NULL, &type, &value, algorithm);

    params = type == V_ASN1_SEQUENCE
             ? ASN1_item_unpack(value, ASN1_ITEM_rptr(RSA_PSS_PARAMS)) : NULL;

    if (params != NULL) {
        nid = params->hashAlgorithm == NULL
              ? NID_sha1 : OBJ_obj2nid(params->hashAlgorithm->algorithm);
    }

    RSA_PSS_PARAMS_free(params);

    return nid;
}


/* X509_get_signature_info() knows certificates only. */
static bool
is_signed_weakly(X509_REQ *req)
{
    int                 digest, key;
    const EVP_MD       *md;
    const X509_ALGOR   *algorithm;

    X509_REQ_get0_signature(req, NULL, &algorithm);

    if (!OBJ_find_sigid_algs(OBJ_obj2nid(algorithm->algorithm), &digest, &key))
    {
        return true;
    }

    if (key == NID_rsassaPss) {
        digest = pss_digest(algorithm);

    } else if (digest == NID_undef) {
        return false;               /* EdDSA hashes by itself: RFC 8410 */
    }

    md = EVP_get_digestbynid(digest);

    return md == NULL
           || EVP_MD_get_size(md) * 4 < CERTCTL_SIGNATURE_BITS_MIN;
}


static const char *
check_request(X509_REQ *req)
{
    EVP_PKEY       *key = X509_REQ_get0_pubkey(req);
    GENERAL_NAMES  *names;
    const char     *why;

    if (key == NULL) {
        return "the request's public key cannot be read";
    }

    why = certctl_key_check(key);

    if (why != NULL) {
        return why;
    }

    if (is_signed_weakly(req)) {
        return "the request is signed with a weak or unknown hash: use SHA-256"
               " or a longer one (RFC 9155)";
    }

    if (X509_REQ_verify(req, key) != 1) {
        return "the request is not signed by its own key (RFC 2986 4.2)";
    }

    names = names_of(req, &why);

    if (names != NULL) {
        OPENSSL_free(certctl_sans_print(names, &why));
        GENERAL_NAMES_free(names);
    }

    return why;
}


static X509_REQ *
parse_block(const struct certctl_pem_block *block, const char **why)
{
    X509_REQ             *req;
    const unsigned char  *p = block->der;

    if (strcmp(block->label, "CERTIFICATE REQUEST") != 0
        && strcmp(block->label, "NEW CERTIFICATE REQUEST") != 0)
    {
        *why = certctl_pem_rule(block, "a PEM block CERTIFICATE REQUEST is"
                                " expected (RFC 7468 section 7)");
        return NULL;
    }

    req = d2i_X509_REQ(NULL, &p, (long) block->len);

    if (req == NULL || p != block->der + block->len) {
        *why = certctl_pem_rule(block, "the request is not valid DER"
                                " (RFC 2986)");
        X509_REQ_free(req);
        return NULL;
    }

    return req;
}


static X509_REQ *
read_request(const char *pem, size_t len, const char **why)
{
    int                       rc;
    X509_REQ                 *req = NULL;
    struct certctl_pem        text;
    struct certctl_pem_block  block;

    *why = NULL;
    certctl_pem_open(&text, pem, len);

    while (*why == NULL && (rc = certctl_pem_next(&text, &block, why)) != 0) {
        if (rc == 1 && req != NULL) {
            *why = certctl_pem_rule(&block, "one request is expected, and"
                                    " nothing else");

        } else if (rc == 1) {
            req = parse_block(&block, why);
        }

        certctl_pem_free(&block);
    }

    if (*why == NULL && req == NULL) {
        *why = "no request was given";
    }

    return req;
}


X509_REQ *
certctl_csr_from_pem(const char *pem, size_t len, const char **why)
{
    X509_REQ  *req = NULL;

    *why = "the request is too long";

    if (len > CERTCTL_CHAIN_MAX) {
        return NULL;
    }

    ERR_set_mark();

    req = read_request(pem, len, why);

    if (*why == NULL) {
        *why = check_request(req);
    }

    if (*why != NULL) {
        X509_REQ_free(req);
        req = NULL;
    }

    ERR_pop_to_mark();

    return req;
}


char *
certctl_csr_sans(X509_REQ *req)
{
    GENERAL_NAMES  *names;
    const char     *why;
    char           *text = NULL;

    ERR_set_mark();

    names = names_of(req, &why);

    if (sk_GENERAL_NAME_num(names) > 0) {
        text = certctl_sans_print(names, &why);
    }

    GENERAL_NAMES_free(names);
    ERR_pop_to_mark();

    return text;
}


bool
certctl_csr_must_staple(X509_REQ *req)
{
    STACK_OF(X509_EXTENSION)  *exts;
    STACK_OF(ASN1_INTEGER)    *features;
    bool                       found = false;
    int                        i;

    ERR_set_mark();

    exts = X509_REQ_get_extensions(req);
    features = X509V3_get_d2i(exts, NID_tlsfeature, NULL, NULL);

    for (i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        found |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == 5;
    }

    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    sk_X509_EXTENSION_pop_free(exts, X509_EXTENSION_free);
    ERR_pop_to_mark();

    return found;
}


char *
certctl_csr_to_pem(X509_REQ *req)
{
    BIO   *bio = BIO_new(BIO_s_mem());
    char  *data, *text = NULL;
    long   len;

    ERR_set_mark();

    if (bio != NULL && PEM_write_bio_X509_REQ(bio, req)) {
        len = BIO_get_mem_data(bio, &data);
        text = OPENSSL_strndup(data, len);
    }

    BIO_free(bio);
    ERR_pop_to_mark();

    return text;
}
