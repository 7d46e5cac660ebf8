/* DER chains, as records hold them, and the names under which they are found. */
#include "fuzz_chain.h"
#include "ngx_certctl_store_impl.h"
#include "x509_facts.h"

/* The quick walk may give up, but it never says what OpenSSL does not. */
static void
same_facts(const uint8_t *data, size_t len)
{
    char                       url[256];
    struct certctl_x509_info   info;
    struct certctl_x509_facts  facts;
    const uint8_t             *p = data;
    uint8_t                   *copy = fuzz_copy(data, len);
    X509                      *cert;

    if (certctl_x509_facts(copy, len, &facts)
        && (cert = d2i_X509(NULL, &p, len)) != NULL)
    {
        FUZZ_MUST((size_t) (p - data) == facts.len);

        if (certctl_x509_info(cert, &info) == NULL) {
            certctl_x509_ocsp_url(cert, url, sizeof(url));
            FUZZ_MUST(info.not_before == facts.not_before
                      && info.not_after == facts.not_after
                      && info.must_staple == facts.must_staple
                      && (url[0] != '\0') == facts.ocsp);
        }

        X509_free(cert);
    }

    ERR_clear_error();
    free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    u_char            spki[32], fingerprint[32];
    const char       *why = NULL, *at = NULL, *rule;
    certctl_blob_t    blob = { (u_char *) data, len }, names = { NULL, 0 };
    STACK_OF(X509)   *chain;

    same_facts(data, len);
    chain = certctl_chain_from_der(data, len, &why);

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
