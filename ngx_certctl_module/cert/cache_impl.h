
/* What the cache's own files share: its entries, by the names asked for. */

#ifndef _NGX_CERTCTL_CACHE_IMPL_H_INCLUDED_
#define _NGX_CERTCTL_CACHE_IMPL_H_INCLUDED_


#include "cert/cache.h"
#include "cert/parse.h"


/* A letter no name has, before the names of records. */
#define NGX_CERTCTL_RECORD_MARK  '='


typedef struct {
    ngx_queue_t            queue;           /* most recently used first */
    ngx_uint_t             n;
    ngx_uint_t             max;
} ngx_certctl_list_t;


struct ngx_certctl_entry_s {
    ngx_str_node_t         node;            /* key: mark and name; first */
    ngx_queue_t            queue;
    ngx_certctl_list_t    *list;            /* NULL: in no cache */
    ngx_str_t              name;            /* NUL-terminated */
    unsigned               record:1;
    unsigned               told:1;          /* to look, and could not yet */

    ngx_atomic_t          *counter;
    ngx_atomic_uint_t      seen;            /* of it, before the last look */
    time_t                 checked;

    ngx_certctl_stored_t  *stored[CERTCTL_KINDS];
};


struct ngx_certctl_cache_s {
    ngx_certctl_t         *certctl;
    ngx_rbtree_t           tree;
    ngx_rbtree_node_t      sentinel;
    ngx_certctl_list_t     known;
    ngx_certctl_list_t     unknown;
    ngx_certctl_parser_t   parser;
};


/* Writes the key of name to key->data, and returns its hash. */
uint32_t ngx_certctl_entry_key(ngx_str_t *key, ngx_str_t *name,
    ngx_uint_t record);
ngx_certctl_entry_t *ngx_certctl_entry_find(ngx_certctl_cache_t *cache,
    ngx_str_t *key, uint32_t hash);

/* Moves entry to the head of the list it belongs to, whose last makes room. */
void ngx_certctl_entry_place(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry);
void ngx_certctl_entry_free(ngx_certctl_cache_t *cache,
    ngx_certctl_entry_t *entry);


#endif /* _NGX_CERTCTL_CACHE_IMPL_H_INCLUDED_ */
