/* What `certctl store` reads: the records of a host's sealed store. */
#pragma once
#include "cli.h"
#include "store/store.h"
#include "x509_chain.h"
#include "x509_info.h"

#define CLI_STORE_DEFAULT  "/var/lib/nginx/certctl"

/* The store of this folder, for reading; NULL with a sentence. */
certctl_store_t *cli_store_open(const char *path, struct error *err);

/* One record, opened. */
struct cli_record {
    certctl_record_t          stored;
    STACK_OF(X509)           *chain;
    EVP_PKEY                 *key;
    struct certctl_x509_info  info;       /* of the leaf */
};

/* False with a sentence ends the walk. */
typedef bool cli_record_fn(const struct cli_record *rec, void *data,
    struct error *err);

/*
 * Opens the store of --store and calls fn for each record, in the order of their
 * names.  A record that cannot be opened is named on standard error, is added to
 * damaged, and does not end the walk; *count has those too.  False with a sentence:
 * there is no store, it cannot be opened, or fn said so.
 */
bool cli_store_each(const struct cli *cli, cli_record_fn *fn, void *data,
    json_t *damaged, size_t *count, struct error *err);
