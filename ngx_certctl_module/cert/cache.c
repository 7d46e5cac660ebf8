
/*
 * Keeps parsed records in a bounded list per worker, and looks at the store
 * again when a name's counter says so.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "cert/cache.h"
#include "cert/parse.h"


/* Names that the store does not know are kept apart, so that a flood of them
   can push out nothing but each other. */

#define NGX_CERTCTL_UNKNOWN_MAX  1024

/* About 1 KB each; more records than this are read again by each report. */

#define NGX_CERTCTL_FACTS_MAX    16384

/* Seconds until a copy's file is looked at without being told to; sooner when
   it could not be read. */

#define NGX_CERTCTL_RECHECK      60
#define NGX_CERTCTL_RETRY        1


/* A letter no name has, before the names of records. */
#define NGX_CERTCTL_RECORD_MARK  '='


typedef struct {
    ngx_queue_t            queue;           /* most recently used first */
    ngx_uint_t             n;
    ngx_uint_t             max;
} ngx_certctl_list_t;


typedef struct {
    ngx_str_node_t         node;            /* key: mark and name; first */
    ngx_queue_t            queue;
    ngx_certctl_list_t    *list;            /* NULL: in no cache */
    ngx_str_t              name;            /* NUL-terminated */
    unsigned               record:1;
    unsigned               told:1;          /* to look, and could not yet */

    ngx_atomic_t          *counter;
    ngx_atomic_uint_t      seen;            /* of it, before the last look */
    time_t                 checked;
    time_t                 until;           /* the next notAfter of stored */

    ngx_certctl_stored_t  *stored[CERTCTL_KINDS];
} ngx_certctl_entry_t;


struct ngx_certctl_cache_s {
    ngx_certctl_t         *certctl;
    ngx_rbtree_t           tree;
    ngx_rbtree_node_t      sentinel;
    ngx_certctl_list_t     known;
    ngx_certctl_list_t     unknown;
    ngx_certctl_parser_t   parser;
};


void
ngx_certctl_touch(ngx_certctl_t *certctl, const char *name)
{
    if (certctl->zone) {
        ngx_certctl_zone_touch(certctl->zone, (u_char *) name,
                               ngx_strlen(name));
    }
}


void
ngx_certctl_touched(const char *name, void *certctl)
{
    ngx_certctl_touch(certctl, name);
}


ngx_certctl_cache_t *
ngx_certctl_cache_create(ngx_conf_t *cf,
    ngx_certctl_t *certctl)
{
    ngx_certctl_cache_t  *cache;

    cache = ngx_pcalloc(cf->pool, sizeof(ngx_certctl_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    cache->certctl = certctl;
    cache->known.max = certctl->cache_max;
    cache->unknown.max = NGX_CERTCTL_UNKNOWN_MAX;

    ngx_rbtree_init(&cache->tree, &cache->sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&cache->known.queue);
    ngx_queue_init(&cache->unknown.queue);
    ngx_certctl_parser_init(&cache->parser);

    return cache;
}


ngx_certctl_cache_t *
ngx_certctl_cache_facts(ngx_conf_t *cf,
    ngx_certctl_t *certctl)
{
    ngx_certctl_cache_t  *cache;

    cache = ngx_certctl_cache_create(cf, certctl);

    if (cache) {
        cache->known.max = NGX_CERTCTL_FACTS_MAX;
        cache->parser.facts = 1;
    }

    return cache;
}


static void
ngx_certctl_entry_free(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry)
{
    ngx_uint_t  i;

    ngx_rbtree_delete(&cache->tree, &entry->node.node);

    ngx_queue_remove(&entry->queue);
    entry->list->n--;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        ngx_certctl_release(&cache->parser, entry->stored[i]);
    }

    ngx_free(entry);
}


void
ngx_certctl_cache_destroy(ngx_certctl_cache_t *cache)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    ngx_certctl_list_t  *lists[2];

    if (cache == NULL) {
        return;
    }

    lists[0] = &cache->known;
    lists[1] = &cache->unknown;

    for (i = 0; i < 2; i++) {

        while (!ngx_queue_empty(&lists[i]->queue)) {
            q = ngx_queue_head(&lists[i]->queue);
            ngx_certctl_entry_free(cache,
                          ngx_queue_data(q, ngx_certctl_entry_t, queue));
        }
    }

    ngx_certctl_parser_free(&cache->parser);
}


/* Writes the key of name to key->data, and returns its hash. */

static uint32_t
ngx_certctl_entry_key(ngx_str_t *key, ngx_str_t *name, ngx_uint_t record)
{
    key->len = name->len + 1;
    key->data[0] = record ? NGX_CERTCTL_RECORD_MARK : ' ';
    ngx_memcpy(key->data + 1, name->data, name->len);

    return ngx_crc32_short(key->data, key->len);
}


