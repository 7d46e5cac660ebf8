/*
 * The body of a PUT as the module takes it apart: key, OCSP response, chain.
 * The first byte says what keygen is: 's' server, 'a' agent, else nothing.
 */
#include "ngx_shim.h"
#include "ngx_http_certctl_request_pem.c"
#include "x509_chain.h"

static const char *
take(ngx_http_certctl_call_t *call, EVP_PKEY **key, ngx_str_t *pem,
    STACK_OF(X509) **chain)
{
    int64_t          until;
    const char      *rule;
    certctl_blob_t   staple = { NULL, 0 };

    rule = ngx_http_certctl_pem_take_key(call, key);
    rule = rule ? rule : ngx_http_certctl_pem_take_staple(call, pem);

    if (rule) {
        return rule;
    }

    *chain = certctl_chain_from_pem((char *) call->body, call->body_len, &rule);
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
    static char               server[] = "server", agent[] = "agent";
    ngx_str_t                 pem = ngx_null_string;
    EVP_PKEY                 *key = NULL;
    STACK_OF(X509)           *chain = NULL;
    ngx_http_certctl_call_t   call = { .name = "fuzz.example" };

    if (len == 0 || len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    call.args[NGX_HTTP_CERTCTL_ARG_KEYGEN] = data[0] == 's' ? server
                                             : data[0] == 'a' ? agent : NULL;
    call.body_len = len - 1;
    call.body = fuzz_copy(data + 1, len - 1);

    if (take(&call, &key, &pem, &chain) == NULL) {
        FUZZ_MUST(key == NULL || data[0] == 's');
    }

    FUZZ_QUIET();
    OPENSSL_free(pem.data);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    free(call.body);

    return 0;
}
