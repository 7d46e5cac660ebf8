
/*
 * The table of pending challenges.  Any thread of any process may use it, and
 * a process that is killed here blocks no other.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "zone/challenge.h"
#include "point.h"


#define NGX_CERTCTL_LOCK_TRIES  1000       /* of a millisecond */
#define NGX_CERTCTL_READ_TRIES  1000


static ngx_uint_t
ngx_certctl_challenge_process_gone(ngx_atomic_uint_t pid)
{
    return kill((pid_t) pid, 0) == -1 && ngx_errno == ESRCH;
}


/*
 * A process that is gone cannot return, so its lock is free; of several writers
 * that see this at once, the compare and exchange lets one have it.
 */

static ngx_int_t
ngx_certctl_challenge_lock(ngx_certctl_challenges_t *table)
{
    pid_t              pid;
    ngx_uint_t         i;
    ngx_atomic_uint_t  holder;

    pid = getpid();

    for (i = 0; i < NGX_CERTCTL_LOCK_TRIES; i++) {

        holder = table->writer;

        if ((holder == 0 || ngx_certctl_challenge_process_gone(holder))
            && ngx_atomic_cmp_set(&table->writer, holder, pid))
        {
            return NGX_OK;
        }

        ngx_msleep(1);
    }

    return NGX_AGAIN;
}


static ngx_atomic_uint_t
ngx_certctl_challenge_tag(ngx_certctl_challenge_e type, u_char *key,
    size_t len)
{
    /* never 0, which is a free slot */

    return ((ngx_atomic_uint_t) ngx_murmur_hash2(key, len) << 2) | type;
}


/* NULL wipes the slot.  The sequence is odd from the first byte to the last. */

static void
ngx_certctl_challenge_write(ngx_certctl_challenges_t *table, ngx_uint_t n,
    ngx_certctl_challenge_t *challenge)
{
    ngx_certctl_challenge_slot_t  *slot;

    slot = &table->slots[n];

    slot->sequence |= 1;
    ngx_memory_barrier();

    table->tags[n] = 0;
    ngx_explicit_memzero(&slot->challenge, sizeof(ngx_certctl_challenge_t));

    if (challenge) {
        CERTCTL_POINT("challenge.write.begun");

        slot->challenge = *challenge;
        table->tags[n] = ngx_certctl_challenge_tag(challenge->type,
                                                   challenge->key,
                                                   challenge->key_len);

        CERTCTL_POINT("challenge.write.copied");
    }

    ngx_memory_barrier();
    slot->sequence++;
}


/* Wipes what has expired, and what a killed writer left half written. */

static void
ngx_certctl_challenge_expire(ngx_certctl_challenges_t *table, time_t now)
{
    ngx_uint_t                     n;
    ngx_certctl_challenge_slot_t  *slot;

    for (n = 0; n < NGX_CERTCTL_CHALLENGES; n++) {
        slot = &table->slots[n];

        if ((slot->sequence & 1)
            || (table->tags[n] == 0) != (slot->challenge.type == 0)
            || (slot->challenge.type && slot->challenge.expires <= now))
        {
            ngx_certctl_challenge_write(table, n, NULL);
        }
    }
}


static ngx_uint_t
ngx_certctl_challenge_is(ngx_certctl_challenge_t *challenge,
    ngx_certctl_challenge_e type, u_char *key, size_t len)
{
    return challenge->type == type && challenge->key_len == len
           && ngx_memcmp(challenge->key, key, len) == 0;
}


/*
 * Writes new in the slot of challenge's type and key, or in a free one; NULL
 * wipes it.
 */

static ngx_int_t
ngx_certctl_challenge_change(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_t *challenge, ngx_certctl_challenge_t *new,
    time_t now)
{
    ngx_uint_t  n, slot;

    if (ngx_certctl_challenge_lock(table) != NGX_OK) {
        return NGX_AGAIN;
    }

    ngx_certctl_challenge_expire(table, now);

    slot = NGX_CERTCTL_CHALLENGES;

    for (n = 0; n < NGX_CERTCTL_CHALLENGES; n++) {

        if (ngx_certctl_challenge_is(&table->slots[n].challenge,
                                     challenge->type, challenge->key,
                                     challenge->key_len))
        {
            slot = n;
            break;
        }

        if (new && table->tags[n] == 0 && slot == NGX_CERTCTL_CHALLENGES) {
            slot = n;
        }
    }

    if (slot < NGX_CERTCTL_CHALLENGES) {
        ngx_certctl_challenge_write(table, slot, new);
    }

    ngx_memory_barrier();
    table->writer = 0;

    return slot < NGX_CERTCTL_CHALLENGES ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_certctl_challenge_put(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_t *challenge, time_t now)
{
    return ngx_certctl_challenge_change(table, challenge, challenge, now);
}


ngx_int_t
ngx_certctl_challenge_delete(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_t *challenge, time_t now)
{
    return ngx_certctl_challenge_change(table, challenge, NULL, now)
           == NGX_AGAIN ? NGX_AGAIN : NGX_OK;
}


static ngx_int_t
ngx_certctl_challenge_read(ngx_certctl_challenge_slot_t *slot,
    ngx_certctl_challenge_t *ret)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  sequence;

    for (i = 0; i < NGX_CERTCTL_READ_TRIES; i++) {

        sequence = slot->sequence;

        if (sequence & 1) {
            ngx_cpu_pause();
            continue;
        }

        ngx_memory_barrier();
        *ret = slot->challenge;
        ngx_memory_barrier();

        if (slot->sequence == sequence) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_certctl_challenge_find(ngx_certctl_challenges_t *table,
    ngx_certctl_challenge_e type, u_char *key, size_t len, time_t now,
    ngx_certctl_challenge_t *ret)
{
    ngx_uint_t         n;
    ngx_atomic_uint_t  tag;

    tag = ngx_certctl_challenge_tag(type, key, len);

    for (n = 0; n < NGX_CERTCTL_CHALLENGES; n++) {

        if (table->tags[n] == tag
            && ngx_certctl_challenge_read(&table->slots[n], ret) == NGX_OK
            && ngx_certctl_challenge_is(ret, type, key, len)
            && ret->expires > now)
        {
            return NGX_OK;
        }
    }

    ngx_explicit_memzero(ret, sizeof(ngx_certctl_challenge_t));

    return NGX_DECLINED;
}


ngx_uint_t
ngx_certctl_challenge_count(ngx_certctl_challenges_t *table, time_t now)
{
    ngx_uint_t               n, count;
    ngx_certctl_challenge_t  challenge;

    count = 0;

    for (n = 0; n < NGX_CERTCTL_CHALLENGES; n++) {

        if (table->tags[n]
            && ngx_certctl_challenge_read(&table->slots[n], &challenge)
               == NGX_OK
            && challenge.type && challenge.expires > now)
        {
            count++;
        }
    }

    ngx_explicit_memzero(&challenge, sizeof(ngx_certctl_challenge_t));

    return count;
}


/*
 * The system reuses process ids: another process with the id of a killed writer
 * would keep the lock.  When this is called no thread of our own has used it.
 */

void
ngx_certctl_challenge_recover(ngx_certctl_challenges_t *table)
{
    ngx_atomic_uint_t  holder;

    holder = table->writer;

    if (holder && (holder == (ngx_atomic_uint_t) getpid()
                   || ngx_certctl_challenge_process_gone(holder)))
    {
        (void) ngx_atomic_cmp_set(&table->writer, holder, 0);
    }
}
