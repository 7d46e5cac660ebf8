/*
 * The body of a PUT as the module takes it apart: key, OCSP response, chain.
 * The first byte says what keygen is: 's' server, 'a' agent, else nothing.
 */
#include "ngx_shim.h"
#include "command/put_pem.c"
#include "cert/key_decoder.c"
#include "command/put_keep.c"
#include "x509_accept.h"

static const char *
take(ngx_str_t *body, ngx_uint_t keygen, EVP_PKEY **key, certctl_blob_t *der,
    ngx_str_t *pem, struct certctl_accepted *chain)
{
    int64_t          until;
    const char      *rule;
    certctl_blob_t   staple = { NULL, 0 };

    rule = ngx_http_certctl_pem_take_key(body, keygen, key, der);
    rule = rule ? rule : ngx_http_certctl_pem_take_staple(body, pem);

    if (rule) {
        return rule;
    }

    rule = certctl_chain_accept((char *) body->data, body->len,
                                &ngx_http_certctl_keep_ca, *key, FUZZ_NOW,
                                chain);
    if (rule) {
        return rule;
    }

    rule = ngx_http_certctl_pem_check_staple(pem, chain, &staple, &until);
    FUZZ_MUST(rule == NULL || staple.data == NULL);
    OPENSSL_free(staple.data);

    return rule;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_str_t                 pem = ngx_null_string, body;
    EVP_PKEY                 *key = NULL, *again;
    certctl_blob_t            der = { NULL, 0 };
    struct certctl_accepted   chain = { 0 };

    if (len == 0 || len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    body.len = len - 1;
    body.data = fuzz_copy(data + 1, len - 1);

    if (take(&body, data[0] == 's', &key, &der, &pem, &chain) == NULL) {
        FUZZ_MUST(key == NULL || data[0] == 's');
        FUZZ_MUST(chain.len >= chain.leaf_len && chain.leaf_len > 0);
    }

    /* what would be stored is the key that was judged */

    if (der.len) {
        again = certctl_key_from_der(der.data, der.len);
        FUZZ_MUST(again && key && EVP_PKEY_eq(again, key) == 1);
        EVP_PKEY_free(again);
    }

    FUZZ_QUIET();
    OPENSSL_free(pem.data);
    OPENSSL_clear_free(der.data, der.len);
    EVP_PKEY_free(key);
    certctl_accepted_free(&chain);
    free(body.data);

    return 0;
}
