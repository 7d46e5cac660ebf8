/*
 * The body of a PUT as the module takes it apart: key, OCSP response, chain.
 * The first byte says what keygen is: 's' server, 'a' agent, else nothing.
 */
#include "ngx_shim.h"
#include "x509_key.h"

/* what is valid stays so */
#define time(ret)  ((void) (ret), (time_t) FUZZ_NOW)

#include "command/put.c"
#include "command/put_pem.c"
#include "cert/key_decoder.c"

/* Whose key it is, the store says. */
const char *
ngx_http_certctl_put_identity(ngx_http_certctl_put_t *put)
{
    return NULL;
}

/* What would be stored is the key and the staple that were judged. */
static void
accepted(const ngx_http_certctl_put_t *put, X509 *leaf, X509 *issuer)
{
    EVP_PKEY                  *key;
    struct certctl_ocsp_info   info;

    if (put->keygen) {
        key = certctl_key_from_der(put->key.data, put->key.len);
        FUZZ_MUST(key && X509_check_private_key(leaf, key) == 1);
        EVP_PKEY_free(key);
    }

    if (put->record.staple.len) {
        FUZZ_MUST(certctl_ocsp_check(put->record.staple.data, put->record.staple.len, leaf,
                                     issuer, FUZZ_NOW, &info) == NULL
                  && info.status == CERTCTL_OCSP_GOOD
                  && info.next_update == put->record.staple_until);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    ngx_http_certctl_put_t   put = { .name = "fuzz" };
    uint8_t                 *body;
    const u_char            *p;
    X509                    *leaf, *issuer;

    if (len == 0 || len > CERTCTL_CHAIN_MAX) {
        return 0;
    }

    put.keygen = data[0] == 's';
    put.pem.len = len - 1;
    put.pem.data = body = fuzz_copy(data + 1, len - 1);

    if (ngx_http_certctl_put_check(&put) == NGX_OK) {
        FUZZ_MUST(put.chain.leaf_len > 0
                  && put.chain.len >= put.chain.leaf_len);
        FUZZ_MUST(put.record.chain.len == put.chain.len);
        p = put.record.chain.data;
        leaf = d2i_X509(NULL, &p, put.chain.leaf_len);
        issuer = d2i_X509(NULL, &p, put.chain.len - put.chain.leaf_len);
        FUZZ_MUST(leaf != NULL);
        ERR_clear_error();
        accepted(&put, leaf, issuer);
        X509_free(issuer);
        X509_free(leaf);

    } else {
        FUZZ_MUST(put.status == 422 && put.rule && *put.rule);
    }

    FUZZ_QUIET();
    ngx_http_certctl_put_free(&put);
    free(body);

    return 0;
}
