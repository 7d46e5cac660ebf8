
/* The record that answers for a DNS or IP name, or a fingerprint. */


#include "store/store_impl.h"

#include <errno.h>
#include <string.h>
#include <time.h>


#define FIND_TRIES  8                   /* changed meanwhile each time? */


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
             && ++tries < FIND_TRIES
             && has_changed(store, kind, key, &list));

    if (rc == CERTCTL_STORE_OK) {
        certctl_record_of(ret, &sealed);
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
