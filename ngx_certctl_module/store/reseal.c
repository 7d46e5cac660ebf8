
/*
 * A sealing key takes the place of another: what the old one has sealed is
 * sealed again, each file by itself and under its lock.
 */


#include "store/store_impl.h"

#include <string.h>
#include <unistd.h>


typedef struct {
    certctl_store_t   *store;
    certctl_sealed_e   type;
    int                count_only;
    size_t             found;           /* sealed with the old key */
    size_t             failed;          /* and still so */
    void             (*on_step)(void);
} reseal_t;


/* Under the lock.  What it is by now counts, not what it was. */

static int
seal_again(reseal_t *r, int folder, const char *path, const char *name,
    char mark)
{
    int               rc;
    certctl_record_t  file;

    rc = certctl_sealed_read(r->store, folder, path, r->type, name, &file);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (!file.old_key) {
        rc = CERTCTL_STORE_OK;

    } else if (mark == 0) {
        rc = certctl_sealed_replace(r->store, folder, &file);

    } else {
        rc = certctl_sealed_write(r->store, folder, &file, 1);

        if (rc == CERTCTL_STORE_OK) {
            rc = certctl_file_rename(folder, name, CERTCTL_MARK_NEW, mark);
        }

        if (rc == CERTCTL_STORE_OK) {
            rc = certctl_folder_sync(folder);
        }
    }

    certctl_record_free(&file);

    return rc;
}


static int
needs_old_key(reseal_t *r, int folder, const char *path, const char *name)
{
    int               found;
    certctl_record_t  file;

    if (certctl_sealed_read(r->store, folder, path, r->type, name, &file)
        != CERTCTL_STORE_OK)
    {
        return 0;
    }

    found = file.old_key;
    certctl_record_free(&file);

    return found;
}


/* An entry of a folder <hh>: a name, or a previous version. */

static int
reseal_entry(int folder, const char *base, void *data)
{
    reseal_t *r = data;

    char              name[CERTCTL_NAME_SIZE];
    char              mark = 0;
    size_t            len = strlen(base);
    certctl_write_t   w;

    if (len && base[len - 1] == CERTCTL_MARK_PREV) {
        mark = CERTCTL_MARK_PREV;
        len--;
    }

    if (len >= sizeof(name)
        || !certctl_name_valid((const u_char *) base, len))
    {
        return 0;
    }

    memcpy(name, base, len);
    name[len] = '\0';

    if (!needs_old_key(r, folder, base, name)) {
        return 0;
    }

    r->found++;

    if (r->count_only) {
        return 0;
    }

    if (certctl_write_begin(r->store, name, 0, CERTCTL_LOCK_WAIT, NULL, &w)
        != CERTCTL_STORE_OK)
    {
        r->failed++;
        return 0;
    }

    r->failed += seal_again(r, folder, base, name, mark) != CERTCTL_STORE_OK;
    certctl_write_end(&w);

    if (r->on_step) {
        r->on_step();
    }

    return 0;
}


/* A file beside others in one folder, which has their lock. */

static void
reseal_single(reseal_t *r, int folder, certctl_sealed_e type,
    const char *name)
{
    int  lock;

    r->type = type;

    if (folder < 0 || !needs_old_key(r, folder, name, name)) {
        return;
    }

    r->found++;

    if (r->count_only) {
        return;
    }

    lock = certctl_folder_lock(folder);

    r->failed += lock < 0
                 || seal_again(r, folder, name, name, 0) != CERTCTL_STORE_OK;
    certctl_close(lock);
}


static void
reseal_pass(reseal_t *r)
{
    size_t            i;
    certctl_store_t  *store = r->store;

    const struct {
        int               parent;
        certctl_sealed_e  type;
    } parents[] = {
        { store->certs,   CERTCTL_SEALED_RECORD },
        { store->pending, CERTCTL_SEALED_PENDING },
        { store->staples, CERTCTL_SEALED_STAPLE },
    };

    r->found = 0;
    r->failed = 0;

    for (i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        r->type = parents[i].type;
        (void) certctl_folder_each_hash(parents[i].parent, reseal_entry, r);
    }

    reseal_single(r, store->sessions, CERTCTL_SEALED_FLUSHED, "flushed");
    reseal_single(r, store->sessions, CERTCTL_SEALED_TICKETS, "tickets");
    reseal_single(r, store->trust, CERTCTL_SEALED_TRUST, "controllers");
}


/* Again, as files may be missed that are renamed while a folder is read. */

size_t
certctl_store_reseal(certctl_store_t *store, void (*on_step)(void),
    size_t *done)
{
    int       passes = 0;
    reseal_t  r = { .store = store, .on_step = on_step };

    *done = 0;

    do {
        reseal_pass(&r);
        *done += r.found - r.failed;
    } while (r.found > r.failed && ++passes < 8);

    return r.failed;
}


size_t
certctl_store_old_sealed(certctl_store_t *store)
{
    reseal_t  r = { .store = store, .count_only = 1 };

    reseal_pass(&r);

    return r.found;
}


int
certctl_store_has_old_key(certctl_store_t *store)
{
    return store->mac_old != NULL;
}
