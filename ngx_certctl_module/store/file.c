
/*
 * Files of the store: bounded reads, durable writes, the marks of a name; and
 * sealed ones, which are read, and replaced by others.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define READ_TRIES  8                   /* replaced meanwhile each time? */


/* An inode's number is used again when its file has gone: hence the time. */

int
certctl_file_same(const certctl_file_t *one, const certctl_file_t *other)
{
    return one->ino == other->ino
           && one->dev == other->dev
           && one->mtime.tv_sec == other->mtime.tv_sec
           && one->mtime.tv_nsec == other->mtime.tv_nsec;
}


certctl_file_t
certctl_file_of(const struct stat *st)
{
    return (certctl_file_t) { st->st_dev, st->st_ino, st->st_mtim };
}


int
certctl_file_is(int folder, const char *path, const certctl_file_t *file)
{
    struct stat     st;
    certctl_file_t  now;

    if (fstatat(folder, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }

    now = certctl_file_of(&st);

    return certctl_file_same(&now, file);
}


static int
read_all(int fd, u_char *buf, size_t len)
{
    size_t   done = 0;
    ssize_t  n;

    while (done < len) {
        n = pread(fd, buf + done, len - done, done);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n < 0) {
            return CERTCTL_STORE_ERROR;
        }

        if (n == 0) {
            return CERTCTL_STORE_DAMAGED;       /* truncated meanwhile */
        }

        done += n;
    }

    return CERTCTL_STORE_OK;
}


static int
read_open(int fd, u_char **buf, size_t *len, certctl_file_t *file)
{
    int          rc;
    struct stat  st;

    if (fstat(fd, &st) != 0) {
        return CERTCTL_STORE_ERROR;
    }

    *file = certctl_file_of(&st);

    if (!S_ISREG(st.st_mode) || st.st_size <= 0
        || st.st_size > CERTCTL_FILE_MAX)
    {
        return CERTCTL_STORE_DAMAGED;
    }

    *len = st.st_size;
    *buf = malloc(*len);
    rc = *buf ? read_all(fd, *buf, *len) : CERTCTL_STORE_ERROR;

    if (rc != CERTCTL_STORE_OK) {
        free(*buf);
    }

    return rc;
}


/*
 * O_NONBLOCK: a fifo in the place of a record must not block a worker.
 * O_NOATIME: a reader must not wait for the journal; it is for owners only.
 */

static int
read_file(int folder, const char *path, u_char **buf, size_t *len,
    certctl_file_t *file)
{
    int  fd, rc, flags = O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC;

    fd = openat(folder, path, flags|O_NOATIME);

    if (fd < 0 && errno == EPERM) {
        fd = openat(folder, path, flags);
    }

    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? CERTCTL_STORE_NOT_FOUND
               : errno == ELOOP ? CERTCTL_STORE_DAMAGED
               : CERTCTL_STORE_ERROR;
    }

    rc = read_open(fd, buf, len, file);
    certctl_close(fd);

    return rc;
}


/*
 * What is removed is overwritten where it lies, also under a reader that has
 * it open.  So damaged is only what is there still when it has been read; else
 * what took its place is read, or found to be nothing.
 */

int
certctl_sealed_read(certctl_store_t *store, int folder, const char *path,
    certctl_sealed_e type, const char *name, certctl_record_t *ret)
{
    int              rc, tries = 0;
    size_t           len;
    u_char          *buf;
    certctl_file_t   file;

    do {
        memset(&file, 0, sizeof(file));
        rc = read_file(folder, path, &buf, &len, &file);

        if (rc == CERTCTL_STORE_OK) {
            rc = certctl_unseal(store, type, name, buf, len, ret);
        }

    } while (rc == CERTCTL_STORE_DAMAGED
             && ++tries < READ_TRIES
             && !certctl_file_is(folder, path, &file));

    if (rc == CERTCTL_STORE_OK) {
        ret->file = file;
    }

    return rc;
}


int
certctl_sealed_load(certctl_store_t *store, int parent,
    certctl_sealed_e type, const char *name, char mark, certctl_record_t *ret)
{
    char  path[CERTCTL_PATH_SIZE];

    if (parent < 0
        || !certctl_name_valid((const u_char *) name, strlen(name)))
    {
        return CERTCTL_STORE_NOT_FOUND;
    }

    certctl_path(path, name, mark);

    return certctl_sealed_read(store, parent, path, type, name, ret);
}


int
certctl_store_load(certctl_store_t *store, const char *name, char mark,
    certctl_record_t *ret)
{
    return certctl_sealed_load(store, store->certs, CERTCTL_SEALED_RECORD,
                               name, mark, ret);
}


static int
write_all(int fd, const u_char *data, size_t len)
{
    size_t   done = 0;
    ssize_t  n;

    while (done < len) {
        n = pwrite(fd, data + done, len - done, done);

        if (n < 0 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            errno = n < 0 ? errno : ENOSPC;
            return -1;
        }

        done += n;
    }

    return 0;
}


/*
 * After a failed fsync the kernel may have dropped the pages, so there is no
 * second try: the file goes, and the caller gets the error.
 */

