/* Certificates as they are stored and found again. */
#include "x509_leaf.h"
#include "x509_shape.h"
#include <openssl/err.h>
#include <string.h>


static bool
hash(const unsigned char *data, size_t len, unsigned char *ret)
{
    return EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1;
}


bool
certctl_leaf_shaped(const unsigned char *der, const struct shape *shape,
    struct certctl_leaf *ret)
{
    const unsigned char  *p = shape->san.p;
    struct certctl_leaf   leaf = { 0 };

    if (!hash(der, shape->len, leaf.digest)
        || !hash(shape->spki.p, der_left(&shape->spki), leaf.spki))
    {
        return false;
    }

    if (p != NULL) {
        leaf.names = d2i_GENERAL_NAMES(NULL, &p, der_left(&shape->san));

        if (leaf.names == NULL || p != shape->san.end) {
            GENERAL_NAMES_free(leaf.names);
            return false;
        }
    }

    leaf.rsa = shape->key->id == EVP_PKEY_RSA;
    leaf.not_after = shape->not_after;
    *ret = leaf;

    return true;
}


static const char *
read_cert(X509 *cert, struct certctl_leaf *ret)
{
    int              len;
    bool             good;
    struct tm        tm;
    unsigned char   *der = NULL;
    const EVP_PKEY  *key = X509_get0_pubkey(cert);

    if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm)) {
        return "the validity is not a valid time (RFC 5280 4.1.2.5)";
    }

    len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    good = len > 0 && hash(der, len, ret->spki)
           && X509_digest(cert, EVP_sha256(), ret->digest, NULL) == 1;

    OPENSSL_free(der);

    if (!good) {
        return "the certificate could not be hashed";
    }

    ret->rsa = key != NULL && (EVP_PKEY_is_a(key, "RSA")
                               || EVP_PKEY_is_a(key, "RSA-PSS"));
    ret->not_after = timegm(&tm);
    ret->names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    return NULL;
}


const char *
certctl_leaf_of(X509 *cert, struct certctl_leaf *ret)
{
    const char  *why;

    ERR_set_mark();
    why = read_cert(cert, ret);
    ERR_pop_to_mark();

    return why;
}


const char *
certctl_leaf_read(const unsigned char *der, size_t len, struct certctl_leaf *ret)
{
    X509                 *cert;
    const char           *why;
    struct shape          shape;
    const unsigned char  *p = der;

    ERR_set_mark();

    if (certctl_shape_read(der, len, &shape)
        && certctl_leaf_shaped(der, &shape, ret))
    {
        ERR_pop_to_mark();
        return NULL;
    }

    cert = d2i_X509(NULL, &p, len);
    why = cert ? read_cert(cert, ret)
               : "a certificate is not valid DER (RFC 5280 4.1)";

    X509_free(cert);
    ERR_pop_to_mark();

    return why;
}


void
certctl_leaf_free(struct certctl_leaf *leaf)
{
    GENERAL_NAMES_free(leaf->names);
    memset(leaf, 0, sizeof(*leaf));
}
