
/* One write: lock, new file, rename, names, sync; and the way back. */


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
    unsigned wait_ms, certctl_spares_t *spares, certctl_write_t *w)
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

    rc = certctl_lock(store, name, &w->lock, wait_ms, spares);
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
    w->unread = (w->found == CERTCTL_STORE_DAMAGED);

    return CERTCTL_STORE_OK;
}


void
certctl_write_end(certctl_write_t *w)
{
    int  err = errno;

    if (w->folder >= 0) {
        close(w->folder);
    }

    if (w->lock.fd >= 0) {
        certctl_unlock(w->store, &w->lock);
    }

    certctl_sealed_free(&w->live);
    errno = err;
}


void
certctl_set_aside(certctl_store_t *store, int folder, const char *base,
    const char *name)
{
    int             tries;
    char            to[CERTCTL_PATH_SIZE];
    unsigned        salt;

    for (tries = 0; tries < 8; tries++) {
        if (RAND_bytes((u_char *) &salt, sizeof(salt)) != 1) {
            return;
        }

        (void) snprintf(to, sizeof(to), "%.200s+%lld-%08x", name,
                        (long long) time(NULL), salt);

        if (faccessat(store->damaged, to, F_OK, AT_SYMLINK_NOFOLLOW) != 0) {
            break;
        }
    }

    CERTCTL_POINT("store.aside.before_rename");

    if (renameat(folder, base, store->damaged, to) == 0) {
        (void) fsync(store->damaged);
    }

    CERTCTL_POINT("store.aside.after_rename");
}


/* A second name for what is live, so that it outlives being replaced. */

static int
hold_live(certctl_write_t *w, const char *base, const char *held)
{
    int  rc;

    if (w->found == CERTCTL_STORE_NOT_FOUND) {
        return unlinkat(w->folder, held, 0) != 0 && errno != ENOENT
               ? CERTCTL_STORE_ERROR : CERTCTL_STORE_OK;
    }

    CERTCTL_POINT("store.put.before_link");

    rc = linkat(w->folder, base, w->folder, held, 0);

    if (rc != 0 && errno == EEXIST && unlinkat(w->folder, held, 0) == 0) {
        rc = linkat(w->folder, base, w->folder, held, 0);
    }

    if (rc != 0) {
        if (w->found == CERTCTL_STORE_OK) {
            return certctl_store_code();
        }

        certctl_set_aside(w->store, w->folder, base, w->lock.name);
        w->found = CERTCTL_STORE_NOT_FOUND;         /* it was no file at all */
    }

    CERTCTL_POINT("store.put.after_link");

    return CERTCTL_STORE_OK;
}


/* The live one is kept beside until all is done, or becomes the previous. */

static int
is_spare(certctl_write_t *w)
{
    return w->keep_prev || w->old == NULL;
}


static void
held_path(certctl_write_t *w, char path[CERTCTL_PATH_SIZE])
{
    certctl_path(path, w->lock.name,
                 is_spare(w) ? CERTCTL_MARK_UNDO : CERTCTL_MARK_OLD);
}


void
certctl_write_undo(certctl_write_t *w)
{
    int   err = errno;
    char  path[CERTCTL_PATH_SIZE], held[CERTCTL_PATH_SIZE];
    char  prev[CERTCTL_PATH_SIZE];

    certctl_path(path, w->lock.name, 0);
    certctl_path(prev, w->lock.name, CERTCTL_MARK_PREV);
    held_path(w, held);

    if (w->found == CERTCTL_STORE_NOT_FOUND) {
        (void) unlinkat(w->folder, certctl_base(path), 0);

    } else if (renameat(w->folder, certctl_base(held), w->folder,
                        certctl_base(path))
               != 0)
    {
        /* not as a second name: deleting or healing one would wipe both */

        (void) renameat(w->folder, certctl_base(prev), w->folder,
                        certctl_base(path));
    }

    (void) certctl_names_change(w->store, w->new, w->old, 1);
    (void) fsync(w->folder);
    errno = err;
}


