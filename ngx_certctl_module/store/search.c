
/*
 * All records are searched for the names of which a list is partial: it is
 * whole again only then.
 */


#include "store/store_impl.h"

#include <stdlib.h>


static int
add_record(const char *name, void *data)
{
    size_t                i;
    certctl_search_t     *search = data;
    certctl_sealed_t      record;
    certctl_candidate_t   candidate;

    search->rc = certctl_store_load(search->store, name, 0, &record);

    if (search->rc != CERTCTL_STORE_OK) {
        return search->rc == CERTCTL_STORE_ERROR;
    }

    certctl_candidate_set(&candidate, &record);

    for (i = 0; i < search->n; i++) {
        if (certctl_record_carries(&record, search->kind, search->keys[i])) {
            certctl_candidates_add(&search->found[i], &candidate);
        }
    }

    certctl_sealed_free(&record);

    return 0;
}


/* The names that are lost with old, or by it, and may have other candidates. */

static int
collect(certctl_search_t *search, const certctl_sealed_t *old,
    const certctl_sealed_t *new)
{
    int                    rc;
    void                  *grown;
    const char            *key = NULL;
    certctl_candidates_t   list;

    while ((key = certctl_record_missing(old, new, key)) != NULL) {
        rc = certctl_names_read(search->store, old->kind, key, &list);

        if (rc == CERTCTL_STORE_ERROR) {
            return rc;
        }

        if (rc == CERTCTL_STORE_NOT_FOUND || !list.partial
            || certctl_is_fingerprint(key))
        {
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


int
certctl_search(certctl_store_t *store, const certctl_sealed_t *old,
    const certctl_sealed_t *new, certctl_search_t *search)
{
    int  rc;

    *search = (certctl_search_t) { .store = store };

    rc = collect(search, old, new);

    if (rc == CERTCTL_STORE_OK && search->n) {
        rc = certctl_store_each(store, add_record, search);
        rc = search->rc == CERTCTL_STORE_ERROR ? search->rc : rc;
    }

    return rc;
}


void
certctl_search_free(certctl_search_t *search)
{
    free(search->keys);
    free(search->found);
}
