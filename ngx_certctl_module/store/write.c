
/* The four ways to change a record: put, rollback, delete, staple. */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "x509_leaf.h"


/*
 * Microseconds since 1970, or one more than before: it grows across a delete
 * without a tombstone, unless the clock is set back in between.  Generations
 * are compared for equality only.
 */

uint64_t
certctl_next_generation(uint64_t last)
{
    uint64_t         now;
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);
    now = (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;

    return now > last ? now : last + 1;
}


/* Whether what is live is what the caller wants to replace. */

static int
replaces_live(certctl_write_t *w, uint64_t replaces)
{
    return replaces == 0
           || replaces == (w->old ? w->old->generation : CERTCTL_STORE_NONE);
}


void
certctl_write_number(certctl_write_t *w, certctl_record_t *new)
{
    uint64_t  last = w->old ? w->old->generation : 0;

    if (new->generation > last) {
        last = new->generation;
    }

    new->generation = certctl_next_generation(last);
    new->stored = time(NULL);
}


static void
notify_missing(const certctl_record_t *record, const certctl_record_t *other,
    certctl_changed_pt changed, void *data)
{
    const char  *key = NULL;

    while ((key = certctl_record_missing(record, other, key)) != NULL) {
        changed(key, data);
    }
}


void
certctl_write_notify(certctl_write_t *w, certctl_changed_pt changed, void *data)
{
    if (changed != NULL) {
        changed(w->lock.name, data);
        notify_missing(w->new, NULL, changed, data);
        notify_missing(w->old, w->new, changed, data);
    }

    if (w->names_unknown) {
        certctl_invalidate_all(w->store);
    }
}


/*
 * Makes new the live record, durably, or leaves what was there.  Notifies also
 * when readers may have seen what was undone.
 */

static int
commit(certctl_write_t *w, certctl_record_t *new, int keep_prev,
    uint64_t *generation, certctl_changed_pt changed, void *data)
{
    int  rc, err;

    certctl_write_number(w, new);

    rc = certctl_write_stage(w, new, keep_prev, 1);

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_write_publish(w, 1);
    }

    if (rc == CERTCTL_STORE_OK) {
        certctl_write_clean(w);
    }

    err = errno;

    if (w->committed) {
        certctl_write_notify(w, changed, data);
    }

    if (rc == CERTCTL_STORE_OK && generation != NULL) {
        *generation = new->generation;
    }

    errno = err;

    return rc;
}


static int
describe(const certctl_record_t *rec, u_char *spki, certctl_blob_t *names)
{
    int                         good;
    struct certctl_leaf         leaf = { 0 };
    const struct certctl_leaf  *known = rec->leaf;

    if (known == NULL) {
        if (certctl_leaf_read(rec->chain.data, rec->chain.len, &leaf)) {
            return 0;
        }

        known = &leaf;
    }

    memcpy(spki, known->spki, sizeof(known->spki));
    good = certctl_record_names(known, names);
    certctl_leaf_free(&leaf);

    return good;
}


