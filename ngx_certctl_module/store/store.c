
/* The store: opening it, and reading what it holds. */


#include "store/store_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>


#define ROOM(field)  offsetof(certctl_store_t, field)
#define NO_ROOM      ((size_t) -1)

#define SEALED_READS  8                 /* removed under us each time? */

/* To add a room: a row here, and its descriptor in the store. */

static const struct {
    const char  *path;
    size_t       fd;
} rooms[] = {
    { "certs",       ROOM(certs) },
    { "names",       NO_ROOM },
    { "names/ecdsa", ROOM(names[CERTCTL_KIND_ECDSA]) },
    { "names/rsa",   ROOM(names[CERTCTL_KIND_RSA]) },
    { "pending",     ROOM(pending) },
    { "staples",     ROOM(staples) },
    { "writes",      ROOM(writes) },
    { "damaged",     ROOM(damaged) },
    { "sessions",    ROOM(sessions) },
};

#define ROOMS  (sizeof(rooms) / sizeof(rooms[0]))


static int *
room_fd(certctl_store_t *store, size_t offset)
{
    return (int *) (void *) ((char *) store + offset);
}


static int
open_folder(int at, const char *path)
{
    return openat(at, path, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
}


/* NULL, or what is wrong with the permissions of a room. */

static const char *
check_room(certctl_store_t *store, int fd)
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
open_room(certctl_store_t *store, const char *path, int create, int *fd)
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

        if (*fd >= 0 && made && certctl_give(store, *fd) != 0) {
            return "cannot be given to the user of the workers";
        }
    }

    return *fd < 0 ? "cannot be opened" : check_room(store, *fd);
}