static ngx_certctl_entry_t *
ngx_certctl_entry_find(ngx_certctl_cache_t *cache, ngx_str_t *key,
    uint32_t hash)
{
    return (ngx_certctl_entry_t *)
               ngx_str_rbtree_lookup(&cache->tree, key, hash);
}


static ngx_certctl_entry_t *
ngx_certctl_entry_create(ngx_certctl_cache_t *cache, ngx_str_t *key,
    uint32_t hash)
{
    u_char               *p;
    ngx_certctl_entry_t  *entry;

    entry = ngx_calloc(sizeof(ngx_certctl_entry_t) + key->len + 1,
                       ngx_cycle->log);
    if (entry == NULL) {
        return NULL;
    }

    p = (u_char *) (entry + 1);
    ngx_memcpy(p, key->data, key->len);

    entry->node.node.key = hash;
    entry->node.str.data = p;
    entry->node.str.len = key->len;
    entry->name.data = p + 1;
    entry->name.len = key->len - 1;
    entry->record = (p[0] == NGX_CERTCTL_RECORD_MARK);
    entry->counter = ngx_certctl_zone_counter(cache->certctl->zone,
                                              entry->name.data,
                                              entry->name.len);

    ngx_rbtree_insert(&cache->tree, &entry->node.node);

    return entry;
}


static ngx_int_t
ngx_certctl_entry_take(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_record_t *rec)
{
    ngx_uint_t             i;
    const char            *why;
    ngx_certctl_stored_t  *stored;

    stored = ngx_certctl_parse(&cache->parser, rec, &why);

    if (stored == NULL) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "the stored certificate for \"%V\" is not used: %s",
                      &entry->name, why);
        (void) ngx_atomic_fetch_add(&cache->certctl->zone->errors, 1);
        return NGX_ERROR;
    }

    /* a record that is asked for by its own name may have changed its kind */

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (i == stored->cert.kind || entry->record) {
            ngx_certctl_release(&cache->parser, entry->stored[i]);
            entry->stored[i] = NULL;
        }
    }

    stored->outdated = 0;
    entry->stored[stored->cert.kind] = stored;

    return NGX_OK;
}


/*
 * NGX_ERROR when the store could not be read: what was there is kept, because
 * a certificate that worked is better than none.  For the same reason a file
 * that is gone, while nobody said that it was deleted, changes nothing.
 */

static ngx_int_t
ngx_certctl_entry_read_kind(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_kind_e kind, ngx_uint_t told)
{
    int               rc;
    ngx_int_t         ret;
    const char       *name;
    certctl_record_t  rec;

    ngx_memzero(&rec, sizeof(certctl_record_t));
    name = (const char *) entry->name.data;

    if (!entry->record) {
        rc = certctl_store_find(cache->certctl->store, kind, name, &rec);

    } else if (kind == CERTCTL_KIND_ECDSA) {
        rc = certctl_store_read(cache->certctl->store, name, &rec);

    } else {
        /* one record is of one kind, and the first turn has read it */
        return NGX_OK;
    }

    switch (rc) {

    case CERTCTL_STORE_OK:
        ret = ngx_certctl_entry_take(cache, entry, &rec);
        certctl_record_free(&rec);
        return ret;

    case CERTCTL_STORE_NOT_FOUND:

        if (told) {
            ngx_certctl_release(&cache->parser, entry->stored[kind]);
            entry->stored[kind] = NULL;

            if (entry->record) {
                ngx_certctl_release(&cache->parser,
                                         entry->stored[CERTCTL_KIND_RSA]);
                entry->stored[CERTCTL_KIND_RSA] = NULL;
            }
        }

        return NGX_OK;

    case CERTCTL_STORE_DAMAGED:
        ret = NGX_OK;                       /* it will not heal by itself */
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "the stored certificate for \"%V\" is damaged%s",
                      &entry->name,
                      entry->stored[kind] ? ", the last good copy is served"
                                          : "");
        break;

    default:
        ret = NGX_ERROR;
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                      "the stored certificate for \"%V\" cannot be read%s",
                      &entry->name,
                      entry->stored[kind] ? ", the last good copy is served"
                                          : "");
    }

    (void) ngx_atomic_fetch_add(&cache->certctl->zone->errors, 1);

    if (entry->stored[kind]) {
        entry->stored[kind]->outdated = 1;
    }

    return ret;
}


/* Another record with the name may be valid still when this one has expired. */

static void
ngx_certctl_entry_expires(ngx_certctl_entry_t *entry, time_t now)
{
    time_t      not_after;
    ngx_uint_t  i;

    entry->until = NGX_MAX_TIME_T_VALUE;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (entry->stored[i]) {
            not_after = entry->stored[i]->cert.not_after;

            if (now < not_after) {
                entry->until = ngx_min(entry->until, not_after);
            }
        }
    }
}


