
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
#include "x509_pem.h"
#include "x509_read.h"


/* From the line that holds label to the line after its END. */

static ngx_uint_t
ngx_http_certctl_pem_find(ngx_str_t *pem, const char *label, ngx_str_t *block)
{
    char  *text, *begin, *end, *last, *name;

    text = (char *) pem->data;
    last = text + pem->len;

    name = memmem(text, pem->len, label, ngx_strlen(label));
    if (name == NULL) {
        return 0;
    }

    for (begin = name; begin > text && begin[-1] != '\n'; begin--) {
        /* void */
    }

    end = memmem(name, last - name, "-----END ", sizeof("-----END ") - 1);
    end = end ? memchr(end, '\n', last - end) : NULL;

    block->data = (u_char *) begin;
    block->len = (end ? end + 1 : last) - begin;

    return 1;
}


/* Parameters just before a key are a part of it: certctl_key_from_pem(). */

static void
ngx_http_certctl_pem_parameters(ngx_str_t *pem, ngx_str_t *key)
{
    u_char     *p, *end;
    ngx_str_t   block;

    if (!ngx_http_certctl_pem_find(pem, "-----BEGIN EC PARAMETERS-----",
                                   &block))
    {
        return;
    }

    end = key->data + key->len;

    for (p = block.data + block.len; p < end && p != key->data; p++) {

        if (*p != '\r' && *p != '\n') {
            return;
        }
    }

    if (p == key->data) {
        key->data = block.data;
        key->len = end - block.data;
    }
}


/*
 * The common case, one block PRIVATE KEY of a type that we make ourselves, by
 * a decoder that is kept; what is left is for the one that names the rule.
 */

static const char *
ngx_http_certctl_pem_key(ngx_str_t *block, EVP_PKEY **ret,
    certctl_blob_t *der)
{
    int          len;
    char         label[32];
    size_t       size;
    u_char      *data;
    EVP_PKEY    *key;
    const char  *p, *end, *rule;

    p = (char *) block->data;
    end = p + block->len;
    key = NULL;

    if (certctl_pem_next(&p, end, label, &data, &size, &rule) == 1) {

        while (p < end && (*p == '\r' || *p == '\n')) {
            p++;
        }

        if (p == end && ngx_strcmp(label, "PRIVATE KEY") == 0) {
            key = ngx_http_certctl_keep_key(data, size);
        }

        if (key) {
            *ret = key;
            der->data = data;
            der->len = size;

            return certctl_key_check(key);
        }

        OPENSSL_clear_free(data, size);
    }

    *ret = certctl_key_from_pem((char *) block->data, block->len, &rule);

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


/* keygen=server, and only then, brings a private key; der is its PKCS#8, to be
   OPENSSL_clear_free()d. */

const char *
ngx_http_certctl_pem_take_key(ngx_str_t *pem, ngx_uint_t keygen,
    EVP_PKEY **ret, certctl_blob_t *der)
{
    ngx_str_t    block;
    const char  *rule;

    if (!ngx_http_certctl_pem_find(pem, "PRIVATE KEY-----", &block)) {
        return keygen ? "keygen=server, but the body holds no private key"
                      : NULL;
    }

    if (!keygen) {
        return "a private key is not taken: keys are made on this host";
    }

    ngx_http_certctl_pem_parameters(pem, &block);
    rule = ngx_http_certctl_pem_key(&block, ret, der);

    /* what is left of the body is certificates only */
    ngx_memset(block.data, '\n', block.len);

    return rule;
}


/* Certificate and staple change together; ret is to be OPENSSL_free()d. */

const char *
ngx_http_certctl_pem_take_staple(ngx_str_t *pem, ngx_str_t *block)
{
    ngx_str_t  second;
    u_char    *copy;

    ngx_str_null(block);

    if (!ngx_http_certctl_pem_find(pem, "OCSP RESPONSE-----", &second)) {
        return NULL;
    }

    copy = OPENSSL_memdup(second.data, second.len);

    if (copy == NULL) {
        return "there is no memory for the OCSP response";
    }

    block->data = copy;
    block->len = second.len;
    ngx_memset(second.data, '\n', second.len);

    if (ngx_http_certctl_pem_find(pem, "OCSP RESPONSE-----", &second)) {
        return "there is more than one OCSP response for one certificate";
    }

    return NULL;
}


static const char *
ngx_http_certctl_pem_staple(ngx_str_t *block,
    const struct certctl_accepted *chain, certctl_blob_t *ret, int64_t *until)
{
    BIO                       *bio;
    char                      *name, *header;
    long                       len;
    X509                      *leaf;
    time_t                     now;
    u_char                    *der;
    const char                *rule;
    const u_char              *p;
    struct certctl_ocsp_info   info;

    name = NULL;
    header = NULL;
    der = NULL;
    now = time(NULL);
    p = chain->der;
    leaf = certctl_x509_read(&p, chain->leaf_len);
    rule = "RFC 7468: the OCSP response is no PEM block";

    bio = BIO_new_mem_buf(block->data, (int) block->len);

    if (leaf && bio && PEM_read_bio(bio, &name, &header, &der, &len) == 1) {
        rule = certctl_ocsp_check(der, len, leaf, sk_X509_value(chain->cas, 0),
                                  now, &info);
        if (rule == NULL) {
            rule = certctl_ocsp_staple_check(&info, leaf, now);
        }
    }

    ERR_clear_error();
    OPENSSL_free(name);
    OPENSSL_free(header);
    BIO_free(bio);
    X509_free(leaf);

    if (rule) {
        OPENSSL_free(der);
        return rule;
    }

    ret->data = der;
    ret->len = len;
    *until = info.next_update;

    return NULL;
}


const char *
ngx_http_certctl_pem_check_staple(ngx_str_t *block,
    const struct certctl_accepted *chain, certctl_blob_t *ret, int64_t *until)
{
    if (block->len == 0) {
        return NULL;
    }

    if (sk_X509_num(chain->cas) < 1) {
        return "the certificate's issuer is not in its chain, without it no "
               "OCSP response can be checked";
    }

    return ngx_http_certctl_pem_staple(block, chain, ret, until);
}
