
/*
 * The state of a worker in the zone: tls/worker.c.
 */

#ifndef _NGX_CERTCTL_WORKER_H_INCLUDED_
#define _NGX_CERTCTL_WORKER_H_INCLUDED_


#include "cert/certctl.h"


/* Starts the updates, until the worker exits. */
ngx_int_t ngx_certctl_worker_init(ngx_cycle_t *cycle,
    ngx_certctl_t *certctl);

/* Writes this worker's state to the zone; event loop. */
void ngx_certctl_worker_update(ngx_certctl_zone_t *zone);

/* Whether the worker has read generation or a later one, in the last seconds.
   Any thread. */
ngx_uint_t ngx_certctl_worker_at(ngx_certctl_worker_t *worker,
    ngx_atomic_uint_t generation);


#endif /* _NGX_CERTCTL_WORKER_H_INCLUDED_ */
