
/*
 * Locks of no name, which one thread keeps to become those of its next names:
 * a lock of its own file needs a new one each time.
 */


#ifndef _GNU_SOURCE
#define _GNU_SOURCE                     /* renameat2() */
#endif

#include "store/store_impl.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>


certctl_lock_pool_t *
certctl_lock_pool_create(void (*on_step)(void))
{
    certctl_lock_pool_t  *pool = calloc(1, sizeof(certctl_lock_pool_t));

    if (pool != NULL) {
        pool->on_step = on_step;
    }

    return pool;
}


static void
drop_last(certctl_store_t *store, certctl_lock_pool_t *pool)
{
    certctl_pooled_lock_t  *last = &pool->of[--pool->n];

    (void) unlinkat(store->writes, last->name, 0);
    close(last->fd);
}


void
certctl_lock_pool_destroy(certctl_store_t *store, certctl_lock_pool_t *pool)
{
    while (pool != NULL && pool->n > 0) {
        drop_last(store, pool);
    }

    free(pool);
}


int
certctl_lock_pool_take(certctl_store_t *store, certctl_lock_t *lock)
{
    certctl_lock_pool_t    *pool = lock->pool;
    certctl_pooled_lock_t  *last;

    if (pool == NULL || pool->n == 0) {
        return 0;
    }

    last = &pool->of[pool->n - 1];

    if (renameat2(store->writes, last->name, store->writes, lock->name,
                  RENAME_NOREPLACE)
        != 0)
    {
        /* the name has a lock: no more descriptors than there are names */

        drop_last(store, pool);
        return 0;
    }

    CERTCTL_POINT("store.lock_pool.after_take");

    pool->n--;
    lock->fd = last->fd;
    lock->stale = 0;

    return 1;
}


/* Not where the write came to nothing: its lock is of what is live still. */

int
certctl_lock_pool_put(certctl_store_t *store, certctl_lock_t *lock)
{
    char                    path[CERTCTL_PATH_SIZE];
    static unsigned         number;
    certctl_lock_pool_t    *pool = lock->pool;
    certctl_pooled_lock_t  *next;

    certctl_path(path, lock->name, 0);

    if (pool == NULL || pool->n == CERTCTL_STORE_MANY
        || certctl_lock_is_file(lock->fd, store->certs, path) != 0)
    {
        return 0;
    }

    next = &pool->of[pool->n];

    (void) snprintf(next->name, sizeof(next->name), "%c%d-%u",
                    CERTCTL_MARK_NEW, (int) getpid(),
                    __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));

    if (renameat2(store->writes, lock->name, store->writes, next->name,
                  RENAME_NOREPLACE)
        != 0)
    {
        return 0;
    }

    CERTCTL_POINT("store.lock_pool.after_put");

    next->fd = lock->fd;
    pool->n++;

    return 1;
}


void
certctl_lock_pool_heal(certctl_store_t *store, const char *base)
{
    int  fd = openat(store->writes, base,
                     O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd < 0) {
        return;
    }

    if (certctl_flock(fd, 0) == 0
        && certctl_lock_is_file(fd, store->writes, base) == 1)
    {
        (void) unlinkat(store->writes, base, 0);
    }

    close(fd);
}
