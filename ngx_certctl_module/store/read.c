
/*
 * Reading records: by their own names, or by a DNS or IP name or a fingerprint
 * of their certificates.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include "x509_leaf.h"


#define FIND_TRIES  8                   /* changed meanwhile each time? */


typedef struct {
    int        (*fn)(const char *name, void *data);
    void        *data;
    int          stopped;
} each_t;


int
certctl_store_read(certctl_store_t *store, const char *name,
    certctl_record_t *ret)
{
    return certctl_store_load(store, name, 0, ret);
}


int
certctl_store_is_file(certctl_store_t *store, const char *name,
    const certctl_file_t *file)
{
    char  path[CERTCTL_PATH_SIZE];

    certctl_path(path, name, 0);

    return certctl_file_is(store->certs, path, file);
}


void
certctl_record_fill(certctl_record_t *record, const char *name,
    const struct certctl_leaf *leaf)
{
    memcpy(record->name, name, strlen(name) + 1);
    memcpy(record->spki, leaf->spki, sizeof(record->spki));

    record->leaf = leaf;
    record->stored = time(NULL);
    record->kind = leaf->rsa ? CERTCTL_KIND_RSA : CERTCTL_KIND_ECDSA;
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


/* As a client sees it: valid, like a handshake's check of the cached copy. */

static int
is_valid(const certctl_record_t *record, time_t now)
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
    const certctl_candidates_t *list, certctl_record_t *ret)
{
    int               rc, err = errno, unread = CERTCTL_STORE_NOT_FOUND;
    size_t            i;
    time_t            now = time(NULL);
    certctl_record_t  record, expired = { .buf = NULL };

    for (i = 0; i < list->n; i++) {
        rc = certctl_names_load(store, kind, key, list->of[i].record, &record);

        if (rc == CERTCTL_STORE_OK
            && (list->n == 1 || is_valid(&record, now)))
        {
            certctl_record_free(&expired);
            *ret = record;
            return rc;
        }

        if (rc == CERTCTL_STORE_OK && expired.buf == NULL) {
            expired = record;

        } else if (rc == CERTCTL_STORE_OK) {
            certctl_record_free(&record);

        } else if (rc != CERTCTL_STORE_NOT_FOUND) {
            unread = rc;
            err = errno;
        }
    }

    if (unread == CERTCTL_STORE_NOT_FOUND && expired.buf != NULL) {
        *ret = expired;
        return CERTCTL_STORE_OK;
    }

    certctl_record_free(&expired);
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
    certctl_candidates_t  list;

    if (store->names[kind] < 0 || !certctl_host_key(name, key)) {
        return CERTCTL_STORE_NOT_FOUND;
    }

    do {
        rc = certctl_names_read(store, kind, key, &list);

        if (rc == CERTCTL_STORE_OK) {
            rc = find_candidate(store, kind, key, &list, ret);
        }

    } while (rc == CERTCTL_STORE_NOT_FOUND
             && list.n
             && ++tries < FIND_TRIES
             && has_changed(store, kind, key, &list));

    return rc;
}


int
certctl_store_tries_first(certctl_store_t *store, certctl_kind_e kind,
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


static int
each_name(int folder, const char *base, void *data)
{
    each_t  *each = data;

    (void) folder;

    if (certctl_name_valid((const u_char *) base, strlen(base))) {
        each->stopped = each->fn(base, each->data) != 0;
    }

    return each->stopped;
}


int
certctl_store_each(certctl_store_t *store,
    int (*fn)(const char *name, void *data), void *data)
{
    each_t  each = { .fn = fn, .data = data };

    return certctl_folder_each_hash(store->certs, each_name, &each) < 0
           ? CERTCTL_STORE_ERROR : CERTCTL_STORE_OK;
}


static int
add_size(int folder, const char *base, void *data)
{
    uint64_t     *bytes = data;
    struct stat   st;

    if (fstatat(folder, base, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISREG(st.st_mode))
    {
        *bytes += st.st_size;
    }

    return 0;
}


uint64_t
certctl_store_bytes(certctl_store_t *store)
{
    uint64_t  bytes = 0;

    (void) certctl_folder_each_hash(store->certs, add_size, &bytes);
    (void) certctl_folder_each_hash(store->pending, add_size, &bytes);
    (void) certctl_folder_each_hash(store->staples, add_size, &bytes);
    (void) certctl_folder_each(certctl_folder_again(store->damaged), add_size,
                               &bytes);
    (void) certctl_folder_each(certctl_folder_again(store->sessions), add_size,
                               &bytes);

    return bytes;
}
