
/*
 * names/: which records answer for a DNS or IP name.
 *
 * An entry is a symbolic link whose text is the list of candidates: one
 * readlink() in a handshake, one atomic rename to change it.  It is a hint and
 * no more: whoever follows it checks that the record, whose own list of names
 * is sealed with it, carries the name, so that a wrong or forged entry can hide
 * a certificate but never show one to the wrong name.
 *
 * A writer changes the entries of its record after the record itself, each
 * under the lock of its folder, with what the other candidates are then.  So of
 * two writers whose records share a name the last one sees both records.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


typedef struct {
    certctl_store_t  *store;
    u_char            changed[CERTCTL_KINDS][CERTCTL_FOLDERS];  /* to sync */
} names_t;

/* A change of one entry. */

typedef struct {
    certctl_kind_e               kind;
    const char                  *key;
    const char                  *record;    /* leaves the list, unless */
    const certctl_candidate_t   *candidate; /* ... it has this place in it */
    const certctl_candidates_t  *all;       /* every record with the name */
} change_t;

/* Names whose list is partial, and all records that carry each of them. */

typedef struct {
    const char           *key;
    certctl_candidates_t  found;
} partial_t;

typedef struct {
    certctl_store_t  *store;
    certctl_kind_e    kind;
    int               rc;
    size_t            n;
    partial_t        *of;
} search_t;


int
certctl_names_read(certctl_store_t *store, certctl_kind_e kind,
    const char *key, certctl_candidates_t *list)
{
    char  path[CERTCTL_PATH_SIZE];

    certctl_path(path, key, 0);

    return certctl_candidates_read(store->names[kind], path, list);
}


int
certctl_names_load(certctl_store_t *store, certctl_kind_e kind,
    const char *key, const char *record, certctl_record_t *ret)
{
    int  rc;

    rc = certctl_store_load(store, record, 0, ret);

    if (rc == CERTCTL_STORE_OK && !certctl_record_carries(ret, kind, key)) {
        certctl_record_free(ret);
        rc = CERTCTL_STORE_NOT_FOUND;
    }

    return rc;
}


static int
replace_entry(int folder, const char *base, const char *next, const char *text)
{
    if (symlinkat(text, folder, next) != 0
        && (errno != EEXIST || unlinkat(folder, next, 0) != 0
            || symlinkat(text, folder, next) != 0))
    {
        return certctl_store_code();
    }

    CERTCTL_POINT("store.names.before_rename");

    if (renameat(folder, next, folder, base) != 0) {
        return certctl_store_code();
    }

    CERTCTL_POINT("store.names.after_rename");

    return CERTCTL_STORE_OK;
}


/*
 * The candidates as their records are now, without those that do not carry the
 * name any more.  One that is damaged is the last: it may be restored.
 */

static int
refresh(certctl_store_t *store, const change_t *change,
    certctl_candidates_t *list)
{
    int                   rc;
    size_t                i, n = list->n;
    certctl_record_t      record;
    certctl_candidate_t   candidates[CERTCTL_CANDIDATES];

    memcpy(candidates, list->of, n * sizeof(candidates[0]));
    list->n = 0;

    for (i = 0; i < n; i++) {
        rc = certctl_names_load(store, change->kind, change->key,
                                candidates[i].record, &record);

        if (rc == CERTCTL_STORE_NOT_FOUND) {
            continue;
        }

        if (rc == CERTCTL_STORE_OK) {
            certctl_candidate_set(&candidates[i], &record);
            certctl_record_free(&record);

        } else if (rc == CERTCTL_STORE_DAMAGED) {
            candidates[i].not_before = INT64_MIN;
            candidates[i].not_after = INT64_MIN;

        } else {
            return rc;
        }

        certctl_candidates_add(list, &candidates[i]);
    }

    return CERTCTL_STORE_OK;
}


/* Under its folder's lock. */

