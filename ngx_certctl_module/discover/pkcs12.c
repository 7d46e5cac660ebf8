
/* What an empty password opens of a PKCS#12 file (RFC 7292). */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "discover/discover.h"


/* Deriving a key takes as long as a file says: longer ones are left closed. */
#define NGX_HTTP_CERTCTL_ITERATIONS  100000

/* And of all of a file's: it may have thousands of encrypted parts. */
#define NGX_HTTP_CERTCTL_WORK        1000000


/* Iterations of PBKDF2 or an older scheme (RFC 8018 A.2, A.3); -1 for others,
   such as scrypt, which takes memory, too. */

static int64_t
ngx_http_certctl_pkcs12_iterations(const X509_ALGOR *alg)
{
    int                 type;
    int64_t             times;
    PBEPARAM           *pbe;
    PBE2PARAM          *pbes2;
    const void         *value;
    PBKDF2PARAM        *kdf;
    const ASN1_OBJECT  *oid;

    times = -1;
    pbes2 = NULL;

    X509_ALGOR_get0(&oid, &type, &value, alg);

    if (OBJ_obj2nid(oid) == NID_pbes2 && type == V_ASN1_SEQUENCE) {
        pbes2 = ASN1_item_unpack(value, ASN1_ITEM_rptr(PBE2PARAM));
        if (pbes2 == NULL) {
            return -1;
        }

        X509_ALGOR_get0(&oid, &type, &value, pbes2->keyfunc);
    }

    if (type == V_ASN1_SEQUENCE && pbes2 == NULL) {
        pbe = ASN1_item_unpack(value, ASN1_ITEM_rptr(PBEPARAM));
        if (pbe) {
            (void) ASN1_INTEGER_get_int64(&times, pbe->iter);
            PBEPARAM_free(pbe);
        }

    } else if (type == V_ASN1_SEQUENCE && OBJ_obj2nid(oid) == NID_id_pbkdf2) {
        kdf = ASN1_item_unpack(value, ASN1_ITEM_rptr(PBKDF2PARAM));
        if (kdf) {
            (void) ASN1_INTEGER_get_int64(&times, kdf->iter);
            PBKDF2PARAM_free(kdf);
        }
    }

    PBE2PARAM_free(pbes2);

    return times;
}


static ngx_uint_t
ngx_http_certctl_pkcs12_cheap(ngx_http_certctl_file_t *file,
    const X509_ALGOR *alg)
{
    int64_t  times;

    times = ngx_http_certctl_pkcs12_iterations(alg);

    if (times < 0 || times > NGX_HTTP_CERTCTL_ITERATIONS
        || times > NGX_HTTP_CERTCTL_WORK - file->work)
    {
        return 0;
    }

    file->work += times;

    return 1;
}


static STACK_OF(PKCS12_SAFEBAG) *
ngx_http_certctl_pkcs12_bags(ngx_http_certctl_file_t *file, PKCS7 *p7,
    const char *pass)
{
    if (PKCS7_type_is_data(p7)) {
        return PKCS12_unpack_p7data(p7);
    }

    if (PKCS7_type_is_encrypted(p7)
        && p7->d.encrypted && p7->d.encrypted->enc_data
        && ngx_http_certctl_pkcs12_cheap(file,
                                     p7->d.encrypted->enc_data->algorithm))
    {
        return PKCS12_unpack_p7encdata(p7, pass, 0);
    }

    return NULL;
}


/* No password and the empty one differ in PKCS#12 (RFC 7292 B.1). */

