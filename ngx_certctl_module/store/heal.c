
/* What a writer that was killed left behind is finished or taken back. */


#include "store/store_impl.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>


static int
same_file(int folder, const char *name, char mark)
{
    char            path[CERTCTL_PATH_SIZE];
    struct stat     st;
    certctl_file_t  live;

    certctl_path(path, name, 0);

    if (fstatat(folder, certctl_base(path), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }

    live = certctl_file_of(&st);
    certctl_path(path, name, mark);

    return certctl_file_is(folder, certctl_base(path), &live);
}


/* What was being written or wiped was never live, or is no longer. */

static void
remove_new(certctl_store_t *store, int parent, const char *name)
{
    int  folder;

    folder = certctl_folder_open(store, parent, name, 0);

    if (folder >= 0) {
        certctl_file_wipe(folder, name, 1);
        close(folder);
    }
}


/* A put stopped between its two renames: what was live becomes the previous. */

static void
finish_old(int folder, const char *name)
{
    if (same_file(folder, name, CERTCTL_MARK_OLD)
        || certctl_file_rename(folder, name, CERTCTL_MARK_OLD,
                               CERTCTL_MARK_PREV)
           == CERTCTL_STORE_OK)
    {
        (void) certctl_file_unlink(folder, name, CERTCTL_MARK_OLD);
    }
}


/* A staple, or a put over a damaged record, was about to clear this away. */

static void
finish_undo(certctl_store_t *store, int folder, const char *name)
{
    int               rc;
    certctl_record_t  sealed;

    rc = certctl_store_load(store, name, CERTCTL_MARK_UNDO, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_free(&sealed);
    }

    if (rc == CERTCTL_STORE_DAMAGED
        && !same_file(folder, name, CERTCTL_MARK_UNDO))
    {
        certctl_move_to_damaged(store, folder, name, CERTCTL_MARK_UNDO);

    } else if (rc != CERTCTL_STORE_ERROR) {
        (void) certctl_file_unlink(folder, name, CERTCTL_MARK_UNDO);
    }
}


static void
finish_names(certctl_store_t *store, const char *name)
{
    certctl_record_t   live, prev, *old = NULL;

    if (certctl_store_load(store, name, 0, &live) != CERTCTL_STORE_OK) {
        return;
    }

    if (certctl_store_load(store, name, CERTCTL_MARK_PREV, &prev)
        == CERTCTL_STORE_OK)
    {
        old = &prev;
    }

    (void) certctl_names_prepare(store, old, &live, 0);
    (void) certctl_names_change(store, old, &live, 1);

    if (old) {
        certctl_record_free(old);
    }

    certctl_record_free(&live);
}


void
certctl_invalidate_all(certctl_store_t *store)
{
    if (store->healed != NULL) {
        store->healed(store->healed_data);

    } else {
        store->invalid = 1;
    }
}


void
certctl_heal(certctl_store_t *store, const char *name)
{
    int  folder;

    remove_new(store, store->certs, name);
    remove_new(store, store->pending, name);
    remove_new(store, store->staples, name);

    folder = certctl_folder_open(store, store->certs, name, 0);

    if (folder >= 0) {
        finish_old(folder, name);
        finish_undo(store, folder, name);
        finish_names(store, name);

        (void) fsync(folder);
        close(folder);
    }

    certctl_invalidate_all(store);
}


/* A master that reloads has healed when it opened the store. */

void
certctl_store_on_heal(certctl_store_t *store, void (*fn)(void *data),
    void *data)
{
    store->healed = fn;
    store->healed_data = data;

    if (store->invalid) {
        store->invalid = 0;
        fn(data);
    }
}


int
certctl_store_unfinished(certctl_store_t *store, const char *name)
{
    return faccessat(store->writes, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}


/* One whose lock is taken is being written by a process that lives. */

static int
heal_lock(int folder, const char *base, void *data)
{
    certctl_lock_t    lock;
    certctl_store_t  *store = data;

    (void) folder;

    if (base[0] == CERTCTL_MARK_NEW) {
        certctl_lock_pool_heal(store, base);

    } else if (certctl_name_valid((const u_char *) base, strlen(base))
               && certctl_lock(store, base, &lock, 0, NULL)
                  == CERTCTL_STORE_OK)
    {
        if (lock.stale) {
            certctl_heal(store, base);
        }

        certctl_unlock(store, &lock);
    }

    return 0;
}


void
certctl_store_heal(certctl_store_t *store)
{
    (void) certctl_folder_each(certctl_folder_again(store->writes), heal_lock,
                               store);
}
