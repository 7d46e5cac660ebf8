
/*
 * Each worker writes twice a second to the zone which generation of the store
 * it has read, idle workers too: status reports it.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/sessions.h"
#include "tls/ticket_keys.h"
#include "tls/trust.h"
#include "tls/worker.h"


#define NGX_CERTCTL_WORKER_INTERVAL  500    /* milliseconds */
#define NGX_CERTCTL_WORKER_TIMEOUT   10     /* seconds without an update */


static ngx_event_t       ngx_certctl_worker_event;
static ngx_connection_t  ngx_certctl_worker_dummy;
static ngx_certctl_t    *ngx_certctl_worker_of;


void
ngx_certctl_worker_update(ngx_certctl_zone_t *zone)
{
    ngx_certctl_worker_t  *worker;

    /* the place of a worker that is shutting down is its successor's */

    if (ngx_worker >= NGX_CERTCTL_WORKERS || ngx_exiting) {
        return;
    }

    worker = &zone->workers[ngx_worker];

    worker->pid = ngx_pid;
    worker->generation = zone->generation;
    worker->last_active = ngx_time();
}


static void
ngx_certctl_worker_timer(ngx_event_t *ev)
{
    if (ngx_exiting) {
        return;
    }

    ngx_certctl_worker_update(ngx_certctl_worker_of->zone);
    ngx_certctl_sessions_update(ngx_certctl_worker_of);
    ngx_certctl_ticket_keys_update(ngx_certctl_worker_of);
    ngx_certctl_trust_update(ngx_certctl_worker_of);
    ngx_add_timer(ev, NGX_CERTCTL_WORKER_INTERVAL);
}


ngx_int_t
ngx_certctl_worker_init(ngx_cycle_t *cycle, ngx_certctl_t *certctl)
{
    ngx_event_t  *ev;

    /* the cache manager is a process without connections */

    if (certctl->zone == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    /* this worker may replace one that was killed during a write */

    if (certctl->store) {
        certctl_store_heal(certctl->store);
        ngx_certctl_sessions_init(certctl, NULL);
    }

    ngx_certctl_challenge_recover(&certctl->zone->challenges);

    ev = &ngx_certctl_worker_event;

    ngx_certctl_worker_dummy.fd = (ngx_socket_t) -1;

    ev->handler = ngx_certctl_worker_timer;
    ev->data = &ngx_certctl_worker_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_certctl_worker_of = certctl;

    ngx_certctl_worker_timer(ev);

    return NGX_OK;
}


ngx_uint_t
ngx_certctl_worker_at(ngx_certctl_worker_t *worker,
    ngx_atomic_uint_t generation)
{
    time_t  ago;

    ago = time(NULL) - (time_t) worker->last_active;

    return worker->pid && worker->generation >= generation
           && ago <= NGX_CERTCTL_WORKER_TIMEOUT;
}
