
/* The certificate for a TLS-ALPN-01 challenge: RFC 8737 3, RFC 8738 6. */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/x509v3.h>

#include "cert/acme_cert.h"
#include "cert/self_signed.h"


#define NGX_CERTCTL_ACME_DAY         (24 * 3600)
#define NGX_CERTCTL_ACME_NAME        "certctl ACME challenge"
#define NGX_CERTCTL_ACME_IDENTIFIER  "1.3.6.1.5.5.7.1.31"


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


static ngx_int_t
ngx_certctl_acme_extend(X509 *x509, void *data)
{
    ngx_certctl_challenge_t *challenge = data;

    return ngx_certctl_acme_san(x509, challenge) == NGX_OK
           ? ngx_certctl_acme_digest(x509, challenge) : NGX_ERROR;
}


X509 *
ngx_certctl_acme_cert(ngx_certctl_challenge_t *challenge, EVP_PKEY *key)
{
    ngx_certctl_self_signed_t  form = {
        NGX_CERTCTL_ACME_NAME, NGX_CERTCTL_ACME_DAY, NGX_CERTCTL_ACME_DAY,
        ngx_certctl_acme_extend, challenge
    };

    return ngx_certctl_self_signed(key, &form);
}
