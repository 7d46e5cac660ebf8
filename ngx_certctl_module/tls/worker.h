
/*
 * What a worker says of itself in the zone: tls/worker.c.
 */

#ifndef _NGX_CERTCTL_WORKER_H_INCLUDED_
#define _NGX_CERTCTL_WORKER_H_INCLUDED_


#include "cert/certctl.h"


/* Says it from now on, until the worker ends. */
ngx_int_t ngx_certctl_worker_init(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl);

/* Says it now; event loop. */
void ngx_certctl_worker_look(ngx_certctl_zone_t *zone);

/* Whether the worker's last look, of the last seconds, saw generation or a
   later one.  Any thread. */
ngx_uint_t ngx_certctl_worker_at(ngx_certctl_worker_t *worker,
    ngx_atomic_uint_t generation);


#endif /* _NGX_CERTCTL_WORKER_H_INCLUDED_ */
