/* OCSP responses of a responder that may be anybody, for a fixed certificate. */
#include "fuzz.h"
#include "x509_facts.h"
#include "x509_ocsp.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct certctl_ocsp_info   info;
    X509                      *leaf = fuzz_leaf()->cert;
    const char                *rule;
    uint8_t                   *copy = fuzz_copy(data, len);

    certctl_ocsp_this_update(copy, len);
    free(copy);

    rule = certctl_ocsp_check(data, len, leaf, fuzz_ca()->cert, FUZZ_NOW, &info);
    FUZZ_QUIET();

    if (rule == NULL) {
        FUZZ_MUST(info.this_update <= FUZZ_NOW + 300
                  && info.next_update > FUZZ_NOW);
        rule = certctl_ocsp_staple_check(&info, leaf, FUZZ_NOW);
        FUZZ_MUST(rule || info.status == CERTCTL_OCSP_GOOD);
    }

    return 0;
}
