/*
 * Writes a record into the store of an NGINX that does not run, as no request
 * could: store_put DIR NAME UID GID reads chain and key in PEM from standard input.
 */
#include "store/store.h"
#include "x509_accept.h"
#include "x509_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
put(certctl_store_t *store, const char *name,
    struct certctl_pem_bundle *bundle)
{
    int                      rc;
    uint64_t                 generation;
    EVP_PKEY                *key;
    const char              *why;
    certctl_record_t         record = { 0 };
    struct certctl_accepted  chain;

    key = certctl_key_from_bundle(bundle, &why);
    why = key ? certctl_chain_accept(bundle, NULL, key, time(NULL), &chain)
              : why;

    if (why != NULL) {
        fprintf(stderr, "store_put: %s\n", why);
        EVP_PKEY_free(key);
        return false;
    }

    snprintf(record.name, sizeof(record.name), "%s", name);
    memcpy(record.spki, chain.leaf.spki, sizeof(record.spki));
    record.leaf = &chain.leaf;
    record.stored = time(NULL);
    record.kind = chain.leaf.rsa ? CERTCTL_KIND_RSA : CERTCTL_KIND_ECDSA;
    record.chain.data = chain.der;
    record.chain.len = chain.len;
    record.key.len = certctl_key_to_der(key, &record.key.data);

    rc = certctl_store_put(store, &record, &generation, NULL, NULL);

    OPENSSL_clear_free(record.key.data, record.key.len);
    certctl_accepted_free(&chain);
    EVP_PKEY_free(key);

    return rc == CERTCTL_STORE_OK;
}

int
main(int argc, char **argv)
{
    char                        text[CERTCTL_CHAIN_MAX], why[256] = "";
    bool                        stored;
    const char                 *rule;
    certctl_store_t            *store;
    struct certctl_pem_bundle   bundle;

    if (argc != 5) {
        return 2;
    }

    rule = certctl_pem_bundle(text, fread(text, 1, sizeof(text), stdin),
                              &bundle);
    store = certctl_store_open(argv[1], 1, strtoul(argv[3], NULL, 10),
                               strtoul(argv[4], NULL, 10), why, sizeof(why));

    if (rule != NULL || store == NULL) {
        fprintf(stderr, "store_put: %s\n", rule ? rule : why);
        return 1;
    }

    stored = put(store, argv[2], &bundle);

    certctl_pem_bundle_free(&bundle);
    certctl_store_close(store);

    return stored ? 0 : 1;
}
