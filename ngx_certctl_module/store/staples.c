
/* Which of two staples is kept; and the staples of static certificates. */


#include "store/store_impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "x509_facts.h"
#include "x509_info.h"
#include "x509_read.h"


int
certctl_staple_replaces(const certctl_blob_t *staple, int64_t until,
    const certctl_blob_t *kept, int64_t kept_until)
{
    time_t  new, old;

    if (kept->len == 0) {
        return 1;
    }

    new = certctl_ocsp_this_update(staple->data, staple->len);
    old = certctl_ocsp_this_update(kept->data, kept->len);

    return kept_until == CERTCTL_STAPLE_WITHDRAWN
           && until != CERTCTL_STAPLE_WITHDRAWN ? new > old : new >= old;
}


static int
same_leaf(const certctl_blob_t *one, const certctl_blob_t *other)
{
    size_t  len = certctl_der_len(one->data, one->len);

    return len && len <= other->len
           && memcmp(one->data, other->data, len) == 0;
}


void
certctl_staple_keep(const certctl_record_t *old, certctl_record_t *new)
{
    if (old != NULL
        && same_leaf(&new->chain, &old->chain)
        && (new->staple.len == 0
            || !certctl_staple_replaces(&new->staple, new->staple_until,
                                        &old->staple, old->staple_until)))
    {
        new->staple = old->staple;
        new->staple_until = old->staple_until;
    }
}


/* Of a static certificate's staples the later one is kept; under its lock. */

static int
check_later(certctl_store_t *store, const certctl_record_t *in)
{
    int                rc;
    certctl_record_t   old;

    if (certctl_sealed_load(store, store->staples, in->type, in->name, 0, &old)
        != CERTCTL_STORE_OK)
    {
        return CERTCTL_STORE_OK;
    }

    rc = certctl_staple_replaces(&in->staple, in->staple_until,
                                 &old.staple, old.staple_until)
         ? CERTCTL_STORE_OK : CERTCTL_STORE_OLDER;

    certctl_record_free(&old);

    return rc;
}


int
certctl_store_static_staple_put(certctl_store_t *store,
    const u_char *fingerprint, const certctl_blob_t *staple, int64_t until,
    certctl_changed_pt changed, void *data)
{
    int               rc;
    certctl_record_t  in = { .type = CERTCTL_SEALED_STAPLE,
                             .stored = time(NULL),
                             .staple_until = until,
                             .staple = *staple };

    certctl_hex(fingerprint, 32, in.name);

    rc = certctl_write_sealed(store, store->staples, &in, check_later);

    /* readers may have seen it, also when it could not be synced */

    if (changed != NULL) {
        changed(in.name, data);
    }

    return rc;
}


int
certctl_store_static_staple_get(certctl_store_t *store,
    const u_char *fingerprint, certctl_blob_t *ret, int64_t *until)
{
    int                rc;
    char               name[CERTCTL_HEX256];
    u_char            *data;
    certctl_record_t   kept;

    certctl_hex(fingerprint, 32, name);

    rc = certctl_sealed_load(store, store->staples, CERTCTL_SEALED_STAPLE,
                             name, 0, &kept);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    data = malloc(kept.staple.len + 1);

    if (data != NULL) {
        memcpy(data, kept.staple.data, kept.staple.len);
        ret->data = data;
        ret->len = kept.staple.len;
        *until = kept.staple_until;
    }

    certctl_record_free(&kept);

    return data ? CERTCTL_STORE_OK : CERTCTL_STORE_ERROR;
}
