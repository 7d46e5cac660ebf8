
/*
 * What may stand beside the certificates of a chain that is pushed: a private
 * key with keygen=server, and the OCSP response that goes live with it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/put.h"
#include "x509_key.h"
#include "x509_ocsp.h"
#include "x509_read.h"


/* keygen=server, and only then, brings a private key; der is its PKCS#8, to be
   OPENSSL_clear_free()d. */

const char *
ngx_http_certctl_pem_take_key(struct certctl_pem_bundle *bundle,
    ngx_uint_t keygen, EVP_PKEY **ret, certctl_blob_t *der)
{
    int                        len;
    const char                *rule;
    struct certctl_pem_block  *block;

    block = &bundle->key;

    if (!keygen) {
        return block->der == NULL ? NULL
               : "the body has a private key: add keygen=server, or remove it";
    }

    if (block->der == NULL) {
        return "keygen=server, but the body has no private key";
    }

    /* the common case by a decoder that is kept */

    if (ngx_strcmp(block->label, "PRIVATE KEY") == 0 && !block->encrypted) {
        *ret = ngx_http_certctl_keep_key(block->der, block->len);
    }

    if (*ret) {
        der->data = block->der;
        der->len = block->len;
        block->der = NULL;
        block->len = 0;

        rule = certctl_key_check(*ret);

        return rule ? certctl_pem_rule(block, rule) : NULL;
    }

    *ret = certctl_key_from_bundle(bundle, &rule);

    if (*ret == NULL) {
        return rule;
    }

    len = certctl_key_to_der(*ret, &der->data);

    if (len <= 0) {
        return "the private key cannot be written as PKCS#8 (RFC 5958)";
    }

    der->len = len;

    return NULL;
}


/* Certificate and staple change together; ret is to be OPENSSL_free()d. */

const char *
ngx_http_certctl_pem_take_staple(struct certctl_pem_bundle *bundle,
    const struct certctl_accepted *chain, certctl_blob_t *ret, int64_t *until)
{
    X509                      *leaf;
    const char                *rule;
    const u_char              *p;
    struct certctl_ocsp_info   info;
    struct certctl_pem_block  *block;

    block = &bundle->staple;

    if (block->der == NULL) {
        return NULL;
    }

    p = chain->der;
    leaf = certctl_x509_read(&p, chain->leaf_len);
    rule = "X509_new() failed";

    if (leaf) {
        rule = certctl_ocsp_check_staple(block->der, block->len, leaf,
                                         chain->cas, time(NULL), &info);
    }

    ERR_clear_error();
    X509_free(leaf);

    if (rule) {
        return rule;
    }

    ret->data = block->der;
    ret->len = block->len;
    block->der = NULL;
    *until = info.next_update;

    return NULL;
}