static int
write_file(certctl_store_t *store, int folder, const char *name,
    const u_char *data, size_t len, int sync)
{
    int          fd, rc, err;
    int          flags = O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC;
    char         path[CERTCTL_PATH_SIZE];
    const char  *base = certctl_base(path);

    certctl_path(path, name, CERTCTL_MARK_NEW);

    CERTCTL_POINT("store.file.before_write");

    fd = openat(folder, base, flags, 0600);

    if (fd < 0 && errno == EEXIST && unlinkat(folder, base, 0) == 0) {
        fd = openat(folder, base, flags, 0600);
    }

    if (fd < 0) {
        return certctl_store_code();
    }

    rc = certctl_chown_to_workers(store, fd) == 0
         && write_all(fd, data, len) == 0;

    CERTCTL_POINT("store.file.before_fsync");

    rc = rc && (!sync || fsync(fd) == 0);
    err = errno;

    CERTCTL_POINT("store.file.after_fsync");

    close(fd);

    if (!rc) {
        (void) unlinkat(folder, base, 0);
        errno = err;
        return certctl_store_code();
    }

    return CERTCTL_STORE_OK;
}


int
certctl_sealed_write(certctl_store_t *store, int folder,
    const certctl_record_t *in, int sync)
{
    int      rc;
    size_t   len;
    u_char  *data;

    rc = certctl_seal(store, in, &data, &len);

    if (rc == CERTCTL_STORE_OK) {
        rc = write_file(store, folder, in->name, data, len, sync);
        free(data);
    }

    return rc;
}


int
certctl_file_rename(int folder, const char *name, char from, char to)
{
    char  old[CERTCTL_PATH_SIZE], new[CERTCTL_PATH_SIZE];

    certctl_path(old, name, from);
    certctl_path(new, name, to);

    return renameat(folder, certctl_base(old), folder, certctl_base(new)) == 0
           ? CERTCTL_STORE_OK : certctl_store_code();
}


int
certctl_file_link(int folder, const char *name, char from, char to)
{
    char  old[CERTCTL_PATH_SIZE], new[CERTCTL_PATH_SIZE];

    certctl_path(old, name, from);
    certctl_path(new, name, to);

    return linkat(folder, certctl_base(old), folder, certctl_base(new), 0) == 0
           ? CERTCTL_STORE_OK : certctl_store_code();
}


int
certctl_file_unlink(int folder, const char *name, char mark)
{
    char  path[CERTCTL_PATH_SIZE];

    certctl_path(path, name, mark);

    return unlinkat(folder, certctl_base(path), 0) == 0 || errno == ENOENT
           ? CERTCTL_STORE_OK : certctl_store_code();
}


int
certctl_sealed_replace(certctl_store_t *store, int folder,
    const certctl_record_t *in)
{
    int  rc;

    rc = certctl_sealed_write(store, folder, in, 1);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    CERTCTL_POINT("store.replace.before_rename");

    rc = certctl_file_rename(folder, in->name, CERTCTL_MARK_NEW, 0);

    if (rc != CERTCTL_STORE_OK) {
        (void) certctl_file_unlink(folder, in->name, CERTCTL_MARK_NEW);
        return rc;
    }

    CERTCTL_POINT("store.replace.after_rename");

    return certctl_folder_sync(folder);
}


/*
 * Best effort: file systems that write elsewhere, and flash, keep old blocks.
 * What they keep is sealed.  A file beyond the limit is none of ours, and may
 * be a hole of a terabyte.
 */

void
certctl_file_wipe(int folder, const char *name, int sync)
{
    static const u_char  zeros[4096];
    int                  fd;
    char                 path[CERTCTL_PATH_SIZE];
    off_t                at;
    struct stat          st;

    certctl_path(path, name, CERTCTL_MARK_NEW);

    fd = openat(folder, certctl_base(path),
                O_WRONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (fd >= 0) {
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)
            && st.st_size <= CERTCTL_FILE_MAX)
        {
            for (at = 0; at < st.st_size; at += sizeof(zeros)) {
                if (pwrite(fd, zeros, sizeof(zeros), at) < 0) {
                    break;
                }
            }

            (void) (sync ? fdatasync(fd)
                         : sync_file_range(fd, 0, 0,
                                           SYNC_FILE_RANGE_WRITE
                                           |SYNC_FILE_RANGE_WAIT_AFTER));
        }

        close(fd);
    }

    (void) unlinkat(folder, certctl_base(path), 0);
}


int
certctl_file_remove(int folder, const char *name, char mark, int sync)
{
    int  rc;

    CERTCTL_POINT("store.remove.before_rename");

    rc = certctl_file_rename(folder, name, mark, CERTCTL_MARK_NEW);

    if (rc != CERTCTL_STORE_OK) {
        return errno == ENOENT ? CERTCTL_STORE_NOT_FOUND : rc;
    }

    CERTCTL_POINT("store.remove.after_rename");

    certctl_file_wipe(folder, name, sync);

    return CERTCTL_STORE_OK;
}
