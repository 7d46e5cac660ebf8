/* Makes the TLS context of the REST API from PEM text. */
#include "rest_tls.h"
#include "ossl.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static bool
tls_use_chain(SSL_CTX *tls, const char *pem)
{
    CLEANUP(bio) BIO    *bio = BIO_new_mem_buf(pem, -1);
    CLEANUP(x509) X509  *leaf = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    X509                *ca;

    if (leaf == NULL || SSL_CTX_use_certificate(tls, leaf) != 1) {
        return false;
    }

    while ((ca = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(tls, ca) != 1) {
            X509_free(ca);
            return false;
        }
    }

    /* the end of the text is an error to OpenSSL */
    ERR_clear_error();

    return true;
}

static bool
tls_use_key(SSL_CTX *tls, const char *pem)
{
    CLEANUP(bio) BIO        *bio = BIO_new_mem_buf(pem, -1);
    CLEANUP(pkey) EVP_PKEY  *key = NULL;

    key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

    return key && SSL_CTX_use_PrivateKey(tls, key) == 1
           && SSL_CTX_check_private_key(tls) == 1;
}

SSL_CTX *
tls_new(const char *cert_pem, const char *key_pem, struct error *err)
{
    SSL_CTX  *tls = SSL_CTX_new(TLS_server_method());

    if (tls == NULL
        || SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) != 1
        || SSL_CTX_set_num_tickets(tls, 1) != 1
        || !tls_use_chain(tls, cert_pem) || !tls_use_key(tls, key_pem))
    {
        error_set_ossl(err, ERR_INVALID, "the API's certificate and key");
        SSL_CTX_free(tls);
        return NULL;
    }

    /* plaintext: keys and secrets of requests */
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION
                             | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);

    return tls;
}
