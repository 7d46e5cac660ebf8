
/*
 * sessions/: when TLS sessions were flushed last, and the session ticket keys
 * of this host, a sealed file each.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>


#define FLUSHED  "flushed"
#define TICKETS  "tickets"

/* Whose ticket keys they are: the blob beside them. */
static char  set_host[] = "host";
static char  set_controller[] = "controller";


static int
read_file(certctl_store_t *store, certctl_sealed_e type, const char *name,
    certctl_record_t *ret)
{
    return store->sessions < 0 ? CERTCTL_STORE_NOT_FOUND
           : certctl_sealed_read(store, store->sessions, name, type, name,
                                 ret);
}


int
certctl_store_flushed(certctl_store_t *store, uint64_t *ret)
{
    int               rc;
    certctl_record_t  file;

    rc = read_file(store, CERTCTL_SEALED_FLUSHED, FLUSHED, &file);

    if (rc == CERTCTL_STORE_OK) {
        *ret = file.generation;
        certctl_record_free(&file);
    }

    return rc;
}


/*
 * Under the lock: flushes at epoch, unless it was later; 0: now.  The epoch
 * grows, whatever the clock does; ret is the one that is in force then.
 */

static int
flush(certctl_store_t *store, uint64_t epoch, uint64_t *ret)
{
    uint64_t          last = 0;
    certctl_record_t  file = { .type = CERTCTL_SEALED_FLUSHED,
                               .name = FLUSHED,
                               .stored = time(NULL) };

    (void) certctl_store_flushed(store, &last);

    *ret = epoch ? epoch : certctl_next_generation(last);

    if (*ret <= last) {
        *ret = last;
        return CERTCTL_STORE_OK;
    }

    file.generation = *ret;

    return certctl_sealed_replace(store, store->sessions, &file);
}


