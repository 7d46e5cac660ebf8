
/*
 * One writer for each name, among all threads and processes.  The lock is the
 * kernel's, so it ends with its owner; the file it is on is removed when the
 * write is complete, so one that is found tells of a write that is not.
 */


#ifndef _GNU_SOURCE
#define _GNU_SOURCE                     /* renameat2() */
#endif

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
 * The lock is another name of the live record, where there is one: that needs no
 * new file, for which a file system may look long where many have just gone.
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

    if (fd >= 0) {
        close(fd);
    }

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
        if (certctl_give(store, fd) != 0) {
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


/* Whether the file we locked is still the one that others will lock. */

static int
is_current(certctl_store_t *store, const char *name, int fd)
{
    struct stat  ours, named;

    return fstat(fd, &ours) == 0
           && fstatat(store->writes, name, &named, AT_SYMLINK_NOFOLLOW) == 0
           && ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
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


/*
 * 1: fd is the lock of name, and ours; 0: it is not its lock any more, as who
 * had it is done, and may hold on to it for another name.
 */

static int
wait_lock(certctl_store_t *store, const char *name, int fd, unsigned *left_ms)
{
    while (certctl_flock(fd, 0) != 0) {
        if (errno != ETIMEDOUT) {
            return -1;
        }

        if (!is_current(store, name, fd)) {
            return 0;
        }

        if (*left_ms < LOCK_STEP_MS) {
            errno = ETIMEDOUT;
            return -1;
        }

        pause_step();
        *left_ms -= LOCK_STEP_MS;
    }

    return is_current(store, name, fd);
}


/* A lock that we hold already becomes the one of name, if that has none. */

static int
take_spare(certctl_store_t *store, const char *name, certctl_lock_t *lock)
{
    certctl_spare_t  *spare;

    if (lock->spares == NULL || lock->spares->n == 0) {
        return 0;
    }

    spare = &lock->spares->of[lock->spares->n - 1];

    if (renameat2(store->writes, spare->name, store->writes, name,
                  RENAME_NOREPLACE)
        != 0)
    {
        return 0;
    }

    CERTCTL_POINT("store.after_spare");

    lock->spares->n--;
    lock->fd = spare->fd;
    lock->stale = 0;

    return 1;
}


static void
drop_spare(certctl_store_t *store, certctl_spares_t *spares)
{
    certctl_spare_t  *spare = &spares->of[--spares->n];

    (void) unlinkat(store->writes, spare->name, 0);
    close(spare->fd);
}


static int
own_lock(certctl_store_t *store, const char *name, certctl_lock_t *lock,
    unsigned wait_ms)
{
    int  fd, rc, err;

    for ( ;; ) {
        fd = open_lock(store, name, &lock->stale);

        if (fd < 0) {
            if (errno == ENOENT && lock->stale) {
                continue;               /* its owner has just finished */
            }

            return certctl_store_code();
        }

        rc = wait_lock(store, name, fd, &wait_ms);

        if (rc == 1) {
            break;
        }

        err = errno;
        close(fd);
        errno = err;

        if (rc < 0) {
            return CERTCTL_STORE_ERROR;
        }
    }

    lock->fd = fd;

    return CERTCTL_STORE_OK;
}


int
certctl_lock(certctl_store_t *store, const char *name, certctl_lock_t *lock,
    unsigned wait_ms, certctl_spares_t *spares)
{
    int  rc;

    lock->spares = spares;

    if (!take_spare(store, name, lock)) {

        /* no more descriptors than there are names */

        if (spares != NULL && spares->n > 0) {
            drop_spare(store, spares);
        }

        rc = own_lock(store, name, lock, wait_ms);

        if (rc != CERTCTL_STORE_OK) {
            return rc;
        }
    }

    lock->keep = 0;
    memcpy(lock->name, name, strlen(name) + 1);

    return CERTCTL_STORE_OK;
}


/* Whether the next writer of the name would lock the very file that we have. */

static int
is_live(certctl_store_t *store, certctl_lock_t *lock)
{
    char         path[CERTCTL_PATH_SIZE];
    struct stat  ours, live;

    certctl_path(path, lock->name, 0);

    return fstat(lock->fd, &ours) != 0
           || (fstatat(store->certs, path, &live, AT_SYMLINK_NOFOLLOW) == 0
               && ours.st_ino == live.st_ino && ours.st_dev == live.st_dev);
}


/*
 * Whether the lock is put by, for another name.  Not where the write came to
 * nothing: its lock is of what is live still.
 */

static int
put_by(certctl_store_t *store, certctl_lock_t *lock)
{
    static unsigned    number;
    certctl_spare_t   *spare;
    certctl_spares_t  *spares = lock->spares;

    if (spares == NULL || spares->n == CERTCTL_STORE_MANY
        || is_live(store, lock))
    {
        return 0;
    }

    spare = &spares->of[spares->n];

    (void) snprintf(spare->name, sizeof(spare->name), "%c%d-%u",
                    CERTCTL_MARK_NEW, (int) getpid(),
                    __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));

    if (renameat2(store->writes, lock->name, store->writes, spare->name,
                  RENAME_NOREPLACE)
        != 0)
    {
        return 0;
    }

    CERTCTL_POINT("store.after_put_by");

    spare->fd = lock->fd;
    spares->n++;

    return 1;
}


/* errno is the write's own and stays. */

void
certctl_unlock(certctl_store_t *store, certctl_lock_t *lock)
{
    int  err = errno;

    CERTCTL_POINT("store.before_unlock");

    if (lock->keep || !put_by(store, lock)) {
        if (!lock->keep) {
            (void) unlinkat(store->writes, lock->name, 0);
        }

        close(lock->fd);
    }

    lock->fd = -1;

    CERTCTL_POINT("store.after_unlock");

    errno = err;
}


certctl_spares_t *
certctl_store_spares(void (*between)(void))
{
    certctl_spares_t  *spares = calloc(1, sizeof(certctl_spares_t));

    if (spares != NULL) {
        spares->between = between;
    }

    return spares;
}


void
certctl_store_spares_end(certctl_store_t *store, certctl_spares_t *spares)
{
    while (spares != NULL && spares->n > 0) {
        drop_spare(store, spares);
    }

    free(spares);
}


void
certctl_spare_heal(certctl_store_t *store, const char *name)
{
    int  fd = openat(store->writes, name,
                     O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd < 0) {
        return;
    }

    if (certctl_flock(fd, 0) == 0 && is_current(store, name, fd)) {
        (void) unlinkat(store->writes, name, 0);
    }

    close(fd);
}