static void
ngx_certctl_entry_read(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, time_t now)
{
    ngx_uint_t         i, told;
    ngx_atomic_uint_t  counter;

    /* the counter first: what changes while we read is read again */

    counter = *entry->counter;
    ngx_memory_barrier();

    told = (entry->told || counter != entry->seen);

    entry->seen = counter;
    entry->checked = now;
    entry->told = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (ngx_certctl_entry_read_kind(cache, entry, i, told)
            != NGX_OK)
        {
            entry->checked = now - NGX_CERTCTL_RECHECK
                             + NGX_CERTCTL_RETRY;
            entry->told = told;
        }
    }

    ngx_certctl_entry_expires(entry, now);
}


/*
 * A name may gain the kind that it has not, and be another record's while its
 * own is as it was; to see that no file is read.
 */

static ngx_uint_t
ngx_certctl_entry_same(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_kind_e kind)
{
    const char            *name, *record;
    certctl_store_t       *store;
    ngx_certctl_stored_t  *stored;

    store = cache->certctl->store;
    stored = entry->stored[kind];
    name = (const char *) entry->name.data;

    if (stored) {
        record = (const char *) stored->cert.name.data;

        return certctl_store_is_file(store, record, &stored->file)
               && (entry->record
                   || certctl_store_tries_first(store, kind, name, record));
    }

    return !entry->record
           && !certctl_store_tries_first(store, kind, name, NULL);
}


/*
 * A writer that was killed between rename and counter told nobody: so each
 * file is looked at once a minute.
 */

static ngx_uint_t
ngx_certctl_entry_fresh(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, time_t now)
{
    ngx_uint_t  i, same;

    if (*entry->counter != entry->seen || now >= entry->until) {
        return 0;
    }

    if (now - entry->checked < NGX_CERTCTL_RECHECK
        && now >= entry->checked)
    {
        return 1;
    }

    same = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {
        same += ngx_certctl_entry_same(cache, entry, i);
    }

    /* a record is of one kind */

    if (same < (entry->record ? 1 : CERTCTL_KINDS)) {
        return 0;
    }

    entry->checked = now;
    ngx_certctl_entry_expires(entry, now);

    return 1;
}


/* Moves entry to the head of its list, whose last one is removed when it is
   full. */

static void
ngx_certctl_entry_place(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry)
{
    ngx_uint_t           i;
    ngx_queue_t         *q;
    ngx_certctl_list_t  *list;

    list = &cache->unknown;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (entry->stored[i]) {
            list = &cache->known;
        }
    }

    if (entry->list) {
        ngx_queue_remove(&entry->queue);
        entry->list->n--;
    }

    entry->list = list;
    ngx_queue_insert_head(&list->queue, &entry->queue);

    if (++list->n > list->max) {
        q = ngx_queue_last(&list->queue);
        ngx_certctl_entry_free(cache,
                          ngx_queue_data(q, ngx_certctl_entry_t, queue));
    }
}


ngx_certctl_stored_t **
ngx_certctl_lookup(ngx_certctl_t *certctl, ngx_str_t *name,
    ngx_uint_t record)
{
    u_char                data[CERTCTL_NAME_MAX + 1];
    time_t                now;
    uint32_t              hash;
    ngx_str_t             key;
    ngx_certctl_cache_t  *cache;
    ngx_certctl_entry_t  *entry;

    if (certctl->store == NULL || name->len > CERTCTL_NAME_MAX) {
        return NULL;
    }

    key.data = data;
    hash = ngx_certctl_entry_key(&key, name, record);

    now = ngx_time();
    cache = certctl->cache;
    entry = ngx_certctl_entry_find(cache, &key, hash);

    if (entry == NULL) {
        entry = ngx_certctl_entry_create(cache, &key, hash);
        if (entry == NULL) {
            return NULL;
        }

        ngx_certctl_entry_read(cache, entry, now);

    } else if (!ngx_certctl_entry_fresh(cache, entry, now)) {
        ngx_certctl_entry_read(cache, entry, now);
    }

    ngx_certctl_entry_place(cache, entry);

    return entry->stored;
}


void
ngx_certctl_hold(ngx_certctl_stored_t *stored)
{
    stored->refs++;
}


void
ngx_certctl_unhold(ngx_certctl_t *certctl,
    ngx_certctl_stored_t *stored)
{
    ngx_certctl_release(&certctl->cache->parser, stored);
}


ngx_certctl_cert_t *
ngx_certctl_record(ngx_certctl_t *certctl, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_certctl_stored_t  **stored;

    stored = ngx_certctl_lookup(certctl, name, 1);

    for (i = 0; stored && i < CERTCTL_KINDS; i++) {

        if (stored[i]) {
            return &stored[i]->cert;
        }
    }

    return NULL;
}
