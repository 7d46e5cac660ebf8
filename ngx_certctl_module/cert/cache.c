
/*
 * A worker's parsed records, in bounded lists.  The store is read again when
 * the counter of a name has changed.
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

/* Seconds until a copy's file is checked although no counter has changed;
   sooner when it could not be read. */

#define NGX_CERTCTL_RECHECK      60
#define NGX_CERTCTL_RETRY        1


typedef struct {
    ngx_queue_t            queue;           /* most recently used first */
    ngx_uint_t             n;
    ngx_uint_t             max;
} ngx_certctl_list_t;


typedef struct {
    ngx_str_node_t         node;            /* first; NUL-terminated */
    ngx_queue_t            queue;
    ngx_certctl_list_t    *list;            /* NULL: in no list yet */
    unsigned               record:1;
    unsigned               changed:1;       /* but could not be read yet */

    ngx_atomic_t          *counter;
    ngx_atomic_uint_t      seen;            /* its value before the last read */
    time_t                 checked;
    time_t                 until;           /* the next notAfter of stored;
                                               0: never read */

    ngx_certctl_stored_t  *stored[CERTCTL_KINDS];
} ngx_certctl_entry_t;


struct ngx_certctl_cache_s {
    ngx_certctl_t         *certctl;
    ngx_rbtree_t           trees[2];        /* by DNS or IP name, by record */
    ngx_rbtree_node_t      sentinels[2];
    ngx_certctl_list_t     lists[2];        /* unknown names, known ones */
    ngx_certctl_parser_t   parser;
};


void
ngx_certctl_invalidate(const char *name, void *data)
{
    ngx_certctl_t *certctl = data;

    if (certctl->zone) {
        ngx_certctl_zone_invalidate(certctl->zone, (u_char *) name,
                                    ngx_strlen(name));
    }
}


ngx_certctl_cache_t *
ngx_certctl_cache_create(ngx_conf_t *cf, ngx_certctl_t *certctl,
    ngx_uint_t facts)
{
    ngx_uint_t            i;
    ngx_certctl_cache_t  *cache;

    cache = ngx_pcalloc(cf->pool, sizeof(ngx_certctl_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    cache->certctl = certctl;
    cache->lists[0].max = NGX_CERTCTL_UNKNOWN_MAX;
    cache->lists[1].max = facts ? NGX_CERTCTL_FACTS_MAX : certctl->cache_max;

    for (i = 0; i < 2; i++) {
        ngx_rbtree_init(&cache->trees[i], &cache->sentinels[i],
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&cache->lists[i].queue);
    }

    ngx_certctl_parser_init(&cache->parser, facts);

    return cache;
}


static void
ngx_certctl_entry_free(ngx_certctl_cache_t *cache, ngx_certctl_entry_t *entry)
{
    ngx_uint_t  i;

    ngx_rbtree_delete(&cache->trees[entry->record], &entry->node.node);

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
    ngx_uint_t    i;
    ngx_queue_t  *q;

    if (cache == NULL) {
        return;
    }

    for (i = 0; i < 2; i++) {

        while (!ngx_queue_empty(&cache->lists[i].queue)) {
            q = ngx_queue_head(&cache->lists[i].queue);
            ngx_certctl_entry_free(cache,
                                   ngx_queue_data(q, ngx_certctl_entry_t,
                                                  queue));
        }
    }

    ngx_certctl_parser_free(&cache->parser);
}


static ngx_certctl_entry_t *
ngx_certctl_entry_create(ngx_certctl_cache_t *cache, ngx_str_t *name,
    uint32_t hash, ngx_uint_t record)
{
    ngx_certctl_entry_t  *entry;

    entry = ngx_calloc(sizeof(ngx_certctl_entry_t) + name->len + 1,
                       ngx_cycle->log);
    if (entry == NULL) {
        return NULL;
    }

    entry->node.node.key = hash;
    entry->node.str.data = (u_char *) (entry + 1);
    entry->node.str.len = name->len;
    ngx_memcpy(entry->node.str.data, name->data, name->len);

    entry->record = record;
    entry->counter = ngx_certctl_zone_counter(cache->certctl->zone,
                                              name->data, name->len);

    ngx_rbtree_insert(&cache->trees[record], &entry->node.node);

    return entry;
}


/* A record that is asked for by its own name may have changed its kind. */

static void
ngx_certctl_entry_clear(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_kind_e kind)
{
    ngx_uint_t  i;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (i == kind || entry->record) {
            ngx_certctl_release(&cache->parser, entry->stored[i]);
            entry->stored[i] = NULL;
        }
    }
}


static ngx_int_t
ngx_certctl_entry_take(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_record_t *rec)
{
    const char            *why;
    ngx_certctl_stored_t  *stored;

    stored = ngx_certctl_parse(&cache->parser, rec, &why);

    if (stored == NULL) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "the stored certificate for \"%V\" is not used: %s",
                      &entry->node.str, why);
        (void) ngx_atomic_fetch_add(&cache->certctl->zone->errors, 1);
        return NGX_ERROR;
    }

    ngx_certctl_entry_clear(cache, entry, stored->cert.kind);

    stored->outdated = 0;
    entry->stored[stored->cert.kind] = stored;

    return NGX_OK;
}


