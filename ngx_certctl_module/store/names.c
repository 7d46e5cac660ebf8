
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

/* Names of which not all candidates are known, and what is found for them. */

typedef struct {
    certctl_store_t       *store;
    certctl_kind_e         kind;
    int                    rc;
    size_t                 n;
    const char           **keys;
    certctl_candidates_t  *found;
} search_t;


/* Names that begin with "_" are no host names: the agent's own identity. */

static int
is_public(const certctl_sealed_t *record)
{
    return record != NULL && record->name[0] != '_';
}


/* No label of a host name is that long (RFC 1035 2.3.4). */

static int
is_fingerprint(const char *key)
{
    return strlen(key) == 64 && strchr(key, '.') == NULL;
}


static int
carries(const certctl_sealed_t *record, certctl_kind_e kind, const char *key)
{
    return is_public(record) && record->kind == kind
           && certctl_record_has_name(&record->blob[CERTCTL_BLOB_NAMES], key);
}


/* The next name of record that other does not carry, behind key. */

static const char *
next_missing(const certctl_sealed_t *record, const certctl_sealed_t *other,
    const char *key)
{
    if (!is_public(record)) {
        return NULL;
    }

    do {
        key = certctl_record_next_name(&record->blob[CERTCTL_BLOB_NAMES], key);
    } while (key != NULL && carries(other, record->kind, key));

    return key;
}


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
    const char *key, const char *record, certctl_sealed_t *ret)
{
    int  rc;

    rc = certctl_store_load(store, record, 0, ret);

    if (rc == CERTCTL_STORE_OK && !carries(ret, kind, key)) {
        certctl_sealed_free(ret);
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
    certctl_sealed_t      record;
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
            certctl_sealed_free(&record);

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

    if (rc == CERTCTL_STORE_NOT_FOUND) {
        list.partial = 0;

    } else if (rc != CERTCTL_STORE_OK) {
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

    /* a lost fingerprint only makes somebody look through all records: not
       worth a sync with each renewal */

    if (!is_fingerprint(change->key)) {
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
    int  folder, rc, err, create = change->candidate || change->all;

    folder = certctl_folder_open(names->store,
                                 names->store->names[change->kind],
                                 change->key, create);
    if (folder < 0) {
        return !create && errno == ENOENT ? CERTCTL_STORE_OK
                                          : certctl_store_code();
    }

    rc = certctl_flock(folder, CERTCTL_LOCK_WAIT) == 0
         ? change_entry(names, folder, change) : CERTCTL_STORE_ERROR;

    err = errno;
    close(folder);
    errno = err;

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
change_missing(names_t *names, const certctl_sealed_t *record,
    const certctl_sealed_t *other, const certctl_candidate_t *candidate)
{
    int       rc = CERTCTL_STORE_OK;
    change_t  change = { .candidate = candidate };

    while (rc == CERTCTL_STORE_OK
           && (change.key = next_missing(record, other, change.key)) != NULL)
    {
        change.kind = record->kind;
        change.record = record->name;

        if (!is_right(names, &change)) {
            rc = change_locked(names, &change);
        }
    }

    return rc;
}


static int
enter(names_t *names, const certctl_sealed_t *record)
{
    certctl_candidate_t  candidate;

    if (!is_public(record)) {
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
search_record(const char *name, void *data)
{
    size_t                i;
    search_t             *search = data;
    certctl_sealed_t      record;
    certctl_candidate_t   candidate;

    search->rc = certctl_store_load(search->store, name, 0, &record);

    if (search->rc != CERTCTL_STORE_OK) {
        return search->rc == CERTCTL_STORE_ERROR;
    }

    certctl_candidate_set(&candidate, &record);

    for (i = 0; i < search->n; i++) {
        if (carries(&record, search->kind, search->keys[i])) {
            certctl_candidates_add(&search->found[i], &candidate);
        }
    }

    certctl_sealed_free(&record);

    return 0;
}


/* The names that are lost with old, or by it, and may have other candidates. */

static int
search_begin(search_t *search, const certctl_sealed_t *old,
    const certctl_sealed_t *new)
{
    int                    rc;
    void                  *grown;
    const char            *key = NULL;
    certctl_candidates_t   list;

    while ((key = next_missing(old, new, key)) != NULL) {
        rc = certctl_names_read(search->store, old->kind, key, &list);

        if (rc == CERTCTL_STORE_ERROR) {
            return rc;
        }

        if (rc != CERTCTL_STORE_OK || !list.partial || is_fingerprint(key)) {
            continue;
        }

        grown = realloc(search->keys, (search->n + 1) * sizeof(char *));
        if (grown == NULL) {
            return CERTCTL_STORE_ERROR;
        }

        search->kind = old->kind;
        search->keys = grown;
        search->keys[search->n++] = key;
    }

    search->found = calloc(search->n + 1, sizeof(certctl_candidates_t));

    return search->found ? CERTCTL_STORE_OK : CERTCTL_STORE_ERROR;
}


/*
 * Looks through all records: a partial list is only whole again when that was
 * done.  The record that changes is live still, and so among them.
 */

static int
complete(names_t *names, const certctl_sealed_t *old,
    const certctl_sealed_t *new)
{
    int       rc;
    size_t    i;
    change_t  change = { .record = "" };
    search_t  search = { .store = names->store };

    rc = search_begin(&search, old, new);

    if (rc == CERTCTL_STORE_OK && search.n) {
        rc = certctl_store_each(names->store, search_record, &search);
        rc = search.rc == CERTCTL_STORE_ERROR ? search.rc : rc;
    }

    for (i = 0; rc == CERTCTL_STORE_OK && i < search.n; i++) {
        change.kind = search.kind;
        change.key = search.keys[i];
        change.all = &search.found[i];
        rc = change_locked(names, &change);
    }

    free(search.keys);
    free(search.found);

    return rc;
}


static const char *
fingerprint_of(const certctl_sealed_t *record)
{
    const char            *key;
    const certctl_blob_t  *list = &record->blob[CERTCTL_BLOB_NAMES];

    for (key = certctl_record_next_name(list, NULL);
         key != NULL && !is_fingerprint(key);
         key = certctl_record_next_name(list, key))
    {
        /* void */
    }

    return key;
}


/*
 * Opens the folders of both keys, made where there is none yet, and locks them,
 * as all do in this order.
 */

static int
lock_two(certctl_store_t *store, int room, const char *key, const char *other,
    int fd[2])
{
    unsigned  one = certctl_path_hash(key), two = certctl_path_hash(other);

    fd[0] = certctl_folder_open(store, room, one < two ? key : other, 1);
    fd[1] = one == two ? -1
            : certctl_folder_open(store, room, one < two ? other : key, 1);

    return fd[0] >= 0 && (one == two || fd[1] >= 0)
           && certctl_flock(fd[0], CERTCTL_LOCK_WAIT) == 0
           && (one == two || certctl_flock(fd[1], CERTCTL_LOCK_WAIT) == 0);
}


/*
 * With each renewal a fingerprint goes and another comes that points to the same
 * record: one entry that is renamed is no file made and none removed.  Where
 * this fails the entries are changed one by one, as others are.
 */

static void
move_fingerprint(names_t *names, const certctl_sealed_t *old,
    const certctl_sealed_t *new)
{
    int                   fd[2], room;
    char                  from[CERTCTL_PATH_SIZE], to[CERTCTL_PATH_SIZE];
    const char           *key, *next;
    certctl_candidates_t  list;

    if (!is_public(old) || !is_public(new) || old->kind != new->kind
        || (key = fingerprint_of(old)) == NULL
        || (next = fingerprint_of(new)) == NULL || strcmp(key, next) == 0)
    {
        return;
    }

    room = names->store->names[new->kind];
    certctl_path(from, key, 0);
    certctl_path(to, next, 0);

    if (lock_two(names->store, room, key, next, fd)
        && certctl_candidates_read(room, to, &list) == CERTCTL_STORE_NOT_FOUND
        && certctl_candidates_read(room, from, &list) == CERTCTL_STORE_OK
        && list.n == 1 && strcmp(list.of[0].record, new->name) == 0)
    {
        CERTCTL_POINT("store.names.before_move");
        (void) renameat(room, from, room, to);
        CERTCTL_POINT("store.names.after_move");
    }

    if (fd[0] >= 0) {
        close(fd[0]);
    }

    if (fd[1] >= 0) {
        close(fd[1]);
    }
}


int
certctl_names_prepare(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, int sync)
{
    int      rc;
    names_t  names = { .store = store };

    rc = complete(&names, old, new);

    if (rc == CERTCTL_STORE_OK && is_public(old) && new != NULL
        && old->kind != new->kind)
    {
        rc = enter(&names, new);
    }

    return rc == CERTCTL_STORE_OK && sync ? sync_folders(&names) : rc;
}


int
certctl_names_change(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, int sync)
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


static void
touch_missing(const certctl_sealed_t *record, const certctl_sealed_t *other,
    certctl_touched_pt touched, void *data)
{
    const char  *key = NULL;

    while ((key = next_missing(record, other, key)) != NULL) {
        touched(key, data);
    }
}


void
certctl_names_touch(const char *name, const certctl_sealed_t *old,
    const certctl_sealed_t *new, certctl_touched_pt touched, void *data)
{
    if (touched != NULL) {
        touched(name, data);
        touch_missing(new, NULL, touched, data);
        touch_missing(old, new, touched, data);
    }
}
