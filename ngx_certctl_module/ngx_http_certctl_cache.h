
/*
 * A worker's parsed copies of what is in the store, by the names clients ask
 * for: ngx_http_certctl_cache.c.  Event loop only.
 */

#ifndef _NGX_HTTP_CERTCTL_CACHE_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_CACHE_H_INCLUDED_


#include "ngx_http_certctl_module.h"
#include "ngx_http_certctl_parse.h"


ngx_http_certctl_cache_t *ngx_http_certctl_cache_create(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);

/* The same for reports: of many more records, what they say of themselves, but
   nothing that could be served (see facts of the parser). */
ngx_http_certctl_cache_t *ngx_http_certctl_cache_facts(ngx_conf_t *cf,
    ngx_http_certctl_main_conf_t *mcf);

void ngx_http_certctl_cache_destroy(ngx_http_certctl_cache_t *cache);

/*
 * What the store has for name, a DNS or IP name in lower case, or with record
 * set the name of a record: an array of CERTCTL_KINDS, each NULL when there is
 * none.  Borrowed until the second next call.  Reads a file only when the
 * name's counter has moved or the copy was not looked at for a minute.
 */
ngx_http_certctl_stored_t **ngx_http_certctl_lookup(
    ngx_http_certctl_main_conf_t *mcf, ngx_str_t *name, ngx_uint_t record);

/* One more, or one less, holder of a parsed record. */
void ngx_http_certctl_hold(ngx_http_certctl_stored_t *stored);
void ngx_http_certctl_unhold(ngx_http_certctl_main_conf_t *mcf,
    ngx_http_certctl_stored_t *stored);


#endif /* _NGX_HTTP_CERTCTL_CACHE_H_INCLUDED_ */
