
/* The certificate that answers a TLS-ALPN-01 challenge: RFC 8737 3, RFC 8738 6. */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/x509v3.h>

#include "cert/acme_cert.h"


#define NGX_CERTCTL_ACME_DAY         (24 * 3600)
#define NGX_CERTCTL_ACME_NAME        "certctl ACME challenge"
#define NGX_CERTCTL_ACME_IDENTIFIER  "1.3.6.1.5.5.7.1.31"


static ngx_int_t
ngx_certctl_acme_head(X509 *x509, EVP_PKEY *key)
{
    uint64_t    serial;
    X509_NAME  *name;

    name = X509_get_subject_name(x509);

    /* an odd serial is a positive one (RFC 5280 4.1.2.2) */

    if (RAND_bytes((u_char *) &serial, sizeof(serial)) != 1
        || X509_set_version(x509, X509_VERSION_3) != 1
        || ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial | 1)
           != 1
        || X509_gmtime_adj(X509_getm_notBefore(x509),
                           -NGX_CERTCTL_ACME_DAY)
           == NULL
        || X509_gmtime_adj(X509_getm_notAfter(x509),
                           NGX_CERTCTL_ACME_DAY)
           == NULL
        || X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                         (u_char *) NGX_CERTCTL_ACME_NAME, -1, -1, 0)
           != 1
        || X509_set_issuer_name(x509, name) != 1
        || X509_set_pubkey(x509, key) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static GENERAL_NAME *
ngx_certctl_acme_name(ngx_certctl_challenge_t *challenge)
{
    int            type;
    size_t         len;
    u_char        *data;
    ASN1_STRING   *value;
    GENERAL_NAME  *name;

    type = challenge->addr_len ? GEN_IPADD : GEN_DNS;
    data = challenge->addr_len ? challenge->addr : challenge->key;
    len = challenge->addr_len ? challenge->addr_len : challenge->key_len;

    name = GENERAL_NAME_new();
    value = ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING
                                                   : V_ASN1_IA5STRING);

    if (name == NULL || value == NULL
        || ASN1_STRING_set(value, data, (int) len) != 1)
    {
        GENERAL_NAME_free(name);
        ASN1_STRING_free(value);
        return NULL;
    }

    GENERAL_NAME_set0_value(name, type, value);

    return name;
}


/* Exactly one name: the identifier that is validated. */

static ngx_int_t
ngx_certctl_acme_san(X509 *x509, ngx_certctl_challenge_t *challenge)
{
    int             ok;
    GENERAL_NAME   *name;
    GENERAL_NAMES  *names;

    names = GENERAL_NAMES_new();
    name = ngx_certctl_acme_name(challenge);

    if (names == NULL || name == NULL
        || sk_GENERAL_NAME_push(names, name) <= 0)
    {
        GENERAL_NAME_free(name);
        GENERAL_NAMES_free(names);
        return NGX_ERROR;
    }

    ok = X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0,
                           X509V3_ADD_DEFAULT);
    GENERAL_NAMES_free(names);

    return ok == 1 ? NGX_OK : NGX_ERROR;
}


/* acmeIdentifier: critical, an OCTET STRING of the digest. */

static ngx_int_t
ngx_certctl_acme_digest(X509 *x509, ngx_certctl_challenge_t *challenge)
{
    int                 ok;
    u_char              der[2 + 32];
    ASN1_OBJECT        *oid;
    X509_EXTENSION     *ext;
    ASN1_OCTET_STRING  *value;

    der[0] = V_ASN1_OCTET_STRING;
    der[1] = sizeof(der) - 2;
    ngx_memcpy(&der[2], challenge->value, sizeof(der) - 2);

    ext = NULL;
    oid = OBJ_txt2obj(NGX_CERTCTL_ACME_IDENTIFIER, 1);
    value = ASN1_OCTET_STRING_new();

    if (oid && value
        && ASN1_OCTET_STRING_set(value, der, sizeof(der)) == 1)
    {
        ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value);
    }

    ok = ext ? X509_add_ext(x509, ext, -1) : 0;

    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);

    return ok == 1 ? NGX_OK : NGX_ERROR;
}


X509 *
ngx_certctl_acme_cert(ngx_certctl_challenge_t *challenge, EVP_PKEY *key)
{
    X509  *x509;

    x509 = X509_new();

    if (x509 == NULL
        || ngx_certctl_acme_head(x509, key) != NGX_OK
        || ngx_certctl_acme_san(x509, challenge) != NGX_OK
        || ngx_certctl_acme_digest(x509, challenge) != NGX_OK
        || X509_sign(x509, key, EVP_sha256()) == 0)
    {
        X509_free(x509);
        return NULL;
    }

    return x509;
}
