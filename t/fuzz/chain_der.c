/* DER chains, as records hold them, and the names under which they are found. */
#include "fuzz_chain.h"
#include "ngx_certctl_store_impl.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    u_char            spki[32], fingerprint[32];
    const char       *why = NULL, *at = NULL, *rule;
    certctl_blob_t    blob = { (u_char *) data, len }, names = { NULL, 0 };
    STACK_OF(X509)   *chain = certctl_chain_from_der(data, len, &why);

    FUZZ_QUIET();
    rule = certctl_record_inspect(&blob, spki, fingerprint, &names);
    FUZZ_QUIET();

    if (chain == NULL) {
        FUZZ_MUST(why != NULL && rule != NULL);
        return 0;
    }

    fuzz_chain_ask(chain);

    while (rule == NULL
           && (at = certctl_record_next_name(&names, at)) != NULL)
    {
        FUZZ_MUST(*at && certctl_record_has_name(&names, at));
    }

    free(names.data);
    sk_X509_pop_free(chain, X509_free);

    return 0;
}
