
/*
 * Many puts that share their waits for the disk.  Sixty-four records written
 * one by one wait for it 128 times and more; here twice, by syncfs(): once
 * when all new versions are written beside the live ones, and once when all
 * have taken their places.
 *
 * syncfs() also waits for what others have written to this file system.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>


typedef enum {
    STEP_NONE = 0,                  /* no lock is held */
    STEP_BEGUN,
    STEP_STAGED,
    STEP_PUBLISHED
} step_e;

typedef struct {
    certctl_put_t         put;
    certctl_store_put_t  *asked;
    step_e                step;
} one_t;


/* What became of a step: the next one, or the answer. */

static void
advance(one_t *one, int rc, step_e next)
{
    if (rc == CERTCTL_STORE_OK) {
        one->step = next;

    } else {
        one->asked->rc = rc;
        one->asked->err = errno;
        one->step = one->step == STEP_NONE ? STEP_NONE : STEP_BEGUN;
    }
}


static void
step(certctl_lock_pool_t *pool)
{
    if (pool != NULL && pool->on_step != NULL) {
        pool->on_step();
    }
}


static void
begin(certctl_store_t *store, one_t *one, certctl_lock_pool_t *pool)
{
    int  rc;

    rc = certctl_put_begin(store, one->asked->record, 0, pool, &one->put);

    if (rc == CERTCTL_STORE_OK) {
        one->step = STEP_BEGUN;
        certctl_write_number(&one->put.w, &one->put.new);
        rc = certctl_write_stage(&one->put.w, &one->put.new, 0, 0);

    } else if (rc == CERTCTL_STORE_ERROR && errno == ETIMEDOUT) {
        rc = CERTCTL_STORE_CONFLICT;        /* somebody has its lock */
    }

    advance(one, rc, STEP_STAGED);
}


/*
 * A descriptor of its own for each batch: an error that was reported through
 * one is not reported through it again, to whomever it was that it concerned.
 */

static int
sync_all(int fd)
{
    return syncfs(fd) == 0 ? CERTCTL_STORE_OK : certctl_store_code();
}


static void
revert_all(one_t *ones, size_t n, step_e step, void (*undo)(certctl_write_t *w),
    int rc)
{
    size_t  i;
    int     err = errno;

    for (i = 0; i < n; i++) {
        if (ones[i].step == step) {
            undo(&ones[i].put.w);
            errno = err;
            advance(&ones[i], rc, step);
        }
    }
}


static void
run(certctl_store_t *store, int fd, one_t *ones, size_t n,
    certctl_lock_pool_t *pool)
{
    int     rc;
    size_t  i;

    for (i = 0; i < n; i++) {
        begin(store, &ones[i], pool);
        step(pool);
    }

    CERTCTL_POINT("store.many.before_sync");

    rc = sync_all(fd);

    if (rc != CERTCTL_STORE_OK) {
        revert_all(ones, n, STEP_STAGED, certctl_write_unstage, rc);
        return;
    }

    CERTCTL_POINT("store.many.after_sync");

    for (i = 0; i < n; i++) {
        if (ones[i].step == STEP_STAGED) {
            advance(&ones[i], certctl_write_publish(&ones[i].put.w, 0),
                    STEP_PUBLISHED);
            step(pool);
        }
    }

    CERTCTL_POINT("store.many.before_last_sync");

    rc = sync_all(fd);

    if (rc != CERTCTL_STORE_OK) {
        revert_all(ones, n, STEP_PUBLISHED, certctl_write_revert, rc);
    }

    CERTCTL_POINT("store.many.after_last_sync");
}


static void
end(certctl_store_t *store, one_t *one, certctl_changed_pt changed, void *data)
{
    certctl_put_t  *put = &one->put;

    if (one->step == STEP_NONE) {
        return;
    }

    if (put->w.committed) {
        certctl_write_notify(&put->w, changed, data);
    }

    if (one->step == STEP_PUBLISHED) {
        certctl_write_clean(&put->w);
        certctl_pending_remove(store, put->new.name, put->new.spki);
        one->asked->rc = CERTCTL_STORE_OK;
        one->asked->generation = put->new.generation;
    }

    certctl_put_end(put);
}


static void
one_by_one(certctl_store_t *store, certctl_store_put_t *puts, size_t n,
    certctl_changed_pt changed, void *data)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        puts[i].rc = certctl_store_put(store, puts[i].record,
                                       &puts[i].generation, changed, data);
        puts[i].err = errno;
    }
}


void
certctl_store_put_many(certctl_store_t *store, certctl_store_put_t *puts,
    size_t n, certctl_lock_pool_t *pool, certctl_changed_pt changed, void *data)
{
    int     fd = -1;
    one_t  *ones = NULL;
    size_t  i;

    if (n > 1 && n <= CERTCTL_STORE_MANY && store->shared_sync) {
        ones = calloc(n, sizeof(one_t));
        fd = ones ? certctl_folder_again(store->certs) : -1;
    }

    if (fd < 0) {
        free(ones);
        one_by_one(store, puts, n, changed, data);
        return;
    }

    for (i = 0; i < n; i++) {
        ones[i].asked = &puts[i];
    }

    run(store, fd, ones, n, pool);

    for (i = 0; i < n; i++) {
        end(store, &ones[i], changed, data);
        step(pool);
    }

    close(fd);
    free(ones);
}
