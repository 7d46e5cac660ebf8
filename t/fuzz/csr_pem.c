/* Certification requests: names that are read can be asked for again. */
#include "fuzz.h"
#include "x509_key.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char  *why = NULL;
    char        *sans, *pem;
    X509_REQ    *req = certctl_csr_from_pem((const char *) data, len, &why);

    FUZZ_QUIET();

    if (req == NULL) {
        FUZZ_MUST(why != NULL);
        return 0;
    }

    sans = certctl_csr_sans(req);
    pem = certctl_csr_to_pem(req);
    (void) certctl_csr_must_staple(req);
    FUZZ_MUST(pem != NULL);
    FUZZ_MUST(sans == NULL || *sans);
    FUZZ_QUIET();

    OPENSSL_free(sans);
    OPENSSL_free(pem);
    X509_REQ_free(req);

    return 0;
}
