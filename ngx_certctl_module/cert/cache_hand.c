
/* Hands what one cache has read to another one, whose thread need not read. */


#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cache_impl.h"


static ngx_uint_t
ngx_certctl_entry_current(ngx_certctl_entry_t *entry)
{
    return *entry->counter == entry->seen;
}


ngx_uint_t
ngx_certctl_cached(ngx_certctl_t *certctl, ngx_str_t *name,
    ngx_uint_t record)
{
    u_char                data[CERTCTL_NAME_MAX + 1];
    uint32_t              hash;
    ngx_str_t             key;
    ngx_certctl_entry_t  *entry;

    if (certctl->store == NULL || name->len > CERTCTL_NAME_MAX) {
        return 1;
    }

    key.data = data;
    hash = ngx_certctl_entry_key(&key, name, record);
    entry = ngx_certctl_entry_find(certctl->cache, &key, hash);

    return entry && ngx_certctl_entry_current(entry);
}


ngx_certctl_entry_t *
ngx_certctl_cache_take(ngx_certctl_t *certctl, ngx_str_t *name,
    ngx_uint_t record)
{
    ngx_rbtree_key_t        hash;
    ngx_certctl_cache_t    *cache;
    ngx_certctl_entry_t    *entry;
    ngx_certctl_stored_t  **stored;

    stored = ngx_certctl_lookup(certctl, name, record);
    if (stored == NULL) {
        return NULL;
    }

    cache = certctl->cache;
    entry = (ngx_certctl_entry_t *) ((u_char *) stored
                                     - offsetof(ngx_certctl_entry_t, stored));

    hash = entry->node.node.key;
    ngx_rbtree_delete(&cache->tree, &entry->node.node);
    entry->node.node.key = hash;            /* of which delete leaves nothing */

    ngx_queue_remove(&entry->queue);
    entry->list->n--;
    entry->list = NULL;

    return entry;
}


/*
 * Whether there is a copy in entry that other has not: it may have been
 * deleted, or be damaged since, when the copy is to be kept.  A cache that
 * looks at the store itself knows.
 */

static ngx_uint_t
ngx_certctl_entry_keeps(ngx_certctl_entry_t *entry,
    ngx_certctl_entry_t *other)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        if (entry->stored[i] && other->stored[i] == NULL) {
            return 1;
        }
    }

    return 0;
}


void
ngx_certctl_entry_discard(ngx_certctl_entry_t *entry)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        ngx_certctl_release(NULL, entry->stored[i]);
    }

    ngx_free(entry);
}


void
ngx_certctl_cache_give(ngx_certctl_t *certctl, ngx_certctl_entry_t *entry)
{
    ngx_certctl_cache_t  *cache;
    ngx_certctl_entry_t  *own;

    cache = certctl->cache;
    own = ngx_certctl_entry_find(cache, &entry->node.str,
                                 entry->node.node.key);

    if (own) {
        if (ngx_certctl_entry_current(own)
            || ngx_certctl_entry_keeps(own, entry))
        {
            ngx_certctl_entry_discard(entry);
            return;
        }

        ngx_certctl_entry_free(cache, own);
    }

    ngx_rbtree_insert(&cache->tree, &entry->node.node);
    ngx_certctl_entry_place(cache, entry);
}
