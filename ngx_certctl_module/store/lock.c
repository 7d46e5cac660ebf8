
/*
 * One writer for each name, among all threads and processes.  The lock is the
 * kernel's, so it ends with its owner; the file it is on is removed when the
 * write is complete, so one that is found belongs to a write that is not.
 *
 * A pool has locks of no name, which one thread keeps to become those of its
 * next names: a lock of its own file needs a new one each time.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/file.h>


#define LOCK_STEP_MS  2


/*
 * The lock is another name of the live record, where there is one: that needs
 * no new file, for which some file systems search long where many were removed.
 */

static int
link_lock(certctl_store_t *store, const char *name)
{
    int          fd;
    char         path[CERTCTL_PATH_SIZE];
    struct stat  st;

    certctl_path(path, name, 0);

    if (linkat(store->certs, path, store->writes, name, 0) != 0) {
        return -1;
    }

    CERTCTL_POINT("store.after_link_lock");

    fd = openat(store->writes, name, O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        return fd;
    }

    /* it was no record; else it stays, as another may have it by now */

    if (fd >= 0 || errno == ELOOP || errno == ENXIO || errno == EACCES) {
        (void) unlinkat(store->writes, name, 0);
    }

    certctl_close(fd);

    return -1;
}


/* A descriptor of writes/<name>, and whether it was there. */

static int
open_lock(certctl_store_t *store, const char *name, int *there)
{
    int  fd, flags = O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC;

    *there = 0;
    fd = link_lock(store, name);

    if (fd >= 0) {
        return fd;
    }

    fd = openat(store->writes, name, flags|O_CREAT|O_EXCL, 0600);

    if (fd >= 0) {
        if (certctl_chown_to_workers(store, fd) != 0) {
            close(fd);
            return -1;
        }

        return fd;
    }

    if (errno != EEXIST) {
        return -1;
    }

    *there = 1;

    return openat(store->writes, name, flags);
}


int
certctl_lock_is_file(int fd, int folder, const char *path)
{
    struct stat     st;
    certctl_file_t  file;

    if (fstat(fd, &st) != 0) {
        return -1;
    }

    file = certctl_file_of(&st);

    return certctl_file_is(folder, path, &file);
}


static void
pause_step(void)
{
    static const struct timespec  step = { 0, LOCK_STEP_MS * 1000000 };

    (void) nanosleep(&step, NULL);
}


/*
 * Not a blocking flock(): a writer that was stopped must not take the threads
 * of the pool with it.
 */

int
certctl_flock(int fd, unsigned wait_ms)
{
    unsigned  waited;

    for (waited = 0; flock(fd, LOCK_EX|LOCK_NB) != 0; waited += LOCK_STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -1;
        }

        if (waited >= wait_ms) {
            errno = ETIMEDOUT;
            return -1;
        }

        pause_step();
    }

    return 0;
}


int
certctl_folder_lock(int folder)
{
    int  fd;

    fd = certctl_folder_again(folder);

    if (fd >= 0 && certctl_flock(fd, CERTCTL_LOCK_WAIT) != 0) {
        certctl_close(fd);
        fd = -1;
    }

    return fd;
}


/*
 * 1: fd is the lock of name, and ours; 0: it is not its lock any more, as its
 * owner has finished, and may keep it for another name.
 */

static int
wait_lock(certctl_store_t *store, const char *name, int fd, unsigned *left_ms)
{
    while (certctl_flock(fd, 0) != 0) {
        if (errno != ETIMEDOUT) {
            return -1;
        }

        if (certctl_lock_is_file(fd, store->writes, name) != 1) {
            return 0;
        }

        if (*left_ms < LOCK_STEP_MS) {
            errno = ETIMEDOUT;
            return -1;
        }

        pause_step();
        *left_ms -= LOCK_STEP_MS;
    }

    return certctl_lock_is_file(fd, store->writes, name) == 1;
}


static int
own_lock(certctl_store_t *store, const char *name, certctl_lock_t *lock,
    unsigned wait_ms)
{
    int  fd, rc;

    for ( ;; ) {
        fd = open_lock(store, name, &lock->stale);

        if (fd < 0 && errno == ENOENT && lock->stale) {
            continue;                   /* its owner has just finished */
        }

        if (fd < 0) {
            return certctl_store_code();
        }

        rc = wait_lock(store, name, fd, &wait_ms);

        if (rc == 1) {
            lock->fd = fd;
            return CERTCTL_STORE_OK;
        }

        certctl_close(fd);

        if (rc < 0) {
            return CERTCTL_STORE_ERROR;
        }
    }
}


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


/* 1: lock is one of its pool now, under its own name. */

static int
take_pooled(certctl_store_t *store, certctl_lock_t *lock)
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


/*
 * 1: lock is in its pool.  Not where the write came to nothing: its lock is of
 * what is live still.
 */

static int
put_pooled(certctl_store_t *store, certctl_lock_t *lock)
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


int
certctl_lock(certctl_store_t *store, const char *name, certctl_lock_t *lock,
    unsigned wait_ms, certctl_lock_pool_t *pool)
{
    lock->fd = -1;
    lock->pool = pool;
    lock->unfinished = 0;
    memcpy(lock->name, name, strlen(name) + 1);

    return take_pooled(store, lock) ? CERTCTL_STORE_OK
                                    : own_lock(store, name, lock, wait_ms);
}


/* errno is the write's own and stays. */

void
certctl_unlock(certctl_store_t *store, certctl_lock_t *lock)
{
    int  err = errno;

    CERTCTL_POINT("store.before_unlock");

    if (lock->unfinished || !put_pooled(store, lock)) {
        if (!lock->unfinished) {
            (void) unlinkat(store->writes, lock->name, 0);
        }

        close(lock->fd);
    }

    lock->fd = -1;

    CERTCTL_POINT("store.after_unlock");

    errno = err;
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