/* Whether there is a copy to serve on.  A record that is asked for by its own
   name is one copy, of the kind that its certificate has. */

static ngx_uint_t
ngx_certctl_entry_outdated(ngx_certctl_entry_t *entry, certctl_kind_e kind)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < CERTCTL_KINDS; i++) {

        if (entry->stored[i] && (i == kind || entry->record)) {
            entry->stored[i]->outdated = 1;
            n++;
        }
    }

    return n;
}


/*
 * NGX_ERROR when the store could not be read: what was there is kept, because
 * a certificate that worked is better than none.  For the same reason a file
 * that is gone, while no counter says that it was deleted, changes nothing.
 */

static ngx_int_t
ngx_certctl_entry_read_kind(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry, certctl_kind_e kind, ngx_uint_t changed)
{
    int               rc;
    ngx_int_t         ret;
    const char       *name;
    certctl_record_t  rec;

    ngx_memzero(&rec, sizeof(certctl_record_t));
    name = (const char *) entry->node.str.data;

    rc = entry->record ? certctl_store_read(cache->certctl->store, name, &rec)
                       : certctl_store_find(cache->certctl->store, kind, name,
                                            &rec);

    if (rc == CERTCTL_STORE_OK) {
        ret = ngx_certctl_entry_take(cache, entry, &rec);
        certctl_record_free(&rec);
        return ret;
    }

    if (rc == CERTCTL_STORE_NOT_FOUND) {

        if (changed) {
            ngx_certctl_entry_clear(cache, entry, kind);
        }

        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log,
                  rc == CERTCTL_STORE_DAMAGED ? 0 : ngx_errno,
                  "the stored certificate for \"%V\" %s%s", &entry->node.str,
                  rc == CERTCTL_STORE_DAMAGED ? "is damaged" : "cannot be read",
                  ngx_certctl_entry_outdated(entry, kind)
                  ? ", the last good copy is served" : "");

    (void) ngx_atomic_fetch_add(&cache->certctl->zone->errors, 1);

    /* a damaged one is not read again: it does not heal by itself */

    return rc == CERTCTL_STORE_DAMAGED ? NGX_OK : NGX_ERROR;
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
    ngx_uint_t         i, changed;
    ngx_atomic_uint_t  counter;

    /* the counter first: what changes while we read is read again */

    counter = *entry->counter;
    ngx_memory_barrier();

    changed = (entry->changed || counter != entry->seen);

    entry->seen = counter;
    entry->checked = now;
    entry->changed = 0;

    /* a record is read once: it is of one kind */

    for (i = 0; i < (entry->record ? 1 : CERTCTL_KINDS); i++) {

        if (ngx_certctl_entry_read_kind(cache, entry, i, changed) != NGX_OK) {
            entry->checked = now - NGX_CERTCTL_RECHECK + NGX_CERTCTL_RETRY;
            entry->changed = changed;
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
    name = (const char *) entry->node.str.data;

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
 * A writer that was killed between rename and counter has changed no counter:
 * so each file is checked once a minute.
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
ngx_certctl_entry_place(ngx_certctl_cache_t *cache, ngx_certctl_entry_t *entry)
{
    ngx_queue_t         *q;
    ngx_certctl_list_t  *list;

    if (entry->list) {
        ngx_queue_remove(&entry->queue);
        entry->list->n--;
    }

    list = &cache->lists[entry->stored[CERTCTL_KIND_ECDSA]
                         || entry->stored[CERTCTL_KIND_RSA]];

    entry->list = list;
    ngx_queue_insert_head(&list->queue, &entry->queue);

    if (++list->n > list->max) {
        q = ngx_queue_last(&list->queue);
        ngx_certctl_entry_free(cache,
                               ngx_queue_data(q, ngx_certctl_entry_t, queue));
    }
}


ngx_certctl_stored_t **
ngx_certctl_lookup(ngx_certctl_t *certctl, ngx_str_t *name, ngx_uint_t record)
{
    time_t                now;
    uint32_t              hash;
    ngx_certctl_cache_t  *cache;
    ngx_certctl_entry_t  *entry;

    if (certctl->store == NULL || name->len > CERTCTL_NAME_MAX) {
        return NULL;
    }

    now = ngx_time();
    cache = certctl->cache;
    hash = ngx_crc32_short(name->data, name->len);

    entry = (ngx_certctl_entry_t *)
                ngx_str_rbtree_lookup(&cache->trees[record], name, hash);

    if (entry == NULL) {
        entry = ngx_certctl_entry_create(cache, name, hash, record);
        if (entry == NULL) {
            return NULL;
        }
    }

    if (!ngx_certctl_entry_fresh(cache, entry, now)) {
        ngx_certctl_entry_read(cache, entry, now);
    }

    ngx_certctl_entry_place(cache, entry);

    return entry->stored;
}


void
ngx_certctl_ref(ngx_certctl_stored_t *stored)
{
    stored->refs++;
}


void
ngx_certctl_unref(ngx_certctl_t *certctl, ngx_certctl_stored_t *stored)
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