static int
change_entry(names_t *names, int folder, const change_t *change)
{
    int                   rc;
    char                  path[CERTCTL_PATH_SIZE], next[CERTCTL_PATH_SIZE];
    size_t                i;
    certctl_candidates_t  list;

    certctl_path(path, change->key, 0);
    certctl_path(next, change->key, CERTCTL_MARK_NEW);

    rc = certctl_candidates_read(folder, certctl_base(path), &list);

    if (rc == CERTCTL_STORE_ERROR) {
        return rc;
    }

    certctl_candidates_remove(&list,
                            certctl_candidates_index(&list, change->record));

    rc = refresh(names->store, change, &list);

    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (change->candidate) {
        certctl_candidates_add(&list, change->candidate);
    }

    if (change->all) {
        list.partial = change->all->partial;

        for (i = 0; i < change->all->n; i++) {
            certctl_candidates_add(&list, &change->all->of[i]);
        }
    }

    if (!certctl_candidates_write(&list)) {
        return CERTCTL_STORE_OK;
    }

    /* a lost fingerprint only costs a search through all records: not worth a
       sync with each renewal */

    if (!certctl_is_fingerprint(change->key)) {
        names->changed[change->kind][certctl_path_hash(change->key)] = 1;
    }

    if (list.n) {
        return replace_entry(folder, certctl_base(path), certctl_base(next),
                             list.text);
    }

    return unlinkat(folder, certctl_base(path), 0) == 0
           ? CERTCTL_STORE_OK : certctl_store_code();
}


static int
change_locked(names_t *names, const change_t *change)
{
    int  folder, rc, create = change->candidate || change->all;

    folder = certctl_folder_open(names->store,
                                 names->store->names[change->kind],
                                 change->key, create);
    if (folder < 0) {
        return !create && errno == ENOENT ? CERTCTL_STORE_OK
                                          : certctl_store_code();
    }

    rc = certctl_flock(folder, CERTCTL_LOCK_WAIT) == 0
         ? change_entry(names, folder, change) : CERTCTL_STORE_ERROR;

    certctl_close(folder);

    return rc;
}


/*
 * Most names of a renewal have one candidate, before and after: that needs no
 * lock to be seen.
 */

static int
is_right(names_t *names, const change_t *change)
{
    int                   rc;
    size_t                i;
    certctl_candidates_t  list;

    rc = certctl_names_read(names->store, change->kind, change->key, &list);
    i = certctl_candidates_index(&list, change->record);

    return change->candidate ? list.n == 1 && i == 0
           : i == list.n && (rc == CERTCTL_STORE_OK
                             || rc == CERTCTL_STORE_NOT_FOUND);
}


/* Each name of record that other does not carry. */

static int
change_missing(names_t *names, const certctl_record_t *record,
    const certctl_record_t *other, const certctl_candidate_t *candidate)
{
    int          rc = CERTCTL_STORE_OK;
    change_t     change = { .candidate = candidate };
    const char  *key = NULL;

    while ((key = certctl_record_missing(record, other, key)) != NULL) {
        change.kind = record->kind;
        change.key = key;
        change.record = record->name;

        if (!is_right(names, &change)) {
            rc = change_locked(names, &change);
        }

        if (rc != CERTCTL_STORE_OK) {
            break;
        }
    }

    return rc;
}


static int
enter(names_t *names, const certctl_record_t *record)
{
    certctl_candidate_t  candidate;

    if (!certctl_record_is_public(record)) {
        return CERTCTL_STORE_OK;
    }

    certctl_candidate_set(&candidate, record);

    return change_missing(names, record, NULL, &candidate);
}


static int
sync_folders(names_t *names)
{
    int  kind, i, fd, rc = CERTCTL_STORE_OK;

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {
        for (i = 0; rc == CERTCTL_STORE_OK && i < CERTCTL_FOLDERS; i++) {
            if (!names->changed[kind][i]) {
                continue;
            }

            fd = certctl_folder_number(names->store->names[kind], i);
            if (fd < 0) {
                return certctl_store_code();
            }

            CERTCTL_POINT("store.names.before_fsync");
            rc = certctl_folder_sync(fd);
            CERTCTL_POINT("store.names.after_fsync");

            close(fd);
        }
    }

    return rc;
}


static int
add_record(const char *name, void *data)
{
    size_t               i;
    search_t            *search = data;
    certctl_record_t     record;
    certctl_candidate_t  candidate;

    search->rc = certctl_store_load(search->store, name, 0, &record);

    if (search->rc != CERTCTL_STORE_OK) {
        return search->rc == CERTCTL_STORE_ERROR;
    }

    certctl_candidate_set(&candidate, &record);

    for (i = 0; i < search->n; i++) {
        if (certctl_record_carries(&record, search->kind, search->of[i].key)) {
            certctl_candidates_add(&search->of[i].found, &candidate);
        }
    }

    certctl_record_free(&record);

    return 0;
}


