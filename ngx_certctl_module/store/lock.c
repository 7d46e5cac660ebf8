
/*
 * One writer for each name, among all threads and processes.  The lock is the
 * kernel's, so it ends with its owner; the file it is on is removed when the
 * write is complete, so one that is found belongs to a write that is not.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
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


/* Whether the file we locked is still the one that others will lock. */

static int
is_current(certctl_store_t *store, const char *name, int fd)
{
    return certctl_lock_is_file(fd, store->writes, name) == 1;
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
    unsigned wait_ms, certctl_lock_pool_t *pool)
{
    int  rc;

    lock->pool = pool;
    lock->unfinished = 0;
    memcpy(lock->name, name, strlen(name) + 1);

    if (certctl_lock_pool_take(store, lock)) {
        return CERTCTL_STORE_OK;
    }

    rc = own_lock(store, name, lock, wait_ms);

    if (rc != CERTCTL_STORE_OK) {
        lock->fd = -1;
    }

    return rc;
}


/* errno is the write's own and stays. */

void
certctl_unlock(certctl_store_t *store, certctl_lock_t *lock)
{
    int  err = errno;

    CERTCTL_POINT("store.before_unlock");

    if (lock->unfinished || !certctl_lock_pool_put(store, lock)) {
        if (!lock->unfinished) {
            (void) unlinkat(store->writes, lock->name, 0);
        }

        close(lock->fd);
    }

    lock->fd = -1;

    CERTCTL_POINT("store.after_unlock");

    errno = err;
}
