/*
 * A chain is accepted in one of two ways. The quick one walks over the leaf's DER
 * and can only say yes; whatever it does not say yes to is OpenSSL's to read and
 * certctl_chain_check()'s to refuse, with the rule's own words.
 */
#include "wire.h"
#include "x509_accept.h"
#include "x509_key.h"
#include "x509_shape.h"
#include "x509_usage.h"
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <string.h>


/* Both are the same point, in octets; the curve is known to be the same. */
static bool
same_point(EVP_PKEY *key, const struct shape *shape)
{
    size_t         len;
    unsigned char  point[128];

    return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point,
                                           sizeof(point), &len)
           && der_is(&shape->point, point, len);
}


static bool
same_number(EVP_PKEY *key, const char *name, struct der number)
{
    bool     same = false;
    BIGNUM  *theirs = NULL, *ours;

    ours = BN_bin2bn(number.p, (int) der_left(&number), NULL);

    if (ours != NULL && EVP_PKEY_get_bn_param(key, name, &theirs)) {
        same = BN_cmp(ours, theirs) == 0;
    }

    BN_free(ours);
    BN_free(theirs);

    return same;
}


/* The leaf's public key is key's, which may be used. */
static bool
is_key(EVP_PKEY *key, const struct shape *shape)
{
    const struct shape_key  *kind = shape->key;

    return EVP_PKEY_get_base_id(key) == kind->id
           && (kind->bits == 0 || EVP_PKEY_get_bits(key) == kind->bits)
           && certctl_key_check(key) == NULL
           && (kind->point
               ? same_point(key, shape)
               : same_number(key, OSSL_PKEY_PARAM_RSA_N, shape->modulus)
                 && same_number(key, OSSL_PKEY_PARAM_RSA_E, shape->exponent));
}


/*
 * RFC 5280 6.1.3 (a) (4) by octets, and that the two are not of one name: who
 * issues itself is a special case everywhere.
 */
static bool
is_named_by(const struct shape *shape, X509 *issuer)
{
    bool                  good;
    size_t                len;
    X509_NAME            *subject;
    const unsigned char  *p, *name;

    if (!X509_NAME_get0_der(X509_get_subject_name(issuer), &name, &len)
        || !der_is(&shape->issuer, name, len))
    {
        return false;
    }

    p = shape->subject.p;
    subject = d2i_X509_NAME(NULL, &p, (long) der_left(&shape->subject));

    good = subject != NULL && p == shape->subject.end
           && X509_NAME_cmp(subject, X509_get_subject_name(issuer)) != 0;

    X509_NAME_free(subject);

    return good;
}


/* X509_check_issued() */
static bool
is_issued_by(const struct shape *shape, X509 *issuer)
{
    const ASN1_OCTET_STRING  *id;

    if (X509_check_ca(issuer) != 1
        || X509_get_extension_flags(issuer) & EXFLAG_PROXY
        || !(X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN)
        || !is_named_by(shape, issuer))
    {
        return false;
    }

    id = X509_get0_subject_key_id(issuer);

    return id == NULL || shape->akid.p == NULL
           || der_is(&shape->akid, ASN1_STRING_get0_data(id),
                     ASN1_STRING_length(id));
}


static bool
is_signed_by(const struct shape *shape, X509 *issuer)
{
    bool         good;
    EVP_PKEY    *key = X509_get0_pubkey(issuer);
    EVP_MD_CTX  *ctx;

    if (key == NULL
        || EVP_PKEY_get_base_id(key) != shape->signature->key_id)
    {
        return false;
    }

    ctx = EVP_MD_CTX_new();

    good = ctx != NULL
           && EVP_DigestVerifyInit(ctx, NULL, shape->signature->md(), NULL, key)
              == 1
           && EVP_DigestVerify(ctx, shape->signed_by.p,
                               der_left(&shape->signed_by), shape->tbs.p,
                               der_left(&shape->tbs))
              == 1;

    EVP_MD_CTX_free(ctx);

    return good;
}


/* A leaf of the usual shape may sign, and is for servers. */
static bool
describe_shape(const struct shape *shape, struct certctl_accepted *ret)
{
    ret->key_id = shape->key->id;
    ret->key_bits = shape->key->point ? shape->key->bits
                                      : (int) der_left(&shape->modulus) * 8;
    ret->signs = true;
    ret->warning = NULL;

    return OBJ_find_sigid_by_algs(&ret->signature,
                                  EVP_MD_get_type(shape->signature->md()),
                                  shape->signature->key_id)
           == 1;
}


static void
describe_leaf(X509 *leaf, struct certctl_accepted *ret)
{
    EVP_PKEY  *key = X509_get0_pubkey(leaf);

    ret->key_id = EVP_PKEY_get_base_id(key);
    ret->key_bits = EVP_PKEY_get_bits(key);
    ret->signature = X509_get_signature_nid(leaf);
    ret->signs = certctl_usage_signs(leaf);
    ret->warning = certctl_usage_warning(leaf);
}