static int
open_rooms(certctl_store_t *store, int create, char *why, size_t why_len)
{
    int          fd, err;
    size_t       i;
    const char  *reason;

    for (i = 0; i < ROOMS; i++) {
        errno = 0;
        reason = open_room(store, rooms[i].path, create, &fd);
        err = errno;

        if (rooms[i].fd != NO_ROOM) {
            *room_fd(store, rooms[i].fd) = fd;

        } else if (fd >= 0) {
            close(fd);
        }

        if (reason != NULL) {
            (void) snprintf(why, why_len, "folder \"%s\" %s%s%s",
                            rooms[i].path, reason, err ? ": " : "",
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

    for (i = 0; i < ROOMS; i++) {
        if (rooms[i].fd != NO_ROOM) {
            *room_fd(store, rooms[i].fd) = -1;
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
        certctl_store_close(store);
        return NULL;
    }

    rc = open_top(store, path, create, why, why_len);

    if (rc == 1
        && (open_rooms(store, create, why, why_len) != 0
            || certctl_seal_key_load(store, create, why, why_len) != 0))
    {
        rc = -1;
    }

    if (rc < 0) {
        certctl_store_close(store);
        return NULL;
    }

    store->shared_sync = certctl_many_shares(store);

    if (create) {
        certctl_store_heal(store);
    }

    return store;
}


void
certctl_store_close(certctl_store_t *store)
{
    int     fd;
    size_t  i;

    for (i = 0; i < ROOMS; i++) {
        fd = rooms[i].fd == NO_ROOM ? -1 : *room_fd(store, rooms[i].fd);

        if (fd >= 0) {
            close(fd);
        }
    }

    if (store->top >= 0) {
        close(store->top);
    }

    EVP_MAC_CTX_free(store->mac);
    EVP_CIPHER_free(store->cipher);
    free(store);
}


int
certctl_name_valid(const u_char *text, size_t len)
{
    size_t  i;

    if (len == 0 || len >= CERTCTL_NAME_SIZE) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((text[i] >= 'a' && text[i] <= 'z')
              || (text[i] >= 'A' && text[i] <= 'Z')
              || (text[i] >= '0' && text[i] <= '9')
              || text[i] == '.' || text[i] == '_' || text[i] == '*'
              || text[i] == '-'))
        {
            return 0;
        }
    }

    return !(text[0] == '.' && (len == 1 || (len == 2 && text[1] == '.')));
}


static certctl_file_t
identity(const struct stat *st)
{
    certctl_file_t  file;

    file.dev = st->st_dev;
    file.ino = st->st_ino;
    file.mtime = st->st_mtim;

    return file;
}


/* Not by its number alone: that of a file which has gone is given again. */

static int
is_there(int room, const char *path, const struct stat *st)
{
    struct stat     now;
    certctl_file_t  one, other;

    if (fstatat(room, path, &now, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }

    one = identity(st);
    other = identity(&now);

    return certctl_file_same(&one, &other);
}


/*
 * What is removed is overwritten where it lies, also under a reader that has
 * it open.  So damaged is only what is there still when it has been read; else
 * what took its place is read, or found to be nothing.
 */

int
certctl_sealed_read(certctl_store_t *store, int room, const char *path,
    certctl_sealed_e type, const char *name, certctl_sealed_t *ret)
{
    int          rc, tries = 0;
    size_t       len;
    u_char      *buf;
    struct stat  st;

    do {
        memset(&st, 0, sizeof(st));
        rc = certctl_file_read(room, path, &buf, &len, &st);

        if (rc == CERTCTL_STORE_OK) {
            rc = certctl_unseal(store, type, name, buf, len, ret);
        }

    } while (rc == CERTCTL_STORE_DAMAGED
             && ++tries < SEALED_READS
             && !is_there(room, path, &st));

    if (rc == CERTCTL_STORE_OK) {
        ret->st = st;
    }

    return rc;
}


int
certctl_store_load(certctl_store_t *store, const char *name, char mark,
    certctl_sealed_t *ret)
{
    char  path[CERTCTL_PATH_SIZE];

    if (store->certs < 0
        || !certctl_name_valid((const u_char *) name, strlen(name)))
    {
        return CERTCTL_STORE_NOT_FOUND;
    }

    certctl_path(path, name, mark);

    return certctl_sealed_read(store, store->certs, path,
                               CERTCTL_SEALED_RECORD, name, ret);
}


/* The caller's record takes the sealed one's buffer over. */

static void
fill(certctl_record_t *ret, const certctl_sealed_t *from)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->name, from->name, sizeof(ret->name));
    memcpy(ret->spki, from->spki, sizeof(ret->spki));

    ret->generation = from->generation;
    ret->stored = from->stored;
    ret->kind = from->kind;
    ret->reused_key = from->reused_key;
    ret->chain = from->blob[CERTCTL_BLOB_CHAIN];
    ret->key = from->blob[CERTCTL_BLOB_KEY];
    ret->staple = from->blob[CERTCTL_BLOB_STAPLE];
    ret->staple_until = from->until;
    ret->names = from->blob[CERTCTL_BLOB_NAMES];
    ret->buf = from->buf;
    ret->buf_len = from->buf_len;
    ret->file = identity(&from->st);
}


int
certctl_store_read(certctl_store_t *store, const char *name,
    certctl_record_t *ret)
{
    int               rc;
    certctl_sealed_t  sealed;

    rc = certctl_store_load(store, name, 0, &sealed);

    if (rc == CERTCTL_STORE_OK) {
        fill(ret, &sealed);
    }

    return rc;
}


/* As a client sees it: valid, like a handshake's check of the cached copy. */

static int
is_valid(const certctl_sealed_t *record, time_t now)
{
    certctl_candidate_t  candidate;

    certctl_candidate_set(&candidate, record);

    return candidate.not_before <= now && now < candidate.not_after;
}


/*
 * The first candidate that is valid; else, unless one cannot be read, the
 * first.  The link only says where to look; the record's own list of names,
 * sealed with it, says whether it answers.
 */

static int
find_candidate(certctl_store_t *store, certctl_kind_e kind, const char *key,
    const certctl_candidates_t *list, certctl_sealed_t *ret)
{
    int               rc, err = errno, unread = CERTCTL_STORE_NOT_FOUND;
    size_t            i;
    time_t            now = time(NULL);
    certctl_sealed_t  record, expired = { .buf = NULL };

    for (i = 0; i < list->n; i++) {
        rc = certctl_names_load(store, kind, key, list->of[i].record, &record);

        if (rc == CERTCTL_STORE_OK
            && (list->n == 1 || is_valid(&record, now)))
        {
            certctl_sealed_free(&expired);
            *ret = record;
            return rc;
        }

        if (rc == CERTCTL_STORE_OK && expired.buf == NULL) {
            expired = record;

        } else if (rc == CERTCTL_STORE_OK) {
            certctl_sealed_free(&record);

        } else if (rc != CERTCTL_STORE_NOT_FOUND) {
            unread = rc;
            err = errno;
        }
    }

    if (unread == CERTCTL_STORE_NOT_FOUND && expired.buf != NULL) {
        *ret = expired;
        return CERTCTL_STORE_OK;
    }

    certctl_sealed_free(&expired);
    errno = err;

    return unread;
}


/* 1: the list of key has changed since it was read. */

static int
has_changed(certctl_store_t *store, certctl_kind_e kind, const char *key,
    const certctl_candidates_t *list)
{
    certctl_candidates_t  now;

    (void) certctl_names_read(store, kind, key, &now);

    return now.len != list->len || memcmp(now.text, list->text, now.len) != 0;
}


int
certctl_store_find(certctl_store_t *store, certctl_kind_e kind,
    const char *name, certctl_record_t *ret)
{
    int                   rc, tries = 0;
    char                  key[CERTCTL_NAME_SIZE];
    certctl_sealed_t      sealed;
    certctl_candidates_t  list;

    if (store->names[kind] < 0 || !certctl_host_key(name, key)) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    do {
        rc = certctl_names_read(store, kind, key, &list);

        if (rc == CERTCTL_STORE_OK) {
            rc = find_candidate(store, kind, key, &list, &sealed);
        }

    } while (rc == CERTCTL_STORE_NOT_FOUND
             && list.n
             && ++tries < SEALED_READS
             && has_changed(store, kind, key, &list));

    if (rc == CERTCTL_STORE_OK) {
        fill(ret, &sealed);
    }

    return rc;
}


int
certctl_store_leads(certctl_store_t *store, certctl_kind_e kind,
    const char *name, const char *record)
{
    int                   rc;
    char                  key[CERTCTL_NAME_SIZE];
    certctl_candidates_t  list;

    if (store->names[kind] < 0 || !certctl_host_key(name, key)) {
        return 0;
    }

    rc = certctl_names_read(store, kind, key, &list);

    return record ? rc == CERTCTL_STORE_OK
                    && strcmp(list.of[0].record, record) == 0
                  : rc != CERTCTL_STORE_NOT_FOUND;
}


int
certctl_store_same(certctl_store_t *store, const char *name,
    const certctl_file_t *file)
{
    char            path[CERTCTL_PATH_SIZE];
    struct stat     st;
    certctl_file_t  now;

    certctl_path(path, name, 0);

    if (fstatat(store->certs, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return 0;
    }

    now = identity(&st);

    return certctl_file_same(&now, file);
}


int
certctl_file_same(const certctl_file_t *one, const certctl_file_t *other)
{
    return one->ino == other->ino
           && one->dev == other->dev
           && one->mtime.tv_sec == other->mtime.tv_sec
           && one->mtime.tv_nsec == other->mtime.tv_nsec;
}


void
certctl_record_free(certctl_record_t *rec)
{
    if (rec->buf != NULL) {
        OPENSSL_cleanse(rec->buf, rec->buf_len);
        free(rec->buf);
        memset(rec, 0, sizeof(*rec));
    }
}


/* What fn has returned; *err is not 0 where there may be more. */

static int
each_in(DIR *dir, int (*fn)(const char *name, void *data), void *data,
    int *err)
{
    int             rc = 0;
    struct dirent  *entry;

    for ( ;; ) {
        errno = 0;
        entry = rc == 0 ? readdir(dir) : NULL;

        if (entry == NULL) {
            *err = errno;
            return rc;
        }

        if (certctl_name_valid((u_char *) entry->d_name,
                               strlen(entry->d_name)))
        {
            rc = fn(entry->d_name, data);
        }
    }
}


int
certctl_store_each(certctl_store_t *store,
    int (*fn)(const char *name, void *data), void *data)
{
    int   i, fd, err, rc = 0;
    DIR  *dir;

    for (i = 0; rc == 0 && store->certs >= 0 && i < CERTCTL_FOLDERS; i++) {
        fd = certctl_folder_number(store->certs, i);

        if (fd < 0 && errno == ENOENT) {
            continue;
        }

        dir = fd < 0 ? NULL : fdopendir(fd);

        if (dir == NULL) {
            if (fd >= 0) {
                close(fd);
            }

            return CERTCTL_STORE_ERROR;
        }

        rc = each_in(dir, fn, data, &err);
        closedir(dir);

        if (err) {
            errno = err;
            return CERTCTL_STORE_ERROR;
        }
    }

    return CERTCTL_STORE_OK;
}
