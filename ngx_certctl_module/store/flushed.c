
/* When TLS sessions were flushed last: sessions/flushed, a sealed file. */


#include "store/store_impl.h"

#include <string.h>
#include <time.h>
#include <unistd.h>


#define FLUSHED  "flushed"


int
certctl_store_flushed(certctl_store_t *store, uint64_t *ret)
{
    int               rc;
    certctl_sealed_t  sealed;

    if (store->sessions < 0) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    rc = certctl_sealed_read(store, store->sessions, FLUSHED,
                             CERTCTL_SEALED_FLUSHED, FLUSHED, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        *ret = sealed.generation;
        certctl_sealed_free(&sealed);
    }

    return rc;
}


/* It grows, whatever the clock does. */

static int
flush_locked(certctl_store_t *store, uint64_t *ret)
{
    int                rc;
    uint64_t           last = 0;
    certctl_sealed_t   sealed = { .type = CERTCTL_SEALED_FLUSHED };

    (void) certctl_store_flushed(store, &last);

    memcpy(sealed.name, FLUSHED, sizeof(FLUSHED));
    sealed.generation = certctl_next_generation(last);
    sealed.stored = time(NULL);

    rc = certctl_sealed_replace(store, store->sessions, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        *ret = sealed.generation;
    }

    return rc;
}


/* The lock is of a descriptor of our own: the store's is every process's. */

int
certctl_store_flush(certctl_store_t *store, uint64_t *ret)
{
    int  rc, folder;

    folder = certctl_folder_again(store->sessions);

    if (folder < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_flock(folder, CERTCTL_LOCK_WAIT) == 0
         ? flush_locked(store, ret) : CERTCTL_STORE_ERROR;

    close(folder);

    return rc;
}
