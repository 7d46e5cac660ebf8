
/* Files and folders of the store: bounded reads, durable writes. */


#ifndef _GNU_SOURCE
#define _GNU_SOURCE                     /* O_NOATIME, sync_file_range() */
#endif

#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


int
certctl_store_code(void)
{
    return errno == ENOSPC || errno == EDQUOT ? CERTCTL_STORE_FULL
                                              : CERTCTL_STORE_ERROR;
}


static int
lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}


/* FNV-1a, folded to 256 folders; the letter case of a name does not count. */

unsigned
certctl_path_hash(const char *name)
{
    uint32_t  h = 2166136261u;

    while (*name) {
        h = (h ^ (u_char) lower(*name++)) * 16777619u;
    }

    h ^= h >> 16;

    return (h ^ h >> 8) & 0xff;
}


void
certctl_path(char path[CERTCTL_PATH_SIZE], const char *name, char mark)
{
    char  before[2] = { 0, 0 }, after[2] = { 0, 0 };

    *(mark == CERTCTL_MARK_PREV ? after : before) = mark;

    (void) snprintf(path, CERTCTL_PATH_SIZE, "%02x/%s%.253s%s",
                    certctl_path_hash(name), before, name, after);
}


/* Addresses have colons, which names of records may not have. */

int
certctl_host_key(const char *name, char key[CERTCTL_NAME_SIZE])
{
    size_t  i;

    for (i = 0; name[i]; i++) {
        if (i == CERTCTL_NAME_SIZE - 1
            || !((name[i] >= 'a' && name[i] <= 'z')
                 || (name[i] >= 'A' && name[i] <= 'Z')
                 || (name[i] >= '0' && name[i] <= '9')
                 || strchr("._*:-", name[i]) != NULL))
        {
            return 0;
        }

        key[i] = lower(name[i]);
    }

    key[i] = '\0';

    return i > 0 && strcmp(key, ".") != 0 && strcmp(key, "..") != 0;
}


int
certctl_give(certctl_store_t *store, int fd)
{
    if (geteuid() != 0 || store->uid == 0) {
        return 0;
    }

    return fchown(fd, store->uid, store->gid);
}


int
certctl_folder_sync(int fd)
{
    return fsync(fd) == 0 ? CERTCTL_STORE_OK : certctl_store_code();
}


static void
folder_path(char path[3], unsigned hash)
{
    static const char  digits[] = "0123456789abcdef";

    path[0] = digits[hash >> 4 & 15];
    path[1] = digits[hash & 15];
    path[2] = '\0';
}


int
certctl_folder_number(int room, unsigned hash)
{
    char  path[3];

    folder_path(path, hash);

    return openat(room, path, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
}


int
certctl_folder_open(certctl_store_t *store, int room, const char *name,
    int create)
{
    int   fd, made;
    char  path[3];

    fd = certctl_folder_number(room, certctl_path_hash(name));

    if (fd >= 0 || errno != ENOENT || !create) {
        return fd;
    }

    folder_path(path, certctl_path_hash(name));
    made = mkdirat(room, path, 0700) == 0;

    if (!made && errno != EEXIST) {
        return -1;
    }

    fd = certctl_folder_number(room, certctl_path_hash(name));

    if (fd >= 0 && made && (certctl_give(store, fd) != 0 || fsync(room) != 0)) {
        made = errno;
        close(fd);
        errno = made;
        return -1;
    }

    return fd;
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
            return CERTCTL_STORE_DAMAGED;       /* shorter than it said */
        }

        done += n;
    }

    return CERTCTL_STORE_OK;
}


/*
 * O_NONBLOCK: a fifo in the place of a record must not hold a worker.
 * O_NOATIME: a reader must not wait for the journal; it is for owners only.
 */

int
certctl_file_read(int room, const char *path, u_char **buf, size_t *len,
    struct stat *st)
{
    int      fd, rc, flags = O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC;
    u_char  *p;

    fd = openat(room, path, flags|O_NOATIME);

    if (fd < 0 && errno == EPERM) {
        fd = openat(room, path, flags);
    }

    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? CERTCTL_STORE_NOT_FOUND
               : errno == ELOOP ? CERTCTL_STORE_DAMAGED
               : CERTCTL_STORE_ERROR;
    }

    p = NULL;
    rc = CERTCTL_STORE_ERROR;

    if (fstat(fd, st) == 0) {
        rc = CERTCTL_STORE_DAMAGED;

        if (S_ISREG(st->st_mode) && st->st_size > 0
            && st->st_size <= CERTCTL_FILE_MAX)
        {
            p = malloc(st->st_size);
            rc = p ? read_all(fd, p, st->st_size) : CERTCTL_STORE_ERROR;
        }
    }

    close(fd);

    if (rc != CERTCTL_STORE_OK) {
        free(p);
        return rc;
    }

    *buf = p;
    *len = st->st_size;

    return CERTCTL_STORE_OK;
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
 * second try: the file goes, and the caller is told.
 */

int
certctl_file_write(certctl_store_t *store, int folder, const char *base,
    const u_char *data, size_t len, int sync)
{
    int  fd, rc, err;
    int  flags = O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC;

    CERTCTL_POINT("store.file.before_write");

    fd = openat(folder, base, flags, 0600);

    if (fd < 0 && errno == EEXIST && unlinkat(folder, base, 0) == 0) {
        fd = openat(folder, base, flags, 0600);
    }

    if (fd < 0) {
        return certctl_store_code();
    }

    rc = certctl_give(store, fd) == 0 && write_all(fd, data, len) == 0;

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


/*
 * Best effort: file systems that write elsewhere, and flash, keep old blocks.
 * What they keep is sealed.  A file beyond the limit is none of ours, and may
 * be a hole of a terabyte.
 */

void
certctl_file_wipe(int folder, const char *base, int sync)
{
    static const u_char  zeros[4096];
    struct stat          st;
    off_t                at;
    int                  fd;

    fd = openat(folder, base, O_WRONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

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

    (void) unlinkat(folder, base, 0);
}


int
certctl_file_remove(int folder, const char *name, char mark, int sync)
{
    char  path[CERTCTL_PATH_SIZE], next[CERTCTL_PATH_SIZE];

    certctl_path(path, name, mark);
    certctl_path(next, name, CERTCTL_MARK_NEW);

    CERTCTL_POINT("store.remove.before_rename");

    if (renameat(folder, certctl_base(path), folder, certctl_base(next))
        != 0)
    {
        return errno == ENOENT ? CERTCTL_STORE_NOT_FOUND
                               : certctl_store_code();
    }

    CERTCTL_POINT("store.remove.after_rename");

    certctl_file_wipe(folder, certctl_base(next), sync);

    return CERTCTL_STORE_OK;
}
