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
take(struct certctl_pem_bundle *bundle, ngx_uint_t keygen, EVP_PKEY **key,
    certctl_blob_t *der, struct certctl_accepted *chain)
{
    int64_t          until;
    const char      *rule;
    certctl_blob_t   staple = { NULL, 0 };

    rule = ngx_http_certctl_pem_take_key(bundle, keygen, key, der);

    if (rule) {
        return rule;
    }

    rule = certctl_chain_accept(bundle, &ngx_http_certctl_keep_ca, *key,
                                FUZZ_NOW, chain);
    if (rule) {
        return rule;
    }

    rule = ngx_http_certctl_pem_take_staple(bundle, chain, &staple, &until);
    FUZZ_MUST(rule == NULL || staple.data == NULL);
    OPENSSL_free(staple.data);

    return rule;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    u_char                     *body;
    EVP_PKEY                   *key = NULL, *again;
    certctl_blob_t              der = { NULL, 0 };
    struct certctl_accepted     chain = { 0 };
    struct certctl_pem_bundle   bundle;

    if (len == 0 || len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    /* of its own size, so that reading behind it is found */
    body = fuzz_copy(data + 1, len - 1);

    if (certctl_pem_bundle((char *) body, len - 1, &bundle) == NULL
        && take(&bundle, data[0] == 's', &key, &der, &chain) == NULL)
    {
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
    certctl_pem_bundle_free(&bundle);
    OPENSSL_clear_free(der.data, der.len);
    EVP_PKEY_free(key);
    certctl_accepted_free(&chain);
    free(body);

    return 0;
}
