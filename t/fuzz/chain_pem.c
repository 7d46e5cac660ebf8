/* PEM chains: what is taken is written and taken again. */
#include "fuzz_chain.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char       *why = NULL;
    char             *pem;
    STACK_OF(X509)   *chain, *again;

    chain = certctl_chain_from_pem((const char *) data, len, &why);
    FUZZ_QUIET();

    if (chain == NULL) {
        FUZZ_MUST(why != NULL);
        return 0;
    }

    fuzz_chain_ask(chain);

    pem = certctl_chain_to_pem(chain);
    FUZZ_MUST(pem != NULL);
    again = certctl_chain_from_pem(pem, strlen(pem), &why);
    FUZZ_MUST(again && sk_X509_num(again) == sk_X509_num(chain));

    OPENSSL_free(pem);
    sk_X509_pop_free(again, X509_free);
    sk_X509_pop_free(chain, X509_free);

    return 0;
}
