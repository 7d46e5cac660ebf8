/*
 * certctl store rotate: another sealing key for the store of this host.  NGINX, once
 * it is reloaded, seals again what the old key has sealed.
 */
#include "cli_store.h"

#include "cleanup.h"

#include <stdio.h>

CLEANUP_FUNC(store, certctl_store_t *, certctl_store_close)

static enum cli_exit
rotate_failed(const char *path, const char *rule)
{
    struct error  err = { 0 };

    error_set(&err, ERR_CONFLICT, "the store \"%s\": %s", path, rule);

    return cli_fail(&err);
}

/* The second call: nothing may need the old key. */
static enum cli_exit
rotate_end(const char *path, certctl_store_t *store)
{
    char         rule[160];
    const char  *why;
    size_t       left = certctl_store_old_sealed(store);

    if (left) {
        snprintf(rule, sizeof(rule), "%zu files are sealed with the old key still: reload "
                 "NGINX, wait until its log says that nothing needs seal.old", left);
        return rotate_failed(path, rule);
    }

    why = certctl_store_drop_old_key(path);

    if (why) {
        return rotate_failed(path, why);
    }

    puts("seal.old is removed: nothing needs it");

    return CLI_OK;
}

enum cli_exit
cli_store_rotate_key(const struct cli *cli)
{
    struct error                      err = { 0 };
    const char                       *why, *path = cli_value(cli, "store");
    CLEANUP(store) certctl_store_t   *store = NULL;

    path = path ? path : CLI_STORE_DEFAULT;
    store = cli_store_open(path, &err);

    if (store == NULL) {
        return cli_fail(&err);
    }

    if (certctl_store_has_old_key(store) && !certctl_store_same_keys(store)) {
        return rotate_end(path, store);
    }

    why = certctl_store_rotate_key(path);

    if (why) {
        return rotate_failed(path, why);
    }

    puts("seal.key is new, seal.old has the previous key: reload NGINX, which reseals "
         "all files, then run this once more");

    return CLI_OK;
}