static bool
judge(const struct certctl_pem_block *leaf, STACK_OF(X509) *cas, EVP_PKEY *key,
    time_t now, struct certctl_accepted *ret)
{
    X509          *issuer = sk_X509_value(cas, 0);
    struct shape   shape;

    return certctl_shape_read(leaf->der, leaf->len, &shape)
           && shape.len == leaf->len
           && shape.not_before <= now && now < shape.not_after
           && (key == NULL || is_key(key, &shape))
           && is_issued_by(&shape, issuer)
           && is_signed_by(&shape, issuer)
           && certctl_cas_check(cas, 0, now) == NULL
           && describe_shape(&shape, ret)
           && certctl_leaf_shaped(leaf->der, &shape, &ret->leaf);
}


/* What stands behind the leaf, as certificates; false: ask OpenSSL. */
static bool
read_cas(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, STACK_OF(X509) *cas)
{
    int                              i;
    X509                            *ca;
    const unsigned char             *p;
    const struct certctl_pem_block  *block;

    for (i = 1; i < bundle->count; i++) {
        block = &bundle->certs[i];
        p = block->der;
        ca = keep != NULL ? keep->get(&p, (long) block->len, keep->data)
                          : d2i_X509(NULL, &p, (long) block->len);

        if (ca == NULL || p != block->der + block->len
            || !sk_X509_push(cas, ca))
        {
            X509_free(ca);
            return false;
        }
    }

    return bundle->count > 1;
}


/* Takes the CAs; false when there is no memory. */
static bool
fill(struct certctl_accepted *ret, const unsigned char *leaf, size_t leaf_len,
    STACK_OF(X509) *cas)
{
    int             i, len;
    unsigned char  *p;

    ret->cas = cas;
    ret->leaf_len = leaf_len;
    ret->len = leaf_len;

    for (i = 0; i < sk_X509_num(cas); i++) {
        len = i2d_X509(sk_X509_value(cas, i), NULL);
        ret->len += len > 0 ? len : 0;
    }

    ret->der = OPENSSL_malloc(ret->len);

    if (ret->der == NULL) {
        return false;
    }

    memcpy(ret->der, leaf, leaf_len);
    p = ret->der + leaf_len;

    for (i = 0; i < sk_X509_num(cas); i++) {
        (void) i2d_X509(sk_X509_value(cas, i), &p);
    }

    return true;
}


static bool
accept_quickly(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, EVP_PKEY *key, time_t now,
    struct certctl_accepted *ret)
{
    bool                             good;
    STACK_OF(X509)                  *cas = sk_X509_new_null();
    const struct certctl_pem_block  *leaf = &bundle->certs[0];

    good = cas != NULL && read_cas(bundle, keep, cas)
           && judge(leaf, cas, key, now, ret);

    if (good) {
        good = fill(ret, leaf->der, leaf->len, cas);

    } else {
        sk_X509_pop_free(cas, X509_free);
    }

    return good;
}


static const char *
accept_slowly(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, EVP_PKEY *key, time_t now,
    struct certctl_accepted *ret)
{
    int              n;
    X509            *leaf;
    const char      *why;
    unsigned char   *der = NULL;
    STACK_OF(X509)  *chain;

    chain = certctl_chain_from_bundle(bundle, keep, &why);

    if (chain == NULL) {
        return why;
    }

    why = certctl_chain_check(chain, key, now);
    leaf = sk_X509_shift(chain);
    why = why ? why : certctl_leaf_of(leaf, &ret->leaf);

    if (why != NULL) {
        sk_X509_pop_free(chain, X509_free);

    } else {
        n = i2d_X509(leaf, &der);
        ret->cas = chain;
        describe_leaf(leaf, ret);
        why = n > 0 && fill(ret, der, n, chain)
              ? NULL : "there is no memory for the chain";
    }

    OPENSSL_free(der);
    X509_free(leaf);

    return why;
}


const char *
certctl_chain_accept(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, EVP_PKEY *key, time_t now,
    struct certctl_accepted *ret)
{
    const char  *why = NULL;

    memset(ret, 0, sizeof(*ret));
    ERR_set_mark();

    if (!accept_quickly(bundle, keep, key, now, ret)) {
        certctl_accepted_free(ret);
        why = accept_slowly(bundle, keep, key, now, ret);
    }

    ERR_pop_to_mark();

    if (why != NULL) {
        certctl_accepted_free(ret);
    }

    return why;
}


void
certctl_accepted_free(struct certctl_accepted *accepted)
{
    OPENSSL_free(accepted->der);
    sk_X509_pop_free(accepted->cas, X509_free);
    certctl_leaf_free(&accepted->leaf);
    memset(accepted, 0, sizeof(*accepted));
}
