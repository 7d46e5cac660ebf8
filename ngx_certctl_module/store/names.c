
/*
 * names/: which record answers for a DNS or IP name.
 *
 * An entry is a symbolic link whose text is the record's name: one readlink()
 * in a handshake, one atomic rename to change it.  It is a hint and no more:
 * whoever follows it checks that the record, whose own list of names is
 * sealed with it, carries the name (certctl_store_find), so that a wrong or
 * forged entry can hide a certificate but never show one to the wrong name.
 *
 * The last put of a name wins.  When it goes, the name is free, even if an
 * older record carries it as well: that one's next put takes it back.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


/* Folders that were changed, to be synced once each. */

typedef struct {
    certctl_store_t  *store;
    certctl_blob_t   *taken;                /* from other records; may be NULL */
    u_char            dirty[CERTCTL_KINDS][CERTCTL_FOLDERS];
} names_t;

typedef enum {
    ENTRY_POINT = 0,                        /* to the record */
    ENTRY_POINT_FREE,                       /* if it points to none */
    ENTRY_REMOVE                            /* if it points to the record */
} entry_e;


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


/* Where names go over folders, readlink() by path and by base are the same. */

static int
read_entry(int folder, const char *path, char record[CERTCTL_NAME_SIZE])
{
    ssize_t  n = readlinkat(folder, path, record, CERTCTL_NAME_SIZE);

    if (n < 0) {
        return errno == ENOENT || errno == ENOTDIR || errno == EINVAL
               ? CERTCTL_STORE_NOT_FOUND : CERTCTL_STORE_ERROR;
    }

    if (!certctl_name_valid((u_char *) record, n)) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    record[n] = '\0';

    return CERTCTL_STORE_OK;
}


int
certctl_names_find(certctl_store_t *store, certctl_kind_e kind,
    const char *key, char record[CERTCTL_NAME_SIZE])
{
    char  path[CERTCTL_PATH_SIZE];

    certctl_path(path, key, 0);

    return read_entry(store->names[kind], path, record);
}


