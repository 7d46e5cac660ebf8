/*
 * The body of a PUT as the module takes it apart: key, OCSP response, chain.
 * The first byte says what keygen is: 's' server, 'a' agent, else nothing.
 */
#include "ngx_shim.h"
#include "ngx_http_certctl_put_pem.c"
#include "ngx_http_certctl_put_keep.c"
#include "x509_chain.h"

static const char *
take(ngx_str_t *body, ngx_uint_t keygen, EVP_PKEY **key, certctl_blob_t *der,
    ngx_str_t *pem, STACK_OF(X509) **chain)
{
    int64_t          until;
    const char      *rule;
    certctl_blob_t   staple = { NULL, 0 };

    rule = ngx_http_certctl_pem_take_key(body, keygen, key, der);
    rule = rule ? rule : ngx_http_certctl_pem_take_staple(body, pem);

    if (rule) {
        return rule;
    }

    *chain = certctl_chain_from_pem_kept((char *) body->data, body->len,
                                         &ngx_http_certctl_keep_ca, &rule);
    if (*chain == NULL) {
        return rule;
    }

    rule = ngx_http_certctl_pem_check_staple(pem, *chain, &staple, &until);
    FUZZ_MUST(rule == NULL || staple.data == NULL);
    OPENSSL_free(staple.data);

    return rule ? rule : certctl_chain_check(*chain, *key, FUZZ_NOW);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_str_t         pem = ngx_null_string, body;
    EVP_PKEY         *key = NULL, *again;
    certctl_blob_t    der = { NULL, 0 };
    STACK_OF(X509)   *chain = NULL;

    if (len == 0 || len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    body.len = len - 1;
    body.data = fuzz_copy(data + 1, len - 1);

    if (take(&body, data[0] == 's', &key, &der, &pem, &chain) == NULL) {
        FUZZ_MUST(key == NULL || data[0] == 's');
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
    sk_X509_pop_free(chain, X509_free);
    free(body.data);

    return 0;
}
