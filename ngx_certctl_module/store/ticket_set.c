
/*
 * A set of session ticket keys, as it is pushed and kept:
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

#include <string.h>


#define SET_HEAD       24
#define SET_KEY        104
#define SET_TIME_MAX   ((uint64_t) 1 << 40)
#define SET_SKEW       300                  /* s that a peer may be ahead */

static const u_char  set_magic[8] = {
    't', 'i', 'c', 'k', 'e', 't', 's', 0x01
};


const char *
certctl_ticket_set_read(const u_char *data, size_t len,
    certctl_ticket_set_t *ret)
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

    ret->generation = certctl_get_be(data + 8, 8);
    ret->flushed = certctl_get_be(data + 16, 8);

    for (i = 0; i < ret->n; i++) {
        p = data + SET_HEAD + i * SET_KEY;
        key = &ret->key[i];

        if (certctl_get_be(p, 8) >= SET_TIME_MAX
            || certctl_get_be(p + 8, 8) >= SET_TIME_MAX
            || certctl_get_be(p + 16, 8) >= SET_TIME_MAX)
        {
            return "a time of a ticket key is not in seconds since 1970";
        }

        key->from = certctl_get_be(p, 8);
        key->until = certctl_get_be(p + 8, 8);
        key->accept = certctl_get_be(p + 16, 8);
        memcpy(key->name, p + 24, sizeof(key->name));
        memcpy(key->aes, p + 40, sizeof(key->aes));
        memcpy(key->hmac, p + 72, sizeof(key->hmac));
    }

    return NULL;
}


size_t
certctl_ticket_set_write(const certctl_ticket_set_t *set, u_char *p)
{
    size_t                       i;
    const certctl_ticket_key_t  *key;

    memcpy(p, set_magic, sizeof(set_magic));
    p = certctl_put_be(p + 8, set->generation, 8);
    p = certctl_put_be(p, set->flushed, 8);

    for (i = 0; i < set->n; i++) {
        key = &set->key[i];

        p = certctl_put_be(p, key->from, 8);
        p = certctl_put_be(p, key->until, 8);
        p = certctl_put_be(p, key->accept, 8);
        memcpy(p, key->name, sizeof(key->name));
        memcpy(p + 16, key->aes, sizeof(key->aes));
        memcpy(p + 48, key->hmac, sizeof(key->hmac));
        p += SET_KEY - 24;
    }

    return SET_HEAD + set->n * SET_KEY;
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

    rule = certctl_ticket_set_read(data, len, ret);

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
