
/*
 * A worker's parsed copies of what is in the store, by the names clients ask
 * for: cert/cache.c.  Event loop only.
 */

#ifndef _NGX_CERTCTL_CACHE_H_INCLUDED_
#define _NGX_CERTCTL_CACHE_H_INCLUDED_


#include "cert/certctl.h"
#include "cert/parse.h"


/* With facts it is for reports: of many more records, what they say of
   themselves, but nothing that could be served (see facts of the parser). */
ngx_certctl_cache_t *ngx_certctl_cache_create(ngx_conf_t *cf,
    ngx_certctl_t *certctl, ngx_uint_t facts);
void ngx_certctl_cache_destroy(ngx_certctl_cache_t *cache);

/*
 * What the store has for name, a DNS or IP name in lower case, or with record
 * set the name of a record: an array of CERTCTL_KINDS, each NULL when there is
 * none.  Borrowed until the second next call.  Reads a file only when the
 * name's counter has changed or the copy was not checked for a minute.
 */
ngx_certctl_stored_t **ngx_certctl_lookup(ngx_certctl_t *certctl,
    ngx_str_t *name, ngx_uint_t record);

/* One more, or one less, reference to a parsed record. */
void ngx_certctl_ref(ngx_certctl_stored_t *stored);
void ngx_certctl_unref(ngx_certctl_t *certctl, ngx_certctl_stored_t *stored);


#endif /* _NGX_CERTCTL_CACHE_H_INCLUDED_ */
