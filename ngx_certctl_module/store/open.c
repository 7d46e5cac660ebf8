
/* Opening a store: its folders, its sealing key, and what a crash left. */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/utsname.h>

#include <openssl/err.h>


#define FD(field)  offsetof(certctl_store_t, field)
#define NO_FD      ((size_t) -1)

/* To add a folder: a row here, and its descriptor in the store. */

static const struct {
    const char  *path;
    size_t       fd;
} folders[] = {
    { "certs",       FD(certs) },
    { "names",       NO_FD },
    { "names/ecdsa", FD(names[CERTCTL_KIND_ECDSA]) },
    { "names/rsa",   FD(names[CERTCTL_KIND_RSA]) },
    { "pending",     FD(pending) },
    { "staples",     FD(staples) },
    { "writes",      FD(writes) },
    { "damaged",     FD(damaged) },
    { "sessions",    FD(sessions) },
    { "trust",       FD(trust) },
};

#define FOLDERS  (sizeof(folders) / sizeof(folders[0]))


static int *
folder_fd(certctl_store_t *store, size_t offset)
{
    return (int *) (void *) ((char *) store + offset);
}


static int
open_folder(int at, const char *path)
{
    return openat(at, path, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
}


/* NULL, or what is wrong with the permissions of a folder. */

static const char *
check_folder(certctl_store_t *store, int fd)
{
    struct stat  st;

    if (fstat(fd, &st) != 0) {
        return "cannot be examined";
    }

    if (st.st_mode & 077) {
        return "may be used by others than its owner: chmod 0700 it";
    }

    if (st.st_uid != store->uid) {
        return "must belong to the user of the workers: chown -R it";
    }

    return NULL;
}


static const char *
open_one(certctl_store_t *store, const char *path, int create, int *fd)
{
    int  made;

    *fd = open_folder(store->top, path);

    if (*fd < 0 && errno == ENOENT) {
        if (!create) {
            return NULL;
        }

        made = mkdirat(store->top, path, 0700) == 0;

        if (!made && errno != EEXIST) {
            return "cannot be made";
        }

        *fd = open_folder(store->top, path);

        if (*fd >= 0 && made && certctl_chown_to_workers(store, *fd) != 0) {
            return "cannot be given to the user of the workers";
        }
    }

    return *fd < 0 ? "cannot be opened" : check_folder(store, *fd);
}


static int
open_folders(certctl_store_t *store, int create, char *why, size_t why_len)
{
    int          fd, err;
    size_t       i;
    const char  *reason;

    for (i = 0; i < FOLDERS; i++) {
        errno = 0;
        reason = open_one(store, folders[i].path, create, &fd);
        err = errno;

        if (folders[i].fd != NO_FD) {
            *folder_fd(store, folders[i].fd) = fd;

        } else {
            certctl_close(fd);
        }

        if (reason != NULL) {
            (void) snprintf(why, why_len, "folder \"%s\" %s%s%s",
                            folders[i].path, reason, err ? ": " : "",
                            err ? strerror(err) : "");
            return -1;
        }
    }

    return 0;
}


/* 1 with store->top open, 0 when the folder is missing and shall stay so. */

static int
open_top(certctl_store_t *store, const char *path, int create, char *why,
    size_t why_len)
{
    struct stat  st;

    if (create && mkdir(path, 0711) != 0 && errno != EEXIST) {
        (void) snprintf(why, why_len, "\"%s\" cannot be made: %s", path,
                        strerror(errno));
        return -1;
    }

    store->top = open(path, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (store->top < 0) {
        if (errno == ENOENT && !create) {
            return 0;
        }

        (void) snprintf(why, why_len, "\"%s\" cannot be opened: %s", path,
                        strerror(errno));
        return -1;
    }

    if (fstat(store->top, &st) != 0 || st.st_mode & 022) {
        (void) snprintf(why, why_len, "\"%s\" may be written by others than"
                        " its owner: chmod 0711 it", path);
        return -1;
    }

    if (st.st_uid != geteuid() && st.st_uid != 0) {
        (void) snprintf(why, why_len, "\"%s\" must belong to the user that"
                        " starts NGINX", path);
        return -1;
    }

    return 1;
}


/*
 * Before Linux 5.8 syncfs() did not report write errors; and a folder may be
 * another file system.
 */

static int
shares_sync(certctl_store_t *store)
{
    int             major, minor, kind;
    struct stat     certs, names;
    struct utsname  os;

    if (store->certs < 0 || uname(&os) != 0
        || sscanf(os.release, "%d.%d", &major, &minor) != 2
        || major < 5 || (major == 5 && minor < 8)
        || fstat(store->certs, &certs) != 0)
    {
        return 0;
    }

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {
        if (store->names[kind] < 0 || fstat(store->names[kind], &names) != 0
            || names.st_dev != certs.st_dev)
        {
            return 0;
        }
    }

    return 1;
}


void
certctl_store_close(certctl_store_t *store)
{
    size_t  i;

    for (i = 0; i < FOLDERS; i++) {
        if (folders[i].fd != NO_FD) {
            certctl_close(*folder_fd(store, folders[i].fd));
        }
    }

    certctl_close(store->top);

    EVP_MAC_CTX_free(store->mac);
    EVP_CIPHER_free(store->cipher);
    free(store);
}


certctl_store_t *
certctl_store_open(const char *path, int create, uid_t uid, gid_t gid,
    char *why, size_t why_len)
{
    int               rc;
    size_t            i;
    certctl_store_t  *store;

    store = calloc(1, sizeof(*store));

    if (store == NULL) {
        (void) snprintf(why, why_len, "out of memory");
        return NULL;
    }

    store->top = -1;

    for (i = 0; i < FOLDERS; i++) {
        if (folders[i].fd != NO_FD) {
            *folder_fd(store, folders[i].fd) = -1;
        }
    }

    /* only root can have workers of another user */
    store->uid = geteuid() == 0 && uid != (uid_t) -1 ? uid : geteuid();
    store->gid = gid;

    ERR_set_mark();
    store->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    ERR_pop_to_mark();

    if (store->cipher == NULL) {
        (void) snprintf(why, why_len, "OpenSSL has no AES-256-GCM");
        goto failed;
    }

    rc = open_top(store, path, create, why, why_len);

    if (rc < 0
        || (rc == 1
            && (open_folders(store, create, why, why_len) != 0
                || certctl_seal_key_load(store, create, why, why_len) != 0)))
    {
        goto failed;
    }

    store->shared_sync = shares_sync(store);

    if (create) {
        certctl_store_heal(store);
    }

    return store;

failed:

    certctl_store_close(store);

    return NULL;
}