static int
replace_entry(int folder, const char *base, const char *next,
    const char *record)
{
    if (symlinkat(record, folder, next) != 0
        && (errno != EEXIST || unlinkat(folder, next, 0) != 0
            || symlinkat(record, folder, next) != 0))
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


/* Whether an entry which says now, read with the code rc, is as it should be. */

static int
is_done(int rc, const char *now, const char *record, entry_e how)
{
    int  there = rc == CERTCTL_STORE_OK;
    int  ours = there && strcmp(now, record) == 0;

    return how == ENTRY_POINT ? ours : how == ENTRY_POINT_FREE ? there : !ours;
}


/* Most names of a renewal are as they were: that needs no lock to be seen. */

static int
is_right(names_t *names, certctl_kind_e kind, const char *key,
    const char *record, entry_e how)
{
    int   rc;
    char  now[CERTCTL_NAME_SIZE];

    rc = certctl_names_find(names->store, kind, key, now);

    return (rc == CERTCTL_STORE_OK || rc == CERTCTL_STORE_NOT_FOUND)
           && is_done(rc, now, record, how);
}


/* Notes whose name it was, for the way back; without memory there is none. */

static void
note_taken(names_t *names, const char *key, const char *record)
{
    size_t   n = strlen(key) + 1, m = strlen(record) + 1;
    u_char  *grown;

    if (names->taken == NULL) {
        return;
    }

    grown = realloc(names->taken->data, names->taken->len + n + m);

    if (grown != NULL) {
        memcpy(grown + names->taken->len, key, n);
        memcpy(grown + names->taken->len + n, record, m);
        names->taken->data = grown;
        names->taken->len += n + m;
    }
}


/* Under its folder's lock. */

static int
change_entry(names_t *names, int folder, const char *key, const char *record,
    entry_e how)
{
    int   rc;
    char  path[CERTCTL_PATH_SIZE], next[CERTCTL_PATH_SIZE];
    char  now[CERTCTL_NAME_SIZE];

    certctl_path(path, key, 0);
    certctl_path(next, key, CERTCTL_MARK_NEW);

    rc = read_entry(folder, certctl_base(path), now);

    if (is_done(rc, now, record, how)) {
        return CERTCTL_STORE_OK;
    }

    if (how == ENTRY_REMOVE) {
        return unlinkat(folder, certctl_base(path), 0) == 0
               ? CERTCTL_STORE_OK : certctl_store_code();
    }

    if (rc == CERTCTL_STORE_OK) {
        note_taken(names, key, now);
    }

    return replace_entry(folder, certctl_base(path), certctl_base(next),
                         record);
}


/* Between look and change another record may come: under the folder's lock. */

static int
change(names_t *names, certctl_kind_e kind, const char *key,
    const char *record, entry_e how)
{
    int  folder, rc, err;

    folder = certctl_folder_open(names->store, names->store->names[kind], key,
                                 how != ENTRY_REMOVE);
    if (folder < 0) {
        return how == ENTRY_REMOVE && errno == ENOENT ? CERTCTL_STORE_OK
                                                      : certctl_store_code();
    }

    rc = certctl_flock(folder, CERTCTL_LOCK_WAIT) == 0
         ? change_entry(names, folder, key, record, how)
         : CERTCTL_STORE_ERROR;

    /* a lost fingerprint only makes somebody look through all records: not
       worth a sync with each renewal */

    if (!is_fingerprint(key)) {
        names->dirty[kind][certctl_path_hash(key)] = 1;
    }

    err = errno;
    close(folder);
    errno = err;

    return rc;
}


static int
sync_folders(names_t *names)
{
    int  kind, i, fd, rc = CERTCTL_STORE_OK;

    for (kind = 0; kind < CERTCTL_KINDS; kind++) {
        for (i = 0; rc == CERTCTL_STORE_OK && i < CERTCTL_FOLDERS; i++) {
            if (!names->dirty[kind][i]) {
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
carries(const certctl_sealed_t *record, certctl_kind_e kind, const char *key)
{
    return is_public(record) && record->kind == kind
           && certctl_record_has_name(&record->blob[CERTCTL_BLOB_NAMES], key);
}


/* Each name of record that other does not carry. */

static int
change_missing(names_t *names, const certctl_sealed_t *record,
    const certctl_sealed_t *other, entry_e how)
{
    int                    rc = CERTCTL_STORE_OK;
    const char            *key;
    const certctl_blob_t  *list;

    if (!is_public(record)) {
        return rc;
    }

    list = &record->blob[CERTCTL_BLOB_NAMES];

    for (key = certctl_record_next_name(list, NULL);
         key != NULL && rc == CERTCTL_STORE_OK;
         key = certctl_record_next_name(list, key))
    {
        if (!carries(other, record->kind, key)
            && !is_right(names, record->kind, key, record->name, how))
        {
            rc = change(names, record->kind, key, record->name, how);
        }
    }

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
    int          fd[2], room;
    char         from[CERTCTL_PATH_SIZE], to[CERTCTL_PATH_SIZE];
    char         now[CERTCTL_NAME_SIZE];
    const char  *key, *next;

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
        && read_entry(room, to, now) == CERTCTL_STORE_NOT_FOUND
        && read_entry(room, from, now) == CERTCTL_STORE_OK
        && strcmp(now, new->name) == 0)
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
certctl_names_move(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, certctl_blob_t *taken, int sync)
{
    int      rc;
    names_t  names = { .store = store, .taken = taken };

    move_fingerprint(&names, old, new);

    rc = change_missing(&names, new, NULL, ENTRY_POINT);

    if (rc == CERTCTL_STORE_OK) {
        rc = change_missing(&names, old, new, ENTRY_REMOVE);
    }

    return rc == CERTCTL_STORE_OK && sync ? sync_folders(&names) : rc;
}


/* A name that was another record's is so again, unless somebody has it now. */

static void
give_back(names_t *names, const certctl_sealed_t *new,
    const certctl_blob_t *taken)
{
    const char  *key, *record;

    for (key = certctl_record_next_name(taken, NULL);
         key != NULL;
         key = certctl_record_next_name(taken, record))
    {
        record = certctl_record_next_name(taken, key);

        if (change(names, new->kind, key, new->name, ENTRY_REMOVE)
            == CERTCTL_STORE_OK)
        {
            (void) change(names, new->kind, key, record, ENTRY_POINT_FREE);
        }
    }
}


void
certctl_names_back(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, const certctl_blob_t *taken)
{
    names_t  names = { .store = store };

    if (new != NULL) {
        give_back(&names, new, taken);
    }

    (void) change_missing(&names, old, NULL, ENTRY_POINT_FREE);
    (void) change_missing(&names, new, old, ENTRY_REMOVE);
    (void) sync_folders(&names);
}


/*
 * A record of one kind is about to become one of the other: its names lead to
 * it before, where they lead to none, or for a moment no kind would answer.
 * Until then find() sees that it is not of the kind.  What fails is for move().
 */

void
certctl_names_prepare(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, int sync)
{
    names_t  names = { .store = store };

    if (!is_public(old) || old->kind == new->kind) {
        return;
    }

    (void) change_missing(&names, new, NULL, ENTRY_POINT_FREE);

    if (sync) {
        (void) sync_folders(&names);
    }
}


void
certctl_names_unprepare(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new)
{
    names_t  names = { .store = store };

    if (is_public(old) && old->kind != new->kind) {
        (void) change_missing(&names, new, old, ENTRY_REMOVE);
    }
}


/* Whether a record that is newer than live has the name. */

static int
is_taken(certctl_store_t *store, const certctl_sealed_t *live,
    const char *key)
{
    int               taken;
    char              name[CERTCTL_NAME_SIZE];
    certctl_sealed_t  record;

    if (certctl_names_find(store, live->kind, key, name) != CERTCTL_STORE_OK
        || strcmp(name, live->name) == 0
        || certctl_store_load(store, name, 0, &record) != CERTCTL_STORE_OK)
    {
        return 0;
    }

    taken = carries(&record, live->kind, key)
            && record.generation > live->generation;

    certctl_sealed_free(&record);

    return taken;
}


void
certctl_names_heal(certctl_store_t *store, const certctl_sealed_t *live,
    const certctl_sealed_t *prev)
{
    names_t                names = { .store = store };
    const char            *key;
    const certctl_blob_t  *list = &live->blob[CERTCTL_BLOB_NAMES];

    if (!is_public(live)) {
        return;
    }

    for (key = certctl_record_next_name(list, NULL);
         key != NULL;
         key = certctl_record_next_name(list, key))
    {
        if (!is_taken(store, live, key)) {
            (void) change(&names, live->kind, key, live->name, ENTRY_POINT);
        }
    }

    (void) change_missing(&names, prev, live, ENTRY_REMOVE);
    (void) sync_folders(&names);
}


static void
touch_missing(const certctl_sealed_t *record, const certctl_sealed_t *other,
    certctl_touched_pt touched, void *data)
{
    const char            *key;
    const certctl_blob_t  *list;

    if (!is_public(record)) {
        return;
    }

    list = &record->blob[CERTCTL_BLOB_NAMES];

    for (key = certctl_record_next_name(list, NULL);
         key != NULL;
         key = certctl_record_next_name(list, key))
    {
        if (!carries(other, record->kind, key)) {
            touched(key, data);
        }
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
