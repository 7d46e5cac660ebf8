
/*
 * The shared zone's counters: each function is a few atomic operations, so it
 * may be called in any process and on any thread.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "zone/zone.h"


#define NGX_CERTCTL_NAME_MAX  253
#define NGX_CERTCTL_PROBES    8


ngx_atomic_t *
ngx_certctl_zone_counter(ngx_certctl_zone_t *zone, u_char *name, size_t len)
{
    u_char  lower[NGX_CERTCTL_NAME_MAX];

    len = ngx_min(len, NGX_CERTCTL_NAME_MAX);
    ngx_strlow(lower, name, len);

    return &zone->counters[ngx_murmur_hash2(lower, len)
                           & (NGX_CERTCTL_COUNTERS - 1)];
}


void
ngx_certctl_zone_invalidate(ngx_certctl_zone_t *zone, u_char *name, size_t len)
{
    ngx_memory_barrier();

    (void) ngx_atomic_fetch_add(ngx_certctl_zone_counter(zone, name, len), 1);
    (void) ngx_atomic_fetch_add(&zone->generation, 1);
}


void
ngx_certctl_zone_invalidate_all(ngx_certctl_zone_t *zone)
{
    ngx_uint_t  i;

    ngx_memory_barrier();

    for (i = 0; i < NGX_CERTCTL_COUNTERS; i++) {
        (void) ngx_atomic_fetch_add(&zone->counters[i], 1);
    }

    (void) ngx_atomic_fetch_add(&zone->generation, 1);
}


/* The place of the certificate, which has its tag; else the one to be taken:
   that of the certificate that was served longest ago. */

static ngx_certctl_use_t *
ngx_certctl_zone_find(ngx_certctl_zone_t *zone, const u_char *digest,
    ngx_atomic_uint_t *tag)
{
    ngx_uint_t          i;
    ngx_certctl_use_t  *use, *oldest;

    ngx_memcpy(tag, digest, sizeof(*tag));

    *tag = *tag ? *tag : 1;
    oldest = NULL;

    for (i = 0; i < NGX_CERTCTL_PROBES; i++) {
        use = &zone->uses[(*tag + i) & (NGX_CERTCTL_USES - 1)];

        if (use->tag == *tag) {
            return use;
        }

        if (oldest == NULL || use->last < oldest->last) {
            oldest = use;
        }
    }

    return oldest;
}


void
ngx_certctl_zone_use(ngx_certctl_zone_t *zone, const u_char *digest,
    time_t now)
{
    ngx_atomic_uint_t   tag, old;
    ngx_certctl_use_t  *use;

    use = ngx_certctl_zone_find(zone, digest, &tag);
    old = use->tag;

    if (old != tag) {

        if (!ngx_atomic_cmp_set(&use->tag, old, tag)) {
            /* another worker took the slot: this handshake is not counted */
            return;
        }

        use->handshakes = 0;
    }

    (void) ngx_atomic_fetch_add(&use->handshakes, 1);
    use->last = now;
}


void
ngx_certctl_zone_used(ngx_certctl_zone_t *zone, const u_char *digest,
    uint64_t *handshakes, time_t *last)
{
    ngx_atomic_uint_t   tag;
    ngx_certctl_use_t  *use;

    use = ngx_certctl_zone_find(zone, digest, &tag);

    *handshakes = (use->tag == tag) ? use->handshakes : 0;
    *last = (use->tag == tag) ? (time_t) use->last : 0;
}
