
/*
 * One writer for each name, among all threads and processes.  The lock is the
 * kernel's, so it ends with its owner; the file it is on is removed when the
 * write is complete, so one that is found tells of a write that is not.
 */


#include "ngx_certctl_store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/file.h>


#define LOCK_STEP_MS  2


/* A descriptor of writes/<name>, and whether it was there. */

static int
open_lock(certctl_store_t *store, const char *name, int *there)
{
    int  fd, flags = O_RDWR|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC;

    *there = 0;
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


/*
 * Not a blocking flock(): a writer that was stopped must not take the threads
 * of the pool with it.
 */

int
certctl_flock(int fd, unsigned wait_ms)
{
    static const struct timespec  step = { 0, LOCK_STEP_MS * 1000000 };
    unsigned                      waited;

    for (waited = 0; flock(fd, LOCK_EX|LOCK_NB) != 0; waited += LOCK_STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return -1;
        }

        if (waited >= wait_ms) {
            errno = ETIMEDOUT;
            return -1;
        }

        (void) nanosleep(&step, NULL);
    }

    return 0;
}


int
certctl_lock(certctl_store_t *store, const char *name, certctl_lock_t *lock,
    unsigned wait_ms)
{
    int  fd, err;

    for ( ;; ) {
        fd = open_lock(store, name, &lock->stale);

        if (fd < 0) {
            if (errno == ENOENT && lock->stale) {
                continue;               /* its owner has just finished */
            }

            return certctl_store_code();
        }

        if (certctl_flock(fd, wait_ms) != 0) {
            err = errno;
            close(fd);
            errno = err;
            return CERTCTL_STORE_ERROR;
        }

        if (is_current(store, name, fd)) {
            break;
        }

        close(fd);                      /* the same, while we waited */
    }

    lock->fd = fd;
    lock->keep = 0;
    memcpy(lock->name, name, strlen(name) + 1);

    return CERTCTL_STORE_OK;
}


/* errno is the write's own and stays. */

void
certctl_unlock(certctl_store_t *store, certctl_lock_t *lock)
{
    int  err = errno;

    CERTCTL_POINT("store.before_unlock");

    if (!lock->keep) {
        (void) unlinkat(store->writes, lock->name, 0);
    }

    close(lock->fd);
    lock->fd = -1;

    CERTCTL_POINT("store.after_unlock");

    errno = err;
}
