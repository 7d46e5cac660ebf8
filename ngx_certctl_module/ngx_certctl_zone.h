
/*
 * The shared zone: 65,536 generation counters, lock-free, and what the report
 * counts.  A worker killed anywhere leaves nothing locked.
 */

#ifndef _NGX_CERTCTL_ZONE_H_INCLUDED_
#define _NGX_CERTCTL_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_CERTCTL_COUNTERS  65536       /* a power of two */
#define NGX_CERTCTL_WORKERS   1024


typedef struct {
    ngx_atomic_t  generation;             /* grows with each commit */
    ngx_atomic_t  epoch;                  /* differs between two starts */
    ngx_atomic_t  commits;
    ngx_atomic_t  rejects;                /* control requests that changed
                                             nothing, 4xx */
    ngx_atomic_t  errors;                 /* records that could not be read */
    ngx_atomic_t  handshakes;
    ngx_atomic_t  staples;                /* handshakes that carried one */

    /* the generation that each worker has last looked at */
    ngx_atomic_t  workers[NGX_CERTCTL_WORKERS];

    ngx_atomic_t  counters[NGX_CERTCTL_COUNTERS];
} ngx_certctl_zone_t;


/* Counter of a DNS or IP name; letter case does not matter. */
ngx_atomic_t *ngx_certctl_zone_counter(ngx_certctl_zone_t *zone, u_char *name,
    size_t len);

/* A name's answer has changed: what workers keep of it is old from now on. */
void ngx_certctl_zone_touch(ngx_certctl_zone_t *zone, u_char *name,
    size_t len);


#endif /* _NGX_CERTCTL_ZONE_H_INCLUDED_ */
