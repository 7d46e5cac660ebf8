
/*
 * Session ticket keys: sessions/tickets, a sealed file.  A set that is pushed
 * has the same bytes:
 *
 *    0   8  magic
 *    8   8  generation
 *   16   8  epoch of the last flush of the group, 0: none
 *   24      for each of 1 to 16 keys:
 *        8  from: new tickets are encrypted with it,
 *        8  until,
 *        8  accept: tickets of it are accepted until then; seconds since 1970
 *       16  name
 *       32  AES-256 key
 *       32  HMAC-SHA256 key
 *
 * Numbers are big-endian.
 */


#include "store/store_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>


#define TICKETS        "tickets"

#define SET_HEAD       24
#define SET_KEY        104
#define SET_TIME_MAX   ((uint64_t) 1 << 40)
#define SET_SKEW       300                  /* s that a peer may be ahead */

static const u_char  set_magic[8] = {
    't', 'i', 'c', 'k', 'e', 't', 's', 0x01
};

/* Whose keys they are: the blob beside them. */
static u_char  set_host[] = "host";
static u_char  set_controller[] = "controller";


static uint64_t
get_be(const u_char *p)
{
    int       n;
    uint64_t  value = 0;

    for (n = 0; n < 8; n++) {
        value = value << 8 | p[n];
    }

    return value;
}


static u_char *
put_be(u_char *p, uint64_t value)
{
    int  n;

    for (n = 7; n >= 0; n--) {
        p[n] = (u_char) value;
        value >>= 8;
    }

    return p + 8;
}


static const char *
read_set(const u_char *data, size_t len, certctl_ticket_set_t *ret)
{
    size_t                 i;
    const u_char          *p;
    certctl_ticket_key_t  *key;

    memset(ret, 0, sizeof(*ret));

    if (len < SET_HEAD + SET_KEY
        || (len - SET_HEAD) % SET_KEY != 0
        || memcmp(data, set_magic, sizeof(set_magic)) != 0)
    {
        return "not a set of ticket keys: 24 octets that begin with"
               " \"tickets\" and 1, and 104 for each key";
    }

    ret->n = (len - SET_HEAD) / SET_KEY;

    if (ret->n > CERTCTL_TICKET_KEYS) {
        return "a set has at most 16 ticket keys";
    }

    ret->generation = get_be(data + 8);
    ret->flushed = get_be(data + 16);

    for (i = 0; i < ret->n; i++) {
        p = data + SET_HEAD + i * SET_KEY;
        key = &ret->key[i];

        if (get_be(p) >= SET_TIME_MAX || get_be(p + 8) >= SET_TIME_MAX
            || get_be(p + 16) >= SET_TIME_MAX)
        {
            return "a time of a ticket key is not in seconds since 1970";
        }

        key->from = get_be(p);
        key->until = get_be(p + 8);
        key->accept = get_be(p + 16);
        memcpy(key->name, p + 24, sizeof(key->name));
        memcpy(key->aes, p + 40, sizeof(key->aes));
        memcpy(key->hmac, p + 72, sizeof(key->hmac));
    }

    return NULL;
}


static void
write_set(const certctl_ticket_set_t *set, u_char *p)
{
    size_t                       i;
    const certctl_ticket_key_t  *key;

    memcpy(p, set_magic, sizeof(set_magic));
    p = put_be(p + 8, set->generation);
    p = put_be(p, set->flushed);

    for (i = 0; i < set->n; i++) {
        key = &set->key[i];

        p = put_be(p, key->from);
        p = put_be(p, key->until);
        p = put_be(p, key->accept);
        memcpy(p, key->name, sizeof(key->name));
        memcpy(p + 16, key->aes, sizeof(key->aes));
        memcpy(p + 48, key->hmac, sizeof(key->hmac));
        p += SET_KEY - 24;
    }
}


static const char *
check_key(const certctl_ticket_set_t *set, size_t i)
{
    size_t                       k;
    const certctl_ticket_key_t  *key = &set->key[i];

    if (key->from >= key->until || key->until > key->accept) {
        return "a ticket key is used from a time until a later one, and"
               " accepted at least as long";
    }

    if (key->accept - key->until > CERTCTL_TICKET_LIFE) {
        return "a ticket key is accepted for more than 7 days after its last"
               " use, but no ticket lives longer (RFC 8446 4.6.1)";
    }

    for (k = 0; k < i; k++) {
        if (memcmp(set->key[k].name, key->name, sizeof(key->name)) == 0) {
            return "two ticket keys of the set have the same name";
        }
    }

    return NULL;
}


const char *
certctl_ticket_set_parse(const u_char *data, size_t len, time_t now,
    certctl_ticket_set_t *ret)
{
    size_t       i;
    const char  *rule;

    rule = read_set(data, len, ret);

    for (i = 0; rule == NULL && i < ret->n; i++) {
        rule = check_key(ret, i);
    }

    if (rule == NULL && ret->generation == 0) {
        rule = "the generation of a set of ticket keys is not 0";
    }

    if (rule == NULL && certctl_ticket_key(ret, now) == NULL) {
        rule = "no ticket key of the set is in use now: the clock of this"
               " host, or the set, is wrong";
    }

    if (rule == NULL
        && ret->flushed / 1000000 > (uint64_t) now + SET_SKEW)
    {
        rule = "the epoch of the set, of the last flush, is in the future";
    }

    if (rule) {
        OPENSSL_cleanse(ret, sizeof(*ret));
    }

    return rule;
}


