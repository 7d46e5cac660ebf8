
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


const char *
ngx_http_certctl_put_take_key(ngx_http_certctl_put_t *put,
    struct certctl_pem_bundle *bundle, EVP_PKEY **ret)
{
    int                        len;
    const char                *rule;
    struct certctl_pem_block  *block;

    block = &bundle->key;

    if (!put->keygen) {
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
        put->key.data = block->der;
        put->key.len = block->len;
        block->der = NULL;
        block->len = 0;

        rule = certctl_key_check(*ret);

        return rule ? certctl_pem_rule(block, rule) : NULL;
    }

    *ret = certctl_key_from_bundle(bundle, &rule);

    if (*ret == NULL) {
        return rule;
    }

    len = certctl_key_to_der(*ret, &put->key.data);

    if (len <= 0) {
        return "the private key cannot be written as PKCS#8 (RFC 5958)";
    }

    put->key.len = len;

    return NULL;
}


const char *
ngx_http_certctl_put_take_staple(ngx_http_certctl_put_t *put,
    struct certctl_pem_bundle *bundle)
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

    p = put->chain.der;
    leaf = certctl_x509_read(&p, put->chain.leaf_len);
    rule = leaf ? certctl_ocsp_check_staple(block->der, block->len, leaf,
                                            put->chain.cas, time(NULL), &info)
                : "X509_new() failed";

    ERR_clear_error();
    X509_free(leaf);

    if (rule == NULL) {
        put->record.staple.data = block->der;
        put->record.staple.len = block->len;
        put->record.staple_until = info.next_update;
        block->der = NULL;
    }

    return rule;
}
