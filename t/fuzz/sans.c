/* Names as text: what the check takes a request can be made for, and reads back. */
#include "fuzz.h"
#include "x509_key.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static EVP_PKEY  *key;
    const char       *why = NULL, *rule;
    char             *text = fuzz_text(data, len), *back;
    X509_REQ         *req;

    key = key ? key : fuzz_key(2);
    rule = certctl_sans_check(text);
    FUZZ_QUIET();

    req = certctl_csr_build(key, text, len & 1, &why);
    FUZZ_MUST((rule == NULL) == (req != NULL));
    FUZZ_MUST(req || why);

    if (req) {
        back = certctl_csr_sans(req);
        FUZZ_MUST(back && certctl_sans_check(back) == NULL);
        OPENSSL_free(back);
        X509_REQ_free(req);
    }

    FUZZ_QUIET();
    free(text);

    return 0;
}