const certctl_ticket_key_t *
certctl_ticket_key(const certctl_ticket_set_t *set, time_t now)
{
    size_t                       i;
    const certctl_ticket_key_t  *key, *newest = NULL;

    for (i = 0; i < set->n; i++) {
        key = &set->key[i];

        if (key->from <= now && now < key->until
            && (newest == NULL || key->from > newest->from))
        {
            newest = key;
        }
    }

    return newest;
}


int
certctl_ticket_set_due(const certctl_ticket_set_t *set, time_t now,
    int64_t interval)
{
    size_t                       i;
    const certctl_ticket_key_t  *key;

    key = certctl_ticket_key(set, now);

    if (key == NULL || set->pushed) {
        return key == NULL;
    }

    for (i = 0; i < set->n; i++) {
        if (set->key[i].from > now) {
            return 0;
        }
    }

    return key->until - now <= interval / 2;
}


int
certctl_store_ticket_set(certctl_store_t *store, certctl_ticket_set_t *ret)
{
    int               rc;
    certctl_blob_t   *from;
    certctl_sealed_t  sealed;

    rc = certctl_sessions_read(store, CERTCTL_SEALED_TICKETS, TICKETS,
                               &sealed);
    if (rc != CERTCTL_STORE_OK) {
        return rc;
    }

    if (read_set(sealed.blob[CERTCTL_BLOB_KEY].data,
                 sealed.blob[CERTCTL_BLOB_KEY].len, ret)
        != NULL)
    {
        rc = CERTCTL_STORE_DAMAGED;
    }

    from = &sealed.blob[CERTCTL_BLOB_TYPE];
    ret->pushed = from->len == sizeof(set_controller) - 1
                  && memcmp(from->data, set_controller, from->len) == 0;

    certctl_sealed_free(&sealed);

    return rc;
}


static int
write_file(certctl_store_t *store, const certctl_ticket_set_t *set)
{
    int               rc;
    u_char            text[SET_HEAD + CERTCTL_TICKET_KEYS * SET_KEY];
    certctl_sealed_t  sealed;

    memset(&sealed, 0, sizeof(sealed));
    sealed.type = CERTCTL_SEALED_TICKETS;
    sealed.generation = set->generation;
    memcpy(sealed.name, TICKETS, sizeof(TICKETS));

    write_set(set, text);
    sealed.blob[CERTCTL_BLOB_KEY].data = text;
    sealed.blob[CERTCTL_BLOB_KEY].len = SET_HEAD + set->n * SET_KEY;
    sealed.blob[CERTCTL_BLOB_TYPE].data = set->pushed ? set_controller
                                                      : set_host;
    sealed.blob[CERTCTL_BLOB_TYPE].len = set->pushed
                                         ? sizeof(set_controller) - 1
                                         : sizeof(set_host) - 1;

    rc = certctl_sessions_write(store, &sealed);

    OPENSSL_cleanse(text, sizeof(text));

    return rc;
}


/* Only numbers and octets that were read: no padding is compared. */

static int
same_keys(const certctl_ticket_set_t *one, const certctl_ticket_set_t *other)
{
    u_char  a[SET_HEAD + CERTCTL_TICKET_KEYS * SET_KEY], b[sizeof(a)];
    int     same;

    write_set(one, a);
    write_set(other, b);
    same = one->n == other->n
           && CRYPTO_memcmp(a, b, SET_HEAD + one->n * SET_KEY) == 0;

    OPENSSL_cleanse(a, sizeof(a));
    OPENSSL_cleanse(b, sizeof(b));

    return same;
}


int
certctl_store_ticket_set_put(certctl_store_t *store,
    const certctl_ticket_set_t *set, uint64_t *generation, uint64_t *epoch)
{
    int                   rc, lock;
    certctl_ticket_set_t  kept;

    lock = certctl_sessions_lock(store);

    if (lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_store_ticket_set(store, &kept);

    if (rc == CERTCTL_STORE_NOT_FOUND || rc == CERTCTL_STORE_DAMAGED) {
        rc = CERTCTL_STORE_OK;
        kept.generation = 0;
    }

    *generation = kept.generation;

    if (rc == CERTCTL_STORE_OK
        && (set->generation < kept.generation
            || (set->generation == kept.generation
                && (!kept.pushed || !same_keys(set, &kept)))))
    {
        rc = CERTCTL_STORE_OLDER;
    }

    /* should this end between the two, sessions are flushed: rather than not */

    if (rc == CERTCTL_STORE_OK && set->flushed) {
        rc = certctl_sessions_flush(store, set->flushed, epoch);
    }

    if (rc == CERTCTL_STORE_OK && set->generation > kept.generation) {
        rc = write_file(store, set);
    }

    OPENSSL_cleanse(&kept, sizeof(kept));
    close(lock);

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

    lock = certctl_sessions_lock(store);

    if (lock < 0) {
        return CERTCTL_STORE_ERROR;
    }

    rc = certctl_store_ticket_set(store, &set);

    *damaged = rc == CERTCTL_STORE_DAMAGED;

    if (rc == CERTCTL_STORE_NOT_FOUND || rc == CERTCTL_STORE_DAMAGED) {
        memset(&set, 0, sizeof(set));
        rc = CERTCTL_STORE_OK;
    }

    if (rc == CERTCTL_STORE_OK && fresh && !set.pushed) {
        OPENSSL_cleanse(set.key, sizeof(set.key));
        set.n = 0;
    }

    if (rc == CERTCTL_STORE_OK && certctl_ticket_set_due(&set, now, interval)) {
        drop_old(&set, now);
        rc = add_key(&set, now, interval, keep);

        if (rc == CERTCTL_STORE_OK) {
            rc = write_file(store, &set);
        }
    }

    OPENSSL_cleanse(&set, sizeof(set));
    close(lock);

    return rc;
}
