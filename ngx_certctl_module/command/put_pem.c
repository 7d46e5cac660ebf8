
/*
 * What a body holds beside the leaf: CA certificates, a private key with
 * keygen=server, and the OCSP response that goes live with the chain.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "cert/key_decoder.h"
#include "command/put.h"
#include "x509_chain.h"
#include "x509_key.h"
#include "x509_ocsp.h"
#include "x509_read.h"


#define NGX_HTTP_CERTCTL_KEEP_CAS  8


typedef struct {
    X509                        *x509;
    u_char                      *der;
    long                         len;
} ngx_http_certctl_keep_ca_t;


/*
 * What a thread keeps between requests: key decoders, and CA certificates, as
 * thousands of chains have a handful of CAs.  Nothing frees it: a worker exits
 * while its threads end and unloads this object, so that a destructor may be
 * gone when it is called.
 */

static __thread struct {
    ngx_http_certctl_keep_ca_t   cas[NGX_HTTP_CERTCTL_KEEP_CAS];
    ngx_uint_t                   next;         /* to be replaced */

    ngx_certctl_key_decoder_t    decoder;
} ngx_http_certctl_keep;


static void
ngx_http_certctl_keep_put(X509 *x509, const u_char *der, long len)
{
    ngx_http_certctl_keep_ca_t  *ca;

    ca = &ngx_http_certctl_keep.cas[ngx_http_certctl_keep.next++
                                    % NGX_HTTP_CERTCTL_KEEP_CAS];
    X509_free(ca->x509);
    free(ca->der);

    ca->x509 = NULL;
    ca->der = malloc(len);

    if (ca->der && X509_up_ref(x509)) {
        ca->x509 = x509;
        ca->len = len;
        ngx_memcpy(ca->der, der, len);
    }
}


/* d2i_X509() for a CA's certificate. */

static X509 *
ngx_http_certctl_keep_get(const u_char **p, long len, void *data)
{
    X509                        *x509;
    ngx_uint_t                   i;
    const u_char                *start;
    ngx_http_certctl_keep_ca_t  *ca;

    start = *p;
    ca = ngx_http_certctl_keep.cas;

    for (i = 0; i < NGX_HTTP_CERTCTL_KEEP_CAS; i++) {

        if (ca[i].x509 && ca[i].len == len
            && ngx_memcmp(ca[i].der, start, len) == 0
            && X509_up_ref(ca[i].x509))
        {
            *p += len;
            return ca[i].x509;
        }
    }

    x509 = d2i_X509(NULL, p, len);

    if (x509 && *p == start + len) {
        ngx_http_certctl_keep_put(x509, start, len);
    }

    return x509;
}


const struct certctl_chain_keep  ngx_http_certctl_keep_ca = {
    ngx_http_certctl_keep_get, NULL
};


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
        ERR_set_mark();
        *ret = ngx_certctl_decode_key(&ngx_http_certctl_keep.decoder,
                                      block->der, block->len, NULL);
        ERR_pop_to_mark();
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