int
certctl_put_begin(certctl_store_t *store, const certctl_record_t *rec,
    unsigned wait_ms, certctl_lock_pool_t *pool, certctl_put_t *put)
{
    int                rc;
    certctl_record_t  *new = &put->new;

    *new = *rec;
    new->type = CERTCTL_SEALED_RECORD;
    new->generation = 0;
    new->staple_until = rec->staple.len ? rec->staple_until : 0;
    new->buf = NULL;                        /* the caller's */

    if (rec->key.len == 0 || rec->kind >= CERTCTL_KINDS
        || !describe(rec, new->spki, &new->names))
    {
        errno = EINVAL;
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_write_begin(store, rec->name, 1, wait_ms, pool, &put->w);

    if (rc != CERTCTL_STORE_OK) {
        free(new->names.data);
        return rc;
    }

    if (!replaces_live(&put->w, rec->generation)) {
        certctl_put_end(put);
        return CERTCTL_STORE_CONFLICT;
    }

    certctl_staple_keep(put->w.old, new);

    return CERTCTL_STORE_OK;
}


void
certctl_put_end(certctl_put_t *put)
{
    certctl_write_end(&put->w);
    free(put->new.names.data);
}


int
certctl_store_put(certctl_store_t *store, const certctl_record_t *rec,
    uint64_t *generation, certctl_changed_pt changed, void *data)
{
    int            rc;
    certctl_put_t  put;

    rc = certctl_put_begin(store, rec, CERTCTL_LOCK_WAIT, NULL, &put);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = commit(&put.w, &put.new, 0, generation, changed, data);

    if (rc == CERTCTL_STORE_OK) {
        certctl_pending_remove(store, rec->name, put.new.spki);
    }

    certctl_put_end(&put);

    return rc;
}


int
certctl_store_rollback(certctl_store_t *store, const char *name,
    uint64_t replaces, uint64_t *generation, certctl_changed_pt changed,
    void *data)
{
    int                rc;
    certctl_write_t    w;
    certctl_record_t   prev;

    rc = certctl_write_begin(store, name, 0, CERTCTL_LOCK_WAIT, NULL, &w);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = w.found == CERTCTL_STORE_NOT_FOUND ? CERTCTL_STORE_NOT_FOUND
         : !replaces_live(&w, replaces) ? CERTCTL_STORE_CONFLICT
         : certctl_store_load(store, name, CERTCTL_MARK_PREV, &prev);

    if (rc == CERTCTL_STORE_OK) {
        certctl_staple_keep(w.old, &prev);
        rc = commit(&w, &prev, 0, generation, changed, data);
        certctl_record_free(&prev);
    }

    certctl_write_end(&w);

    return rc;
}


int
certctl_store_staple(certctl_store_t *store, const char *name,
    const u_char *fingerprint, const certctl_blob_t *staple, int64_t until,
    uint64_t *generation, certctl_changed_pt changed, void *data)
{
    int                   rc;
    certctl_write_t       w;
    certctl_record_t      new;
    struct certctl_leaf   leaf = { 0 };

    rc = certctl_write_begin(store, name, 0, CERTCTL_LOCK_WAIT, NULL, &w);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    rc = w.found;

    if (rc == CERTCTL_STORE_OK) {
        new = w.live;

        if (certctl_leaf_read(new.chain.data, new.chain.len, &leaf)) {
            rc = CERTCTL_STORE_DAMAGED;

        } else if (memcmp(leaf.digest, fingerprint, sizeof(leaf.digest)) != 0) {
            rc = CERTCTL_STORE_NOT_FOUND;
        }

        certctl_leaf_free(&leaf);
    }

    if (rc == CERTCTL_STORE_OK && staple->len == 0) {
        new.staple_until = CERTCTL_STAPLE_WITHDRAWN;

    } else if (rc == CERTCTL_STORE_OK) {
        rc = certctl_staple_replaces(staple, until, &new.staple,
                                     new.staple_until)
             ? CERTCTL_STORE_OK : CERTCTL_STORE_OLDER;

        new.staple = *staple;
        new.staple_until = until;
    }

    if (rc == CERTCTL_STORE_OK) {
        rc = commit(&w, &new, 1, generation, changed, data);
    }

    certctl_write_end(&w);

    return rc;
}


/*
 * Names first: a crash behind them leaves a whole record, and healing enters
 * its names again, as a deletion that was not answered never was.
 */

static int
remove_record(certctl_write_t *w)
{
    int  rc;

    rc = certctl_names_prepare(w->store, w->old, NULL, 1);

    if (rc == CERTCTL_STORE_OK) {
        rc = certctl_names_change(w->store, w->old, NULL, 1);
    }

    if (rc == CERTCTL_STORE_OK) {
        CERTCTL_POINT("store.delete.after_names");
        rc = certctl_file_remove(w->folder, w->lock.name, CERTCTL_MARK_PREV,
                                 1);

        if (rc == CERTCTL_STORE_OK || rc == CERTCTL_STORE_NOT_FOUND) {
            rc = certctl_file_remove(w->folder, w->lock.name, 0, 1);
        }
    }

    if (rc != CERTCTL_STORE_OK) {
        (void) certctl_names_change(w->store, NULL, w->old, 1);
        return rc;
    }

    w->committed = 1;

    CERTCTL_POINT("store.delete.before_fsync");
    rc = certctl_folder_sync(w->folder);
    CERTCTL_POINT("store.delete.after_fsync");

    return rc;
}


int
certctl_store_delete(certctl_store_t *store, const char *name,
    uint64_t replaces, certctl_changed_pt changed, void *data)
{
    int               rc;
    certctl_write_t   w;

    rc = certctl_write_begin(store, name, 0, CERTCTL_LOCK_WAIT, NULL, &w);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (w.found != CERTCTL_STORE_NOT_FOUND && !replaces_live(&w, replaces)) {
        certctl_write_end(&w);
        return CERTCTL_STORE_CONFLICT;
    }

    certctl_pending_remove(store, name, NULL);

    rc = w.found;

    if (rc != CERTCTL_STORE_NOT_FOUND) {
        rc = remove_record(&w);
        certctl_write_notify(&w, changed, data);
    }

    certctl_write_end(&w);

    return rc;
}
