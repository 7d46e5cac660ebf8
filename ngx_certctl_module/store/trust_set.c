
/* trust/: the CAs that controllers have sent. */


#include "store/store_impl.h"

#include <string.h>
#include <time.h>


#define TRUST  "controllers"


int
certctl_store_trust(certctl_store_t *store, certctl_record_t *ret)
{
    return store->trust < 0 ? CERTCTL_STORE_NOT_FOUND
           : certctl_sealed_read(store, store->trust, TRUST,
                                 CERTCTL_SEALED_TRUST, TRUST, ret);
}


static int
is_same(const certctl_blob_t *one, const certctl_blob_t *other)
{
    return one->len == other->len
           && memcmp(one->data, other->data, one->len) == 0;
}


/* Under the lock.  What is damaged is replaced. */

static int
replace(certctl_store_t *store, const certctl_blob_t *cas,
    uint64_t *generation)
{
    int               rc, same = 0;
    uint64_t          last = 0;
    certctl_record_t  kept, file = { .type = CERTCTL_SEALED_TRUST,
                                     .name = TRUST,
                                     .stored = time(NULL) };

    rc = certctl_store_trust(store, &kept);

    if (rc == CERTCTL_STORE_OK) {
        last = kept.generation;
        same = is_same(&kept.chain, cas);
        certctl_record_free(&kept);

    } else if (rc == CERTCTL_STORE_ERROR) {
        return rc;
    }

    *generation = same ? last : certctl_next_generation(last);

    if (same) {
        return CERTCTL_STORE_OK;
    }

    file.generation = *generation;
    file.chain = *cas;

    return certctl_sealed_replace(store, store->trust, &file);
}


int
certctl_store_trust_put(certctl_store_t *store, const certctl_blob_t *cas,
    uint64_t *generation)
{
    int  rc, lock;

    lock = certctl_folder_lock(store->trust);

    if (lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = replace(store, cas, generation);
    certctl_close(lock);

    return rc;
}
