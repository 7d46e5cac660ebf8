
/*
 * Reads from a client's hello which kinds of keys it can verify, and the server
 * may use.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/client.h"


/* How keys sign, by SignatureScheme (RFC 8446 4.2.3); bits 0: any size. */

typedef struct {
    const char  *type;
    int          bits;
    ngx_uint_t   scheme;
    ngx_uint_t   tls12;         /* in TLS 1.2 a curve is no part of it */
} ngx_certctl_scheme_t;


static const ngx_certctl_scheme_t  ngx_certctl_schemes[] = {
    { "EC",      256, 0x0403, 0 },          /* ecdsa_secp256r1_sha256 */
    { "EC",      384, 0x0503, 0 },          /* ecdsa_secp384r1_sha384 */
    { "EC",      521, 0x0603, 0 },          /* ecdsa_secp521r1_sha512 */
    { "EC",        0, 0x0403, 1 },
    { "EC",        0, 0x0503, 1 },
    { "EC",        0, 0x0603, 1 },
    { "EC",        0, 0x0203, 1 },          /* ecdsa_sha1 */
    { "ED25519",   0, 0x0807, 0 },
    { "ED448",     0, 0x0808, 0 },
    { "RSA",       0, 0x0804, 0 },          /* rsa_pss_rsae_sha256 */
    { "RSA",       0, 0x0805, 0 },
    { "RSA",       0, 0x0806, 0 },
    { "RSA",       0, 0x0401, 1 },          /* rsa_pkcs1_sha256 */
    { "RSA",       0, 0x0501, 1 },
    { "RSA",       0, 0x0601, 1 },
    { "RSA",       0, 0x0201, 1 },          /* rsa_pkcs1_sha1 */
    { "RSA-PSS",   0, 0x0809, 0 },          /* rsa_pss_pss_sha256 */
    { "RSA-PSS",   0, 0x080a, 0 },
    { "RSA-PSS",   0, 0x080b, 0 },
    { NULL,        0, 0,      0 }
};


/* Whether both sides have a suite of TLS 1.2 for this kind of key. */

static ngx_uint_t
ngx_certctl_client_suite(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int                    i, nid;
    const SSL_CIPHER      *suite;
    STACK_OF(SSL_CIPHER)  *suites, *own;

    suites = SSL_get_client_ciphers(ssl);
    own = SSL_get_ciphers(ssl);
    nid = (cert->kind == CERTCTL_KIND_RSA) ? NID_auth_rsa : NID_auth_ecdsa;

    for (i = 0; i < sk_SSL_CIPHER_num(suites); i++) {
        suite = sk_SSL_CIPHER_value(suites, i);

        if (SSL_CIPHER_get_auth_nid(suite) == nid
            && sk_SSL_CIPHER_find(own, suite) >= 0)
        {
            return 1;
        }
    }

    return 0;
}


/* In TLS 1.2 the groups are for the keys of certificates, too (RFC 8422 5.1);
   a client that sends none takes any. */

static ngx_uint_t
ngx_certctl_client_curve(SSL *ssl, EVP_PKEY *key)
{
    int          i, n, nid, *groups;
    char         name[32];
    ngx_uint_t   known;

    n = SSL_get1_groups(ssl, NULL);

    if (n <= 0 || key == NULL || !EVP_PKEY_is_a(key, "EC")
        || EVP_PKEY_get_group_name(key, name, sizeof(name), NULL) != 1)
    {
        return 1;
    }

    groups = OPENSSL_malloc(n * sizeof(int));
    if (groups == NULL) {
        return 1;
    }

    known = 0;
    nid = OBJ_sn2nid(name);
    n = SSL_get1_groups(ssl, groups);

    for (i = 0; i < n; i++) {
        known |= (groups[i] == nid);
    }

    OPENSSL_free(groups);

    return known;
}


static ngx_uint_t
ngx_certctl_key_signs(EVP_PKEY *key, ngx_uint_t scheme, ngx_uint_t tls13)
{
    const ngx_certctl_scheme_t  *s;

    for (s = ngx_certctl_schemes; s->type; s++) {

        if (s->scheme == scheme
            && !(tls13 && s->tls12)
            && (s->bits == 0 || s->bits == EVP_PKEY_get_bits(key))
            && EVP_PKEY_is_a(key, s->type))
        {
            return 1;
        }
    }

    return 0;
}


/*
 * What the certificate itself may be signed with a client says apart (RFC 8446
 * 4.2.3, signature_algorithms_cert): OpenSSL would send none that does not fit.
 */

static ngx_uint_t
ngx_certctl_client_takes(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int  flags;

    ERR_set_mark();
    flags = SSL_check_chain(ssl, cert->x509, cert->key, cert->chain);
    ERR_pop_to_mark();

    return (flags & CERT_PKEY_EE_SIGNATURE) != 0;
}


ngx_uint_t
ngx_certctl_client_knows(SSL *ssl, ngx_certctl_cert_t *cert)
{
    int         i, n;
    u_char      sig, hash;
    EVP_PKEY   *key;
    ngx_uint_t  tls13;

    tls13 = (SSL_version(ssl) >= TLS1_3_VERSION);
    key = X509_get0_pubkey(cert->x509);

    if (!tls13
        && (!ngx_certctl_client_suite(ssl, cert)
            || !ngx_certctl_client_curve(ssl, key)))
    {
        return 0;
    }

    /* of those that the server's configuration allows */

    n = SSL_get_shared_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL);

    if (n == 0) {
        /* a TLS 1.2 client may leave them out: RFC 5246 7.4.1.4.1 */
        return !tls13;
    }

    for (i = 0; key && i < n; i++) {
        SSL_get_shared_sigalgs(ssl, i, NULL, NULL, NULL, &sig, &hash);

        if (ngx_certctl_key_signs(key, hash << 8 | sig, tls13)) {
            return !tls13 || ngx_certctl_client_takes(ssl, cert);
        }
    }

    return 0;
}
