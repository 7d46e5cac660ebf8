
/* What a writer that was killed left behind is finished or taken back. */


#include "store/store_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>


static int
same_file(int folder, const char *a, const char *b)
{
    struct stat  sa, sb;

    return fstatat(folder, a, &sa, AT_SYMLINK_NOFOLLOW) == 0
           && fstatat(folder, b, &sb, AT_SYMLINK_NOFOLLOW) == 0
           && sa.st_ino == sb.st_ino && sa.st_dev == sb.st_dev;
}


/* What was being written or wiped was never live, or is no longer. */

static void
remove_new(certctl_store_t *store, int room, const char *name)
{
    int   folder;
    char  path[CERTCTL_PATH_SIZE];

    folder = certctl_folder_open(store, room, name, 0);

    if (folder >= 0) {
        certctl_path(path, name, CERTCTL_MARK_NEW);

        if (faccessat(folder, certctl_base(path), F_OK, AT_SYMLINK_NOFOLLOW)
            == 0)
        {
            certctl_file_wipe(folder, certctl_base(path), 1);
        }

        close(folder);
    }
}


/* A put stopped between its two renames: what was live becomes the previous. */

static void
finish_old(int folder, const char *name)
{
    char  live[CERTCTL_PATH_SIZE], old[CERTCTL_PATH_SIZE];
    char  prev[CERTCTL_PATH_SIZE];

    certctl_path(live, name, 0);
    certctl_path(old, name, CERTCTL_MARK_OLD);
    certctl_path(prev, name, CERTCTL_MARK_PREV);

    if (same_file(folder, certctl_base(live), certctl_base(old))
        || renameat(folder, certctl_base(old), folder, certctl_base(prev)) == 0)
    {
        (void) unlinkat(folder, certctl_base(old), 0);
    }
}


/* A staple, or a put over a damaged record, was about to clear this away. */

static void
finish_undo(certctl_store_t *store, int folder, const char *name)
{
    int               rc;
    char              path[CERTCTL_PATH_SIZE], live[CERTCTL_PATH_SIZE];
    certctl_sealed_t  sealed;

    certctl_path(path, name, CERTCTL_MARK_UNDO);
    certctl_path(live, name, 0);

    rc = certctl_store_load(store, name, CERTCTL_MARK_UNDO, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        certctl_sealed_free(&sealed);
    }

    if (rc == CERTCTL_STORE_DAMAGED
        && !same_file(folder, certctl_base(live), certctl_base(path)))
    {
        certctl_set_aside(store, folder, certctl_base(path), name);

    } else if (rc != CERTCTL_STORE_ERROR) {
        (void) unlinkat(folder, certctl_base(path), 0);
    }
}


static void
finish(certctl_store_t *store, const char *name)
{
    int                folder, has_prev;
    certctl_sealed_t   live, prev;

    remove_new(store, store->certs, name);
    remove_new(store, store->pending, name);
    remove_new(store, store->staples, name);

    folder = certctl_folder_open(store, store->certs, name, 0);
    if (folder < 0) {
        return;
    }

    finish_old(folder, name);
    finish_undo(store, folder, name);

    if (certctl_store_load(store, name, 0, &live) == CERTCTL_STORE_OK) {
        has_prev = certctl_store_load(store, name, CERTCTL_MARK_PREV, &prev)
                   == CERTCTL_STORE_OK;

        (void) certctl_names_prepare(store, has_prev ? &prev : NULL, &live, 0);
        (void) certctl_names_change(store, has_prev ? &prev : NULL, &live, 1);

        if (has_prev) {
            certctl_sealed_free(&prev);
        }

        certctl_sealed_free(&live);
    }

    (void) fsync(folder);
    close(folder);
}


void
certctl_tell_all(certctl_store_t *store)
{
    if (store->healed != NULL) {
        store->healed(store->healed_data);

    } else {
        store->untold = 1;
    }
}


void
certctl_heal(certctl_store_t *store, const char *name)
{
    finish(store, name);
    certctl_tell_all(store);
}


/* A master that reloads has healed when it opened the store. */

void
certctl_store_on_heal(certctl_store_t *store, void (*fn)(void *data),
    void *data)
{
    store->healed = fn;
    store->healed_data = data;

    if (store->untold) {
        store->untold = 0;
        fn(data);
    }
}


int
certctl_store_unfinished(certctl_store_t *store, const char *name)
{
    return faccessat(store->writes, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}


/* One whose lock is taken is being written by a process that lives. */

void
certctl_store_heal(certctl_store_t *store)
{
    int              fd;
    DIR             *dir;
    certctl_lock_t   lock;
    struct dirent   *entry;

    fd = openat(store->writes, ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);

    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }

        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == CERTCTL_MARK_NEW) {
            certctl_spare_heal(store, entry->d_name);
            continue;
        }

        if (!certctl_name_valid((u_char *) entry->d_name,
                                strlen(entry->d_name))
            || certctl_lock(store, entry->d_name, &lock, 0, NULL)
               != CERTCTL_STORE_OK)
        {
            continue;
        }

        if (lock.stale) {
            certctl_heal(store, entry->d_name);
        }

        certctl_unlock(store, &lock);
    }

    closedir(dir);
}