static ngx_uint_t
ngx_http_certctl_pkcs12_open(PKCS12 *p12, const char **pass)
{
    const X509_ALGOR    *alg;
    const ASN1_OBJECT   *oid;
    const ASN1_INTEGER  *times;

    *pass = "";

    if (!PKCS12_mac_present(p12)) {
        return 1;
    }

    PKCS12_get0_mac(NULL, &alg, NULL, &times, p12);
    X509_ALGOR_get0(&oid, NULL, NULL, alg);

    if (EVP_get_digestbyobj(oid) == NULL
        || (times && (ASN1_INTEGER_get(times) < 0
                      || ASN1_INTEGER_get(times)
                         > NGX_HTTP_CERTCTL_ITERATIONS)))
    {
        return 0;
    }

    if (PKCS12_verify_mac(p12, "", 0) == 1) {
        return 1;
    }

    *pass = NULL;

    return PKCS12_verify_mac(p12, NULL, 0) == 1;
}


static EVP_PKEY *
ngx_http_certctl_pkcs12_key(ngx_http_certctl_file_t *file,
    PKCS12_SAFEBAG *bag, const char *pass)
{
    EVP_PKEY             *key;
    const X509_ALGOR     *alg;
    PKCS8_PRIV_KEY_INFO  *info;

    if (PKCS12_SAFEBAG_get_nid(bag) == NID_keyBag) {
        return EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(bag));
    }

    X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &alg, NULL);

    if (!ngx_http_certctl_pkcs12_cheap(file, alg)) {
        return NULL;
    }

    info = PKCS12_decrypt_skey(bag, pass, 0);
    key = info ? EVP_PKCS82PKEY(info) : NULL;

    /* wiped by OpenSSL as it is freed */

    PKCS8_PRIV_KEY_INFO_free(info);

    return key;
}


static void
ngx_http_certctl_pkcs12_bag(ngx_http_certctl_file_t *file,
    PKCS12_SAFEBAG *bag, const char *pass, ngx_uint_t keys)
{
    EVP_PKEY  *key;

    switch (PKCS12_SAFEBAG_get_nid(bag)) {

    case NID_certBag:

        if (!keys && PKCS12_SAFEBAG_get_bag_nid(bag) == NID_x509Certificate) {
            ngx_http_certctl_file_add_cert(file,
                                           PKCS12_SAFEBAG_get1_cert(bag));
        }

        break;

    case NID_keyBag:
    case NID_pkcs8ShroudedKeyBag:

        if (keys) {
            key = ngx_http_certctl_pkcs12_key(file, bag, pass);
            ngx_http_certctl_file_add_key(file, key);
            EVP_PKEY_free(key);
        }
    }
}


static void
ngx_http_certctl_pkcs12_closed(ngx_http_certctl_file_t *file, ngx_uint_t keys)
{
    file->why = "encrypted";

    if (keys) {
        ngx_http_certctl_file_add_key(file, NULL);
    }
}


void
ngx_http_certctl_pkcs12(ngx_http_certctl_file_t *file, PKCS12 *p12,
    ngx_uint_t keys)
{
    int                        i, j;
    const char                *pass;
    STACK_OF(PKCS7)           *safes;
    STACK_OF(PKCS12_SAFEBAG)  *bags;

    if (!ngx_http_certctl_pkcs12_open(p12, &pass)) {
        ngx_http_certctl_pkcs12_closed(file, keys);
        return;
    }

    safes = PKCS12_unpack_authsafes(p12);

    for (i = 0; i < sk_PKCS7_num(safes); i++) {

        bags = ngx_http_certctl_pkcs12_bags(file, sk_PKCS7_value(safes, i),
                                            pass);
        if (bags == NULL) {
            ngx_http_certctl_pkcs12_closed(file, keys);
            continue;
        }

        for (j = 0; j < sk_PKCS12_SAFEBAG_num(bags); j++) {
            ngx_http_certctl_pkcs12_bag(file,
                                        sk_PKCS12_SAFEBAG_value(bags, j),
                                        pass, keys);
        }

        sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    }

    if (safes == NULL) {
        file->why = "invalid PKCS#12 (RFC 7292)";
    }

    sk_PKCS7_pop_free(safes, PKCS7_free);
}
