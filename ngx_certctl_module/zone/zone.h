
/*
 * The shared zone: 65,536 generation counters, lock-free, and what the report
 * counts.  A worker killed anywhere leaves nothing locked.
 */

#ifndef _NGX_CERTCTL_ZONE_H_INCLUDED_
#define _NGX_CERTCTL_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "zone/challenge.h"


#define NGX_CERTCTL_COUNTERS  65536       /* a power of two */
#define NGX_CERTCTL_WORKERS   1024
#define NGX_CERTCTL_USES      32768       /* a power of two */


/* How often one certificate was served.  A certificate is known by the first
   eight bytes of its fingerprint; 0: free. */

typedef struct {
    ngx_atomic_t  tag;
    ngx_atomic_t  handshakes;
    ngx_atomic_t  last;                   /* seconds since 1970 */
} ngx_certctl_use_t;


/* The state of a worker, written at each handshake and twice a second, so that
   a worker that hangs differs from an idle one. */

typedef struct {
    ngx_atomic_t  pid;
    ngx_atomic_t  generation;             /* of the store, last seen */
    ngx_atomic_t  last_active;            /* seconds since 1970 */
    ngx_atomic_t  sessions;               /* the epoch that it follows */
    ngx_atomic_t  max_lag;                /* longest delay of its event loop
                                             while control requests were in
                                             progress, in microseconds */
    ngx_atomic_t  stalls;                 /* delays of more than 5 ms */
} ngx_certctl_worker_t;


typedef struct {
    ngx_atomic_t  generation;             /* grows with each commit */
    ngx_atomic_t  epoch;                  /* differs between two starts */
    ngx_atomic_t  configurations;         /* read since the start: 1, and one
                                             for each reload */
    ngx_atomic_t  commits;
    ngx_atomic_t  swaps;                  /* commits that replaced the
                                             certificate */
    ngx_atomic_t  rejects;                /* control requests that changed
                                             nothing, 4xx */
    ngx_atomic_t  errors;                 /* records that could not be read */
    ngx_atomic_t  handshakes;
    ngx_atomic_t  staples;                /* handshakes that carried one */

    ngx_atomic_t  sessions;               /* epoch of the last flush, in
                                             us since 1970; 0: none */

    ngx_atomic_t  tickets;                /* sets of session ticket keys that
                                             were written */
    ngx_atomic_t  tickets_tried;          /* when a worker began to, in seconds
                                             since 1970 */

    ngx_atomic_t  trusts;                 /* sets of CAs that controllers have
                                             sent */

    ngx_certctl_worker_t  workers[NGX_CERTCTL_WORKERS];

    ngx_atomic_t  counters[NGX_CERTCTL_COUNTERS];

    ngx_certctl_use_t  uses[NGX_CERTCTL_USES];

    ngx_certctl_challenges_t  challenges;
} ngx_certctl_zone_t;


/* Counter of a DNS or IP name; letter case does not matter. */
ngx_atomic_t *ngx_certctl_zone_counter(ngx_certctl_zone_t *zone, u_char *name,
    size_t len);

/* Workers read the records of name again at its next handshake. */
void ngx_certctl_zone_invalidate(ngx_certctl_zone_t *zone, u_char *name,
    size_t len);

/* The same for every name. */
void ngx_certctl_zone_invalidate_all(ngx_certctl_zone_t *zone);

/*
 * Counts a handshake with the certificate of this SHA-256 digest, and reads its
 * count.  The table is bounded: a new certificate replaces the one that was
 * served longest ago, whose count is lost.
 */
void ngx_certctl_zone_use(ngx_certctl_zone_t *zone, const u_char *digest,
    time_t now);
void ngx_certctl_zone_used(ngx_certctl_zone_t *zone, const u_char *digest,
    uint64_t *handshakes, time_t *last);


#endif /* _NGX_CERTCTL_ZONE_H_INCLUDED_ */
