
/* Builds the certificates that are signed with their own key. */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "cert/self_signed.h"
#include "x509_info.h"


#define NGX_CERTCTL_ACME_DAY  (24 * 3600)

/* id-pe-acmeIdentifier, critical: an OCTET STRING of 32 bytes in DER */
#define NGX_CERTCTL_ACME_IDENTIFIER  "1.3.6.1.5.5.7.1.31"
#define NGX_CERTCTL_ACME_DIGEST      "critical,DER:0420"


static ngx_int_t
ngx_certctl_self_signed_extend(X509 *x509, const ngx_certctl_extension_t *form)
{
    int              ok;
    X509V3_CTX       ctx;
    X509_EXTENSION  *ext;

    X509V3_set_ctx(&ctx, x509, x509, NULL, NULL, 0);

    for ( /* void */ ; form->name; form++) {

        ext = X509V3_EXT_nconf(NULL, &ctx, form->name, form->value);
        ok = ext ? X509_add_ext(x509, ext, -1) : 0;
        X509_EXTENSION_free(ext);

        if (ok != 1) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


X509 *
ngx_certctl_self_signed(EVP_PKEY *key, const ngx_certctl_self_signed_t *form)
{
    X509       *x509;
    uint64_t    serial;
    X509_NAME  *name;

    x509 = X509_new();

    if (x509 == NULL || RAND_bytes((u_char *) &serial, sizeof(serial)) != 1) {
        X509_free(x509);
        return NULL;
    }

    name = X509_get_subject_name(x509);

    /* RFC 5280 4.1.2.2 wants a positive number: an odd one is not 0 */

    if (X509_set_version(x509, X509_VERSION_3) != 1
        || ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial | 1)
           != 1
        || X509_gmtime_adj(X509_getm_notBefore(x509), -form->backdate) == NULL
        || X509_gmtime_adj(X509_getm_notAfter(x509), form->lifetime) == NULL
        || X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
                                      (u_char *) form->cn, -1, -1, 0)
           != 1
        || X509_set_issuer_name(x509, name) != 1
        || X509_set_pubkey(x509, key) != 1
        || ngx_certctl_self_signed_extend(x509, form->extensions) != NGX_OK
        || X509_sign(x509, key, EVP_sha256()) == 0)
    {
        X509_free(x509);
        return NULL;
    }

    return x509;
}


X509 *
ngx_certctl_acme_cert(ngx_certctl_challenge_t *challenge, EVP_PKEY *key)
{
    char       san[sizeof("DNS:") + NGX_CERTCTL_HOST_MAX];
    char       digest[sizeof(NGX_CERTCTL_ACME_DIGEST) + CERTCTL_HEX256];
    char       addr[INET6_ADDRSTRLEN];
    ngx_str_t  host;

    /* exactly one name: the identifier that is validated */

    const ngx_certctl_extension_t    extensions[] = {
        { "subjectAltName", san },
        { NGX_CERTCTL_ACME_IDENTIFIER, digest },
        { NULL, NULL }
    };

    const ngx_certctl_self_signed_t  form = {
        "certctl ACME challenge", NGX_CERTCTL_ACME_DAY, NGX_CERTCTL_ACME_DAY,
        extensions
    };

    if (challenge->addr_len) {
        (void) inet_ntop(challenge->addr_len == 4 ? AF_INET : AF_INET6,
                         challenge->addr, addr, sizeof(addr));
        (void) ngx_sprintf((u_char *) san, "IP:%s%Z", addr);

    } else {
        host.data = challenge->key;
        host.len = challenge->key_len;
        (void) ngx_sprintf((u_char *) san, "DNS:%V%Z", &host);
    }

    certctl_hex(challenge->value, 32,
                (char *) ngx_cpymem(digest, NGX_CERTCTL_ACME_DIGEST,
                                    sizeof(NGX_CERTCTL_ACME_DIGEST) - 1));

    return ngx_certctl_self_signed(key, &form);
}
