
/* Sealed files: reading one, writing one in the place of another. */


#include "store/store_impl.h"

#include <stdlib.h>
#include <string.h>


#define READ_TRIES  8                   /* replaced meanwhile each time? */


/*
 * What is removed is overwritten where it lies, also under a reader that has
 * it open.  So damaged is only what is there still when it has been read; else
 * what took its place is read, or found to be nothing.
 */

int
certctl_sealed_read(certctl_store_t *store, int folder, const char *path,
    certctl_sealed_e type, const char *name, certctl_record_t *ret)
{
    int              rc, tries = 0;
    size_t           len;
    u_char          *buf;
    certctl_file_t   file;

    do {
        memset(&file, 0, sizeof(file));
        rc = certctl_file_read(folder, path, &buf, &len, &file);

        if (rc == CERTCTL_STORE_OK) {
            rc = certctl_unseal(store, type, name, buf, len, ret);
        }

    } while (rc == CERTCTL_STORE_DAMAGED
             && ++tries < READ_TRIES
             && !certctl_file_is(folder, path, &file));

    if (rc == CERTCTL_STORE_OK) {
        ret->file = file;
    }

    return rc;
}


int
certctl_sealed_load(certctl_store_t *store, int parent,
    certctl_sealed_e type, const char *name, char mark, certctl_record_t *ret)
{
    char  path[CERTCTL_PATH_SIZE];

    if (parent < 0
        || !certctl_name_valid((const u_char *) name, strlen(name)))
    {
        return CERTCTL_STORE_NOT_FOUND;
    }

    certctl_path(path, name, mark);

    return certctl_sealed_read(store, parent, path, type, name, ret);
}


int
certctl_store_load(certctl_store_t *store, const char *name, char mark,
    certctl_record_t *ret)
{
    return certctl_sealed_load(store, store->certs, CERTCTL_SEALED_RECORD,
                               name, mark, ret);
}


int
certctl_sealed_write(certctl_store_t *store, int folder,
    const certctl_record_t *in, int sync)
{
    int      rc;
    size_t   len;
    u_char  *data;

    rc = certctl_seal(store, in, &data, &len);

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_file_write(store, folder, in->name, data, len, sync);
        free(data);
    }

    return rc;
}


int
certctl_sealed_replace(certctl_store_t *store, int folder,
    const certctl_record_t *in)
{
    int  rc;

    rc = certctl_sealed_write(store, folder, in, 1);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    CERTCTL_POINT("store.replace.before_rename");

    rc = certctl_file_rename(folder, in->name, CERTCTL_MARK_NEW, 0);

    if (rc != CERTCTL_STORE_OK) {
        (void) certctl_file_unlink(folder, in->name, CERTCTL_MARK_NEW);
        return rc;
    }

    CERTCTL_POINT("store.replace.after_rename");

    return certctl_folder_sync(folder);
}
