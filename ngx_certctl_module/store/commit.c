
/* The steps of a write: lock, new file, rename, names, sync; and the undo. */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rand.h>


int
certctl_write_begin(certctl_store_t *store, const char *name, int create,
    unsigned wait_ms, certctl_lock_pool_t *pool, certctl_write_t *w)
{
    int  rc;

    memset(w, 0, sizeof(*w));
    w->store = store;
    w->folder = -1;
    w->lock.fd = -1;

    if (!certctl_name_valid((const u_char *) name, strlen(name))) {
        errno = EINVAL;
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_lock(store, name, &w->lock, wait_ms, pool);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (w->lock.stale) {
        certctl_heal(store, name);
    }

    w->folder = certctl_folder_open(store, store->certs, name, create);
    w->found = w->folder >= 0 ? certctl_store_load(store, name, 0, &w->live)
               : errno == ENOENT && !create ? CERTCTL_STORE_NOT_FOUND
               : certctl_store_code();

    if (w->found == CERTCTL_STORE_ERROR || w->found == CERTCTL_STORE_FULL) {
        rc = w->found;
        certctl_write_end(w);
        return rc;
    }

    w->old = w->found == CERTCTL_STORE_OK ? &w->live : NULL;
    w->names_unknown = (w->found == CERTCTL_STORE_DAMAGED);

    return CERTCTL_STORE_OK;
}


void
certctl_write_end(certctl_write_t *w)
{
    int  err = errno;

    certctl_close(w->folder);

    if (w->lock.fd >= 0) {
        certctl_unlock(w->store, &w->lock);
    }

    certctl_record_free(&w->live);
    errno = err;
}


void
certctl_move_to_damaged(certctl_store_t *store, int folder, const char *name,
    char mark)
{
    char      path[CERTCTL_PATH_SIZE], to[CERTCTL_PATH_SIZE];
    uint64_t  salt;

    if (RAND_bytes((u_char *) &salt, sizeof(salt)) != 1) {
        return;
    }

    certctl_path(path, name, mark);
    (void) snprintf(to, sizeof(to), "%.200s+%lld-%016llx", name,
                    (long long) time(NULL), (unsigned long long) salt);

    CERTCTL_POINT("store.damaged.before_rename");

    if (renameat(folder, certctl_base(path), store->damaged, to) == 0) {
        (void) fsync(store->damaged);
    }

    CERTCTL_POINT("store.damaged.after_rename");
}


/* The live version becomes the previous one, or its backup goes in the end. */

static int
is_temporary(const certctl_write_t *w)
{
    return w->keep_prev || w->old == NULL;
}


static char
backup_mark(const certctl_write_t *w)
{
    return is_temporary(w) ? CERTCTL_MARK_UNDO : CERTCTL_MARK_OLD;
}


/* A second link to what is live, so that it remains when it is replaced. */

static int
backup_live(certctl_write_t *w)
{
    int          rc;
    char         mark = backup_mark(w);
    const char  *name = w->lock.name;

    if (w->found == CERTCTL_STORE_NOT_FOUND) {
        return certctl_file_unlink(w->folder, name, mark);
    }

    CERTCTL_POINT("store.put.before_link");

    rc = certctl_file_link(w->folder, name, 0, mark);

    if (rc != CERTCTL_STORE_OK && errno == EEXIST
        && certctl_file_unlink(w->folder, name, mark) == CERTCTL_STORE_OK)
    {
        rc = certctl_file_link(w->folder, name, 0, mark);
    }

    if (rc != CERTCTL_STORE_OK && w->found == CERTCTL_STORE_OK) {
        return rc;
    }

    if (rc != CERTCTL_STORE_OK) {
        certctl_move_to_damaged(w->store, w->folder, name, 0);
        w->found = CERTCTL_STORE_NOT_FOUND;         /* it was no file at all */
    }

    CERTCTL_POINT("store.put.after_link");

    return CERTCTL_STORE_OK;
}


void
certctl_write_revert(certctl_write_t *w)
{
    int  err = errno;

    if (w->found == CERTCTL_STORE_NOT_FOUND) {
        (void) certctl_file_unlink(w->folder, w->lock.name, 0);

    } else if (certctl_file_rename(w->folder, w->lock.name, backup_mark(w), 0)
               != CERTCTL_STORE_OK)
    {
        /* not as a second name: deleting or healing one would wipe both */

        (void) certctl_file_rename(w->folder, w->lock.name,
                                   CERTCTL_MARK_PREV, 0);
    }

    (void) certctl_names_change(w->store, w->new, w->old, 1);
    (void) fsync(w->folder);
    errno = err;
}


/* Behind the rename: previous version, names, and then all of it on disk. */

static int
finish(certctl_write_t *w, int sync)
{
    int  rc;

    if (!is_temporary(w)) {
        CERTCTL_POINT("store.put.before_previous");

        rc = certctl_file_rename(w->folder, w->lock.name, CERTCTL_MARK_OLD,
                                 CERTCTL_MARK_PREV);
        if (rc != CERTCTL_STORE_OK) {
            return rc;
        }

        /* where both were one file, rename() has done nothing */
        if (certctl_file_unlink(w->folder, w->lock.name, CERTCTL_MARK_OLD)
            != CERTCTL_STORE_OK)
        {
            w->lock.unfinished = 1;
        }

        CERTCTL_POINT("store.put.after_previous");
    }

    CERTCTL_POINT("store.put.before_names");

    rc = certctl_names_change(w->store, w->old, w->new, sync);

    if (rc != CERTCTL_STORE_OK || !sync) {
        return rc;
    }

    CERTCTL_POINT("store.put.before_fsync");
    rc = certctl_folder_sync(w->folder);
    CERTCTL_POINT("store.put.after_fsync");

    return rc;
}


int
certctl_write_stage(certctl_write_t *w, const certctl_record_t *new,
    int keep_prev, int sync)
{
    w->new = new;
    w->keep_prev = keep_prev;

    return certctl_sealed_write(w->store, w->folder, new, sync);
}


void
certctl_write_unstage(certctl_write_t *w)
{
    int  err = errno;

    (void) certctl_file_unlink(w->folder, w->lock.name, CERTCTL_MARK_NEW);
    errno = err;
}


int
certctl_write_publish(certctl_write_t *w, int sync)
{
    int  rc, err;

    rc = certctl_names_prepare(w->store, w->old, w->new, sync);

    if (rc == CERTCTL_STORE_OK) {
        rc = backup_live(w);
    }

    CERTCTL_POINT("store.put.before_rename");

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_file_rename(w->folder, w->lock.name, CERTCTL_MARK_NEW, 0);
    }

    if (rc != CERTCTL_STORE_OK) {
        err = errno;
        certctl_write_unstage(w);
        (void) certctl_file_unlink(w->folder, w->lock.name, backup_mark(w));
        (void) certctl_names_change(w->store, w->new, w->old, sync);
        errno = err;
        return rc;
    }

    w->committed = 1;

    CERTCTL_POINT("store.put.after_rename");

    rc = finish(w, sync);

    if (rc != CERTCTL_STORE_OK) {
        certctl_write_revert(w);
    }

    return rc;
}


void
certctl_write_clean(certctl_write_t *w)
{
    if (w->found == CERTCTL_STORE_DAMAGED) {
        certctl_move_to_damaged(w->store, w->folder, w->lock.name,
                                backup_mark(w));

    } else if (is_temporary(w)
               && certctl_file_unlink(w->folder, w->lock.name,
                                      CERTCTL_MARK_UNDO) != CERTCTL_STORE_OK)
    {
        w->lock.unfinished = 1;
    }
}


int
certctl_write_sealed(certctl_store_t *store, int parent,
    const certctl_record_t *in, certctl_check_pt check)
{
    int              rc, folder;
    certctl_write_t  w;

    rc = certctl_write_begin(store, in->name, 0, CERTCTL_LOCK_WAIT, NULL, &w);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = check ? check(store, in) : CERTCTL_STORE_OK;

    if (rc == CERTCTL_STORE_OK) {
        folder = certctl_folder_open(store, parent, in->name, 1);
        rc = folder < 0 ? certctl_store_code()
                        : certctl_sealed_replace(store, folder, in);
        certctl_close(folder);
    }

    certctl_write_end(&w);

    return rc;
}
