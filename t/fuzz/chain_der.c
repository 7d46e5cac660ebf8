/* DER chains, as records hold them, and the names under which they are found. */
#include "fuzz_chain.h"
#include "store/store_impl.h"
#include "x509_facts.h"
#include "x509_leaf.h"

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

/* A leaf has the same names and digests, with an X509 and without. */
static void
same_leaf(const uint8_t *data, size_t len)
{
    X509                 *cert;
    const char           *at = NULL;
    const uint8_t        *p = data;
    certctl_blob_t        names = { NULL, 0 };
    struct certctl_leaf   leaf, of;

    if (certctl_leaf_read(data, len, &leaf) != NULL) {
        return;
    }

    FUZZ_QUIET();
    cert = d2i_X509(NULL, &p, len);
    ERR_clear_error();

    if (cert != NULL && certctl_leaf_of(cert, &of) == NULL) {
        FUZZ_MUST(memcmp(leaf.digest, of.digest, sizeof(of.digest)) == 0
                  && memcmp(leaf.spki, of.spki, sizeof(of.spki)) == 0
                  && leaf.rsa == of.rsa && leaf.not_after == of.not_after
                  && sk_GENERAL_NAME_num(leaf.names)
                     == sk_GENERAL_NAME_num(of.names));
        certctl_leaf_free(&of);
    }

    if (certctl_record_names(&leaf, &names)) {
        while ((at = certctl_record_next_name(&names, at)) != NULL) {
            FUZZ_MUST(*at && certctl_record_has_name(&names, at));
        }
    }

    free(names.data);
    certctl_leaf_free(&leaf);
    X509_free(cert);
    FUZZ_QUIET();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const char       *why = NULL;
    STACK_OF(X509)   *chain;

    same_facts(data, len);
    same_leaf(data, len);
    chain = certctl_chain_from_der(data, len, &why);
    FUZZ_QUIET();

    if (chain == NULL) {
        FUZZ_MUST(why != NULL);
        return 0;
    }

    fuzz_chain_ask(chain);
    sk_X509_pop_free(chain, X509_free);

    return 0;
}
