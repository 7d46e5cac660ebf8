/* Asks a certificate chain everything that certctl asks one. */
#pragma once
#include "fuzz.h"
#include "x509_chain.h"
#include "x509_info.h"

static bool
fuzz_chain_san(const char *kind, const char *text, void *data)
{
    int  *n = data;

    FUZZ_MUST(kind != NULL && text != NULL && strlen(text) < 1025);
    (*n)++;

    return true;
}

static void
fuzz_chain_ask(STACK_OF(X509) *chain)
{
    struct certctl_x509_info   info;
    char                       text[300];
    int                        n = 0;
    X509                      *leaf = sk_X509_value(chain, 0);
    const char                *rule = certctl_x509_info(leaf, &info);

    FUZZ_MUST(rule || strlen(info.fingerprint) == 64);
    FUZZ_MUST(certctl_x509_each_san(leaf, fuzz_chain_san, &n) == n);

    certctl_x509_subject(leaf, text, sizeof(text));
    certctl_x509_issuer(leaf, text, sizeof(text));
    certctl_x509_common_name(leaf, text, sizeof(text));
    FUZZ_MUST(strlen(text) < sizeof(text));
    certctl_x509_ocsp_url(leaf, text, sizeof(text));
    FUZZ_MUST(strlen(text) < sizeof(text));

    certctl_x509_covers(leaf, "fuzz.example");
    certctl_x509_has_uri(leaf, "urn:certctl:controller");
    certctl_chain_check(chain, NULL, FUZZ_NOW);
    certctl_chain_check(chain, fuzz_leaf()->key, FUZZ_NOW);
    certctl_chain_names_equal(chain, "DNS:fuzz.example,IP:192.0.2.1");
    FUZZ_QUIET();
}