/* Behind the rename: previous version, names, and then all of it on disk. */

static int
finish(certctl_write_t *w, const char *held, int sync)
{
    int   rc;
    char  prev[CERTCTL_PATH_SIZE];

    certctl_path(prev, w->lock.name, CERTCTL_MARK_PREV);

    if (!is_spare(w)) {
        CERTCTL_POINT("store.put.before_previous");

        if (renameat(w->folder, held, w->folder, certctl_base(prev)) != 0) {
            return certctl_store_code();
        }

        /* where both were one file, rename() has done nothing */
        if (unlinkat(w->folder, held, 0) != 0 && errno != ENOENT) {
            w->lock.keep = 1;
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
certctl_write_prepare(certctl_write_t *w, const certctl_sealed_t *new,
    int keep_prev, int sync)
{
    int      rc;
    char     next[CERTCTL_PATH_SIZE];
    size_t   len;
    u_char  *data;

    w->new = new;
    w->keep_prev = keep_prev;

    certctl_path(next, w->lock.name, CERTCTL_MARK_NEW);

    rc = certctl_seal(w->store, new, &data, &len);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = certctl_file_write(w->store, w->folder, certctl_base(next), data, len,
                            sync);
    free(data);

    return rc;
}


void
certctl_write_abandon(certctl_write_t *w)
{
    int   err = errno;
    char  next[CERTCTL_PATH_SIZE];

    certctl_path(next, w->lock.name, CERTCTL_MARK_NEW);
    (void) unlinkat(w->folder, certctl_base(next), 0);
    errno = err;
}


int
certctl_write_expose(certctl_write_t *w, int sync)
{
    int   rc, err;
    char  path[CERTCTL_PATH_SIZE], next[CERTCTL_PATH_SIZE];
    char  held[CERTCTL_PATH_SIZE];

    certctl_path(path, w->lock.name, 0);
    certctl_path(next, w->lock.name, CERTCTL_MARK_NEW);
    held_path(w, held);

    rc = certctl_names_prepare(w->store, w->old, w->new, sync);

    if (rc == CERTCTL_STORE_OK) {
        rc = hold_live(w, certctl_base(path), certctl_base(held));
    }

    CERTCTL_POINT("store.put.before_rename");

    if (rc == CERTCTL_STORE_OK
        && renameat(w->folder, certctl_base(next), w->folder,
                    certctl_base(path))
           != 0)
    {
        rc = certctl_store_code();
    }

    if (rc != CERTCTL_STORE_OK) {
        err = errno;
        certctl_write_abandon(w);
        (void) unlinkat(w->folder, certctl_base(held), 0);
        (void) certctl_names_change(w->store, w->new, w->old, sync);
        errno = err;
        return rc;
    }

    w->committed = 1;

    CERTCTL_POINT("store.put.after_rename");

    rc = finish(w, certctl_base(held), sync);

    if (rc != CERTCTL_STORE_OK) {
        certctl_write_undo(w);
    }

    return rc;
}


void
certctl_write_conclude(certctl_write_t *w)
{
    char  held[CERTCTL_PATH_SIZE];

    held_path(w, held);

    if (w->found == CERTCTL_STORE_DAMAGED) {
        certctl_set_aside(w->store, w->folder, certctl_base(held),
                          w->lock.name);

    } else if (is_spare(w) && unlinkat(w->folder, certctl_base(held), 0) != 0
               && errno != ENOENT)
    {
        w->lock.keep = 1;
    }
}


int
certctl_write_commit(certctl_write_t *w, const certctl_sealed_t *new,
    int keep_prev)
{
    int  rc;

    rc = certctl_write_prepare(w, new, keep_prev, 1);

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_write_expose(w, 1);
    }

    if (rc == CERTCTL_STORE_OK) {
        certctl_write_conclude(w);
    }

    return rc;
}
