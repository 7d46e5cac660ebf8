
/*
 * What a worker says of itself in the zone: ngx_http_certctl_worker.c.
 */

#ifndef _NGX_HTTP_CERTCTL_WORKER_H_INCLUDED_
#define _NGX_HTTP_CERTCTL_WORKER_H_INCLUDED_


#include "ngx_http_certctl_module.h"


/* Says it from now on, until the worker ends. */
ngx_int_t ngx_http_certctl_worker_init(ngx_cycle_t *cycle);

/* Says it now; event loop. */
void ngx_http_certctl_worker_look(ngx_certctl_zone_t *zone);

/* Whether the worker's last look, of the last seconds, saw generation or a
   later one.  Any thread. */
ngx_uint_t ngx_http_certctl_worker_at(ngx_certctl_worker_t *worker,
    ngx_atomic_uint_t generation);


#endif /* _NGX_HTTP_CERTCTL_WORKER_H_INCLUDED_ */
