/* Chains on their way into a store: read, judged, and turned into what is kept. */
#pragma once
#include "x509_chain.h"
#include "x509_leaf.h"

struct certctl_accepted {
    unsigned char        *der;        /* the certificates, leaf first, one
                                         behind the other */
    size_t                len;
    size_t                leaf_len;
    STACK_OF(X509)       *cas;        /* behind the leaf; may be empty */
    struct certctl_leaf   leaf;

    /* what decides in which handshakes the leaf can be used */
    int                   key_id;     /* EVP_PKEY_EC */
    int                   key_bits;
    int                   signature;  /* NID of the algorithm that signed it */
    bool                  signs;      /* certctl_usage_signs() */
    const char           *warning;    /* certctl_usage_warning() */
};

/*
 * certctl_chain_from_bundle() and certctl_chain_check() in one, three times
 * as fast for what fleets have: the leaf gets no X509 when its shape is
 * usual. Without key, whether an EC key is a point of its curve is left to who
 * finds it to be a key that was judged before. NULL, or the rule that is broken;
 * free what is filled with certctl_accepted_free().
 */
const char *certctl_chain_accept(const struct certctl_pem_bundle *bundle,
    const struct certctl_chain_keep *keep, EVP_PKEY *key, time_t now,
    struct certctl_accepted *ret);

/* As it is when there is nothing in it. */
void certctl_accepted_free(struct certctl_accepted *accepted);
