/* An authority's certificates and keys as PEM text (RFC 7468). */
#include "ca_build.h"

#include <openssl/pem.h>
#include <string.h>

/* What bio holds, as text that free() takes; secret leaves no copy behind. */
static char *
pem_text(BIO *bio, bool secret, struct error *err)
{
    char  *data, *text;
    long   len = BIO_get_mem_data(bio, &data);

    text = len > 0 ? malloc((size_t) len + 1) : NULL;

    if (text == NULL) {
        error_set(err, ERR_INTERNAL, "PEM: out of memory");
        return NULL;
    }

    memcpy(text, data, (size_t) len);
    text[len] = '\0';

    if (secret) {
        OPENSSL_cleanse(data, (size_t) len);
    }

    return text;
}

static bool
pem_put(BIO *bio, X509 *cert)
{
    return bio && PEM_write_bio_X509(bio, cert) == 1;
}

char *
ca_cert_pem(const struct ca *ca, struct error *err)
{
    CLEANUP(bio) BIO  *bio = BIO_new(BIO_s_mem());
    bool               good = pem_put(bio, ca->cert);

    for (int i = 0; good && i < sk_X509_num(ca->above); i++) {
        good = pem_put(bio, sk_X509_value(ca->above, i));
    }

    if (!good) {
        error_set_ossl(err, ERR_INTERNAL, "PEM certificate");
        return NULL;
    }

    return pem_text(bio, false, err);
}

char *
ca_chain_pem(const struct ca *ca, X509 *leaf, struct error *err)
{
    X509              *cert;
    CLEANUP(bio) BIO  *bio = BIO_new(BIO_s_mem());
    bool               good = pem_put(bio, leaf) && pem_put(bio, ca->cert);

    for (int i = 0; good && i < sk_X509_num(ca->above); i++) {
        cert = sk_X509_value(ca->above, i);

        if (!(X509_get_extension_flags(cert) & EXFLAG_SS)) {
            good = pem_put(bio, cert);
        }
    }

    if (!good) {
        error_set_ossl(err, ERR_INTERNAL, "PEM chain");
        return NULL;
    }

    return pem_text(bio, false, err);
}

char *
ca_x509_pem(X509 *cert, struct error *err)
{
    CLEANUP(bio) BIO  *bio = BIO_new(BIO_s_mem());

    if (!pem_put(bio, cert)) {
        error_set_ossl(err, ERR_INTERNAL, "PEM certificate");
        return NULL;
    }

    return pem_text(bio, false, err);
}

char *
ca_pkey_pem(EVP_PKEY *key, struct error *err)
{
    CLEANUP(bio) BIO  *bio = BIO_new(BIO_s_secmem());

    if (bio == NULL
        || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1)
    {
        error_set_ossl(err, ERR_INTERNAL, "PEM key");
        return NULL;
    }

    return pem_text(bio, true, err);
}

char *
ca_key_pem(const struct ca *ca, struct error *err)
{
    return ca_pkey_pem(ca->key, err);
}
