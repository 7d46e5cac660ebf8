
/* Folders of the store: opening, making, listing and syncing them. */


#include "store/store_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>


int
certctl_store_code(void)
{
    return errno == ENOSPC || errno == EDQUOT ? CERTCTL_STORE_FULL
                                              : CERTCTL_STORE_ERROR;
}


int
certctl_chown_to_workers(certctl_store_t *store, int fd)
{
    if (geteuid() != 0 || store->uid == 0) {
        return 0;
    }

    return fchown(fd, store->uid, store->gid);
}


void
certctl_close(int fd)
{
    int  err = errno;

    if (fd >= 0) {
        close(fd);
    }

    errno = err;
}


int
certctl_folder_sync(int fd)
{
    return fsync(fd) == 0 ? CERTCTL_STORE_OK : certctl_store_code();
}


int
certctl_folder_number(int parent, unsigned hash)
{
    char  path[3];

    (void) snprintf(path, sizeof(path), "%02x", hash & 0xff);

    return openat(parent, path, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
}


int
certctl_folder_open(certctl_store_t *store, int parent, const char *name,
    int create)
{
    int       fd, made;
    char      path[3];
    unsigned  hash = certctl_path_hash(name);

    fd = certctl_folder_number(parent, hash);

    if (fd >= 0 || errno != ENOENT || !create) {
        return fd;
    }

    (void) snprintf(path, sizeof(path), "%02x", hash);
    made = mkdirat(parent, path, 0700) == 0;

    if (!made && errno != EEXIST) {
        return -1;
    }

    fd = certctl_folder_number(parent, hash);

    if (fd >= 0 && made
        && (certctl_chown_to_workers(store, fd) != 0 || fsync(parent) != 0))
    {
        certctl_close(fd);
        return -1;
    }

    return fd;
}


int
certctl_folder_again(int folder)
{
    return folder < 0 ? -1
           : openat(folder, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
}


int
certctl_folder_each(int fd, certctl_entry_pt fn, void *data)
{
    int             rc, err;
    DIR            *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent  *entry;

    if (dir == NULL) {
        certctl_close(fd);
        return CERTCTL_STORE_ERROR;
    }

    do {
        errno = 0;
        entry = readdir(dir);
        rc = entry ? fn(dirfd(dir), entry->d_name, data)
             : errno ? CERTCTL_STORE_ERROR : CERTCTL_STORE_OK;

    } while (entry != NULL && rc == CERTCTL_STORE_OK);

    err = errno;
    closedir(dir);
    errno = err;

    return rc;
}


int
certctl_folder_each_hash(int parent, certctl_entry_pt fn, void *data)
{
    int  i, fd, rc, ret = CERTCTL_STORE_OK, err = errno;

    for (i = 0; parent >= 0 && i < CERTCTL_FOLDERS; i++) {
        fd = certctl_folder_number(parent, i);

        if (fd < 0 && errno == ENOENT) {
            continue;
        }

        rc = certctl_folder_each(fd, fn, data);

        if (rc < 0) {
            ret = rc;
            err = errno;

        } else if (rc > 0) {
            ret = ret < 0 ? ret : rc;
            break;
        }
    }

    errno = err;

    return ret;
}