/* The names that are lost with old, or by it, and may have other candidates. */

static int
find_partial(search_t *search, const certctl_record_t *old,
    const certctl_record_t *new)
{
    void                  *grown;
    const char            *key = NULL;
    certctl_candidates_t   list;

    while ((key = certctl_record_missing(old, new, key)) != NULL) {
        if (certctl_names_read(search->store, old->kind, key, &list)
            == CERTCTL_STORE_ERROR)
        {
            return CERTCTL_STORE_ERROR;
        }

        if (!list.partial || certctl_is_fingerprint(key)) {
            continue;
        }

        grown = realloc(search->of, (search->n + 1) * sizeof(partial_t));
        if (grown == NULL) {
            return CERTCTL_STORE_ERROR;
        }

        search->kind = old->kind;
        search->of = grown;
        search->of[search->n++] = (partial_t) { .key = key };
    }

    return CERTCTL_STORE_OK;
}


/*
 * A partial list of a name that is lost becomes whole: all records are searched
 * for it.  Until it changes the record is live, and so among what is found.
 */

static int
complete(names_t *names, const certctl_record_t *old,
    const certctl_record_t *new)
{
    int       rc;
    size_t    i;
    change_t  change = { .record = "" };
    search_t  search = { .store = names->store };

    rc = find_partial(&search, old, new);

    if (rc == CERTCTL_STORE_OK && search.n) {
        rc = certctl_store_each(names->store, add_record, &search);
        rc = search.rc == CERTCTL_STORE_ERROR ? search.rc : rc;
    }

    for (i = 0; rc == CERTCTL_STORE_OK && i < search.n; i++) {
        change.kind = search.kind;
        change.key = search.of[i].key;
        change.all = &search.of[i].found;
        rc = change_locked(names, &change);
    }

    free(search.of);

    return rc;
}


/*
 * With each renewal a fingerprint goes and another comes that leads to the same
 * record: one link that is renamed is no file made and none removed.  Where
 * this fails the links are changed one by one, as others are.  Without a lock:
 * a second record with the old certificate loses a hint, and no name.
 */

static void
move_fingerprint(names_t *names, const certctl_record_t *old,
    const certctl_record_t *new)
{
    int                   folder, parent;
    char                  from[CERTCTL_PATH_SIZE], to[CERTCTL_PATH_SIZE];
    const char           *key, *next;
    certctl_candidates_t  list;

    key = certctl_record_fingerprint(old);
    next = certctl_record_fingerprint(new);

    if (key == NULL || next == NULL || old->kind != new->kind
        || strcmp(key, next) == 0)
    {
        return;
    }

    parent = names->store->names[new->kind];
    certctl_path(from, key, 0);
    certctl_path(to, next, 0);

    folder = certctl_folder_open(names->store, parent, next, 1);

    if (folder < 0) {
        return;
    }

    if (certctl_candidates_read(parent, from, &list) == CERTCTL_STORE_OK
        && list.n == 1 && strcmp(list.of[0].record, new->name) == 0)
    {
        CERTCTL_POINT("store.names.before_move");
        (void) renameat2(parent, from, folder, certctl_base(to),
                         RENAME_NOREPLACE);
        CERTCTL_POINT("store.names.after_move");
    }

    close(folder);
}


int
certctl_names_prepare(certctl_store_t *store, const certctl_record_t *old,
    const certctl_record_t *new, int sync)
{
    int      rc;
    names_t  names = { .store = store };

    rc = complete(&names, old, new);

    if (rc == CERTCTL_STORE_OK && certctl_record_is_public(old) && new != NULL
        && old->kind != new->kind)
    {
        rc = enter(&names, new);
    }

    return rc == CERTCTL_STORE_OK && sync ? sync_folders(&names) : rc;
}


int
certctl_names_change(certctl_store_t *store, const certctl_record_t *old,
    const certctl_record_t *new, int sync)
{
    int      rc;
    names_t  names = { .store = store };

    move_fingerprint(&names, old, new);

    rc = enter(&names, new);

    if (rc == CERTCTL_STORE_OK) {
        rc = change_missing(&names, old, new, NULL);
    }

    return rc == CERTCTL_STORE_OK && sync ? sync_folders(&names) : rc;
}