int
certctl_store_flush(certctl_store_t *store, uint64_t *ret)
{
    int  rc, lock;

    lock = certctl_folder_lock(store->sessions);

    if (lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = flush(store, 0, ret);
    certctl_close(lock);

    return rc;
}


int
certctl_store_ticket_set(certctl_store_t *store, certctl_ticket_set_t *ret)
{
    int               rc;
    certctl_record_t  file;

    rc = read_file(store, CERTCTL_SEALED_TICKETS, TICKETS, &file);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (certctl_ticket_set_read(file.key.data, file.key.len, ret) != NULL) {
        rc = CERTCTL_STORE_DAMAGED;
    }

    ret->pushed = file.staple.len == sizeof(set_controller) - 1
                  && memcmp(file.staple.data, set_controller, file.staple.len)
                     == 0;

    certctl_record_free(&file);

    return rc;
}


static int
write_set(certctl_store_t *store, const certctl_ticket_set_t *set)
{
    int               rc;
    char             *owner = set->pushed ? set_controller : set_host;
    u_char            text[CERTCTL_TICKET_SET];
    certctl_record_t  file = { .type = CERTCTL_SEALED_TICKETS,
                               .name = TICKETS,
                               .generation = set->generation,
                               .stored = time(NULL) };

    file.key.data = text;
    file.key.len = certctl_ticket_set_write(set, text);
    file.staple.data = (u_char *) owner;
    file.staple.len = strlen(owner);

    rc = certctl_sealed_replace(store, store->sessions, &file);

    OPENSSL_cleanse(text, sizeof(text));

    return rc;
}


/* Only numbers and octets that were read: no padding is compared. */

static int
same_keys(const certctl_ticket_set_t *one, const certctl_ticket_set_t *other)
{
    int     same;
    u_char  a[CERTCTL_TICKET_SET], b[CERTCTL_TICKET_SET];
    size_t  len;

    len = certctl_ticket_set_write(one, a);
    same = certctl_ticket_set_write(other, b) == len
           && CRYPTO_memcmp(a, b, len) == 0;

    OPENSSL_cleanse(a, sizeof(a));
    OPENSSL_cleanse(b, sizeof(b));

    return same;
}


/*
 * Locks the files and reads the set: empty where there is none, or a damaged
 * one.  The lock is to be closed, also after an error, and the set wiped.
 */

static int
begin(certctl_store_t *store, certctl_ticket_set_t *set, int *lock,
    int *damaged)
{
    int  rc;

    *damaged = 0;
    *lock = certctl_folder_lock(store->sessions);

    if (*lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_store_ticket_set(store, set);

    if (rc == CERTCTL_STORE_NOT_FOUND || rc == CERTCTL_STORE_DAMAGED) {
        memset(set, 0, sizeof(*set));
        *damaged = (rc == CERTCTL_STORE_DAMAGED);
        rc = CERTCTL_STORE_OK;
    }

    return rc;
}


int
certctl_store_ticket_set_put(certctl_store_t *store,
    const certctl_ticket_set_t *set, uint64_t *generation, uint64_t *epoch)
{
    int                   rc, lock, damaged;
    certctl_ticket_set_t  kept;

    rc = begin(store, &kept, &lock, &damaged);

    if (rc == CERTCTL_STORE_OK) {
        *generation = kept.generation;

        if (set->generation < kept.generation
            || (set->generation == kept.generation
                && (!kept.pushed || !same_keys(set, &kept))))
        {
            rc = CERTCTL_STORE_OLDER;
        }
    }

    /* should this end between the two, sessions are flushed: rather than not */

    if (rc == CERTCTL_STORE_OK && set->flushed) {
        rc = flush(store, set->flushed, epoch);
    }

    if (rc == CERTCTL_STORE_OK && set->generation > kept.generation) {
        rc = write_set(store, set);
    }

    OPENSSL_cleanse(&kept, sizeof(kept));
    certctl_close(lock);

    return rc;
}


/* Old ones are the first; where all places are taken, one more goes. */

static void
drop_old(certctl_ticket_set_t *set, time_t now)
{
    size_t  i, n = 0;

    for (i = 0; i < set->n; i++) {
        if (set->key[i].accept > now) {
            set->key[n++] = set->key[i];
        }
    }

    if (n == CERTCTL_TICKET_KEYS) {
        n--;
        memmove(&set->key[0], &set->key[1], n * sizeof(set->key[0]));
    }

    OPENSSL_cleanse(&set->key[n],
                    (CERTCTL_TICKET_KEYS - n) * sizeof(set->key[0]));
    set->n = n;
}


static int
add_key(certctl_ticket_set_t *set, time_t now, int64_t interval, unsigned keep)
{
    certctl_ticket_key_t        *key;
    const certctl_ticket_key_t  *current;

    current = certctl_ticket_key(set, now);
    key = &set->key[set->n];

    key->from = current ? current->until : now;
    key->until = key->from + interval;
    key->accept = key->until + keep * interval;

    if (key->accept - key->until > CERTCTL_TICKET_LIFE) {
        key->accept = key->until + CERTCTL_TICKET_LIFE;
    }

    if (RAND_bytes(key->name, sizeof(key->name)) != 1
        || RAND_priv_bytes(key->aes, sizeof(key->aes)) != 1
        || RAND_priv_bytes(key->hmac, sizeof(key->hmac)) != 1)
    {
        errno = EAGAIN;
        return CERTCTL_STORE_ERROR;
    }

    set->n++;
    set->pushed = 0;

    return CERTCTL_STORE_OK;
}


int
certctl_store_ticket_set_rotate(certctl_store_t *store, time_t now,
    int64_t interval, unsigned keep, int fresh, int *damaged)
{
    int                   rc, lock;
    certctl_ticket_set_t  set;

    rc = begin(store, &set, &lock, damaged);

    if (rc == CERTCTL_STORE_OK && fresh && !set.pushed) {
        OPENSSL_cleanse(set.key, sizeof(set.key));
        set.n = 0;
    }

    if (rc == CERTCTL_STORE_OK && certctl_ticket_set_due(&set, now, interval)) {
        drop_old(&set, now);
        rc = add_key(&set, now, interval, keep);

        if (rc == CERTCTL_STORE_OK) {
            rc = write_set(store, &set);
        }
    }

    OPENSSL_cleanse(&set, sizeof(set));
    certctl_close(lock);

    return rc;
}
