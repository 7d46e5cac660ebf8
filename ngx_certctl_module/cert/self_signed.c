
/* Builds the certificates that are signed with their own key. */

#include <ngx_config.h>
#include <ngx_core.h>

#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "cert/self_signed.h"


ngx_int_t
ngx_certctl_self_signed_extend(X509 *x509, int nid, const char *value)
{
    int              ok;
    X509V3_CTX       ctx;
    X509_EXTENSION  *ext;

    X509V3_set_ctx(&ctx, x509, x509, NULL, NULL, 0);

    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (ext == NULL) {
        return NGX_ERROR;
    }

    ok = X509_add_ext(x509, ext, -1);
    X509_EXTENSION_free(ext);

    return ok == 1 ? NGX_OK : NGX_ERROR;
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
        || form->extend(x509, form->data) != NGX_OK
        || X509_sign(x509, key, EVP_sha256()) == 0)
    {
        X509_free(x509);
        return NULL;
    }

    return x509;
}
