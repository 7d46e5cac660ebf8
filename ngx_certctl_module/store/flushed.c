
/*
 * When TLS sessions were flushed last: sessions/flushed, a sealed file; and how
 * the files of sessions/ are read and replaced.
 */


#include "store/store_impl.h"

#include <string.h>
#include <time.h>
#include <unistd.h>


#define FLUSHED  "flushed"


int
certctl_sessions_read(certctl_store_t *store, certctl_sealed_e type,
    const char *name, certctl_sealed_t *ret)
{
    return store->sessions < 0 ? CERTCTL_STORE_NOT_FOUND
           : certctl_sealed_read(store, store->sessions, name, type, name,
                                 ret);
}


/* The lock is of a descriptor of our own: the store's is every process's. */

int
certctl_sessions_lock(certctl_store_t *store)
{
    int  fd;

    fd = certctl_folder_again(store->sessions);

    if (fd >= 0 && certctl_flock(fd, CERTCTL_LOCK_WAIT) != 0) {
        close(fd);
        fd = -1;
    }

    return fd;
}


int
certctl_sessions_write(certctl_store_t *store, certctl_sealed_t *in)
{
    in->stored = time(NULL);

    return certctl_sealed_replace(store, store->sessions, in);
}


int
certctl_store_flushed(certctl_store_t *store, uint64_t *ret)
{
    int               rc;
    certctl_sealed_t  sealed;

    rc = certctl_sessions_read(store, CERTCTL_SEALED_FLUSHED, FLUSHED,
                               &sealed);

    if (rc == CERTCTL_STORE_OK) {
        *ret = sealed.generation;
        certctl_sealed_free(&sealed);
    }

    return rc;
}


/* The epoch grows, whatever the clock does. */

int
certctl_sessions_flush(certctl_store_t *store, uint64_t epoch, uint64_t *ret)
{
    uint64_t          last = 0;
    certctl_sealed_t  sealed = { .type = CERTCTL_SEALED_FLUSHED };

    (void) certctl_store_flushed(store, &last);

    *ret = epoch ? epoch : certctl_next_generation(last);

    if (*ret <= last) {
        *ret = last;
        return CERTCTL_STORE_OK;
    }

    memcpy(sealed.name, FLUSHED, sizeof(FLUSHED));
    sealed.generation = *ret;

    return certctl_sessions_write(store, &sealed);
}


int
certctl_store_flush(certctl_store_t *store, uint64_t *ret)
{
    int  rc, lock;

    lock = certctl_sessions_lock(store);

    if (lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_sessions_flush(store, 0, ret);

    close(lock);

    return rc;
}
