
/* When TLS sessions were flushed last: sessions/flushed, a sealed file. */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define FLUSHED      "flushed"
#define FLUSHED_NEW  "+flushed"


int
certctl_store_flushed(certctl_store_t *store, uint64_t *ret)
{
    int               rc;
    size_t            len;
    u_char           *buf;
    struct stat       st;
    certctl_sealed_t  sealed;

    if (store->sessions < 0) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    rc = certctl_file_read(store->sessions, FLUSHED, &buf, &len, &st);

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_unseal(store, CERTCTL_SEALED_FLUSHED, FLUSHED, buf, len,
                            &sealed);
    }

    if (rc == CERTCTL_STORE_OK) {
        *ret = sealed.generation;
        certctl_sealed_free(&sealed);
    }

    return rc;
}


static int
write_flushed(certctl_store_t *store, uint64_t epoch)
{
    int               rc;
    size_t            len;
    u_char           *buf;
    certctl_sealed_t  sealed;

    memset(&sealed, 0, sizeof(sealed));
    sealed.type = CERTCTL_SEALED_FLUSHED;
    sealed.generation = epoch;
    sealed.stored = time(NULL);
    memcpy(sealed.name, FLUSHED, sizeof(FLUSHED));

    rc = certctl_seal(store, &sealed, &buf, &len);

    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = certctl_file_write(store, store->sessions, FLUSHED_NEW, buf, len,
                            1);
    free(buf);

    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (renameat(store->sessions, FLUSHED_NEW, store->sessions, FLUSHED)
        != 0)
    {
        return certctl_store_code();
    }

    return certctl_folder_sync(store->sessions);
}


/* The lock is of a descriptor of our own: the store's is every process's. */

int
certctl_store_flush(certctl_store_t *store, uint64_t *ret)
{
    int              rc, folder;
    uint64_t         last = 0, now;
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    now = (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;

    folder = store->sessions < 0 ? -1
             : openat(store->sessions, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (folder < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_flock(folder, CERTCTL_LOCK_WAIT) == 0 ? CERTCTL_STORE_OK
                                                       : CERTCTL_STORE_ERROR;

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_store_flushed(store, &last);

        if (rc != CERTCTL_STORE_OK && rc != CERTCTL_STORE_NOT_FOUND) {
            last = 0;
        }

        /* it grows, whatever the clock does */

        now = now > last ? now : last + 1;
        rc = write_flushed(store, now);
    }

    close(folder);

    if (rc == CERTCTL_STORE_OK) {
        *ret = now;
    }

    return rc;
}
