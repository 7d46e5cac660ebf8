
/*
 * Each worker says twice a second which generation of the store it goes by, so
 * that a report can prove it of all of them, idle ones too.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "tls/sessions.h"
#include "tls/ticket_keys.h"
#include "tls/worker.h"


#define NGX_CERTCTL_WORKER_LOOK  500     /* milliseconds */
#define NGX_CERTCTL_WORKER_STUCK 10      /* seconds without a look */


static ngx_event_t       ngx_certctl_worker_event;
static ngx_connection_t  ngx_certctl_worker_dummy;
static ngx_certctl_t    *ngx_certctl_worker_of;


void
ngx_certctl_worker_look(ngx_certctl_zone_t *zone)
{
    ngx_certctl_worker_t  *worker;

    /* one that only finishes what it has gives its place to its successor */

    if (ngx_worker >= NGX_CERTCTL_WORKERS || ngx_exiting) {
        return;
    }

    worker = &zone->workers[ngx_worker];

    worker->pid = ngx_pid;
    worker->generation = zone->generation;
    worker->looked = ngx_time();
}


static void
ngx_certctl_worker_timer(ngx_event_t *ev)
{
    if (ngx_exiting) {
        return;
    }

    ngx_certctl_worker_look(ngx_certctl_worker_of->zone);
    ngx_certctl_sessions_look(ngx_certctl_worker_of);
    ngx_certctl_ticket_keys_update(ngx_certctl_worker_of);
    ngx_add_timer(ev, NGX_CERTCTL_WORKER_LOOK);
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

    /* what the one that was killed, and that we replace, left half done */

    if (certctl->store) {
        certctl_store_heal(certctl->store);
    }

    ngx_certctl_challenge_recover(&certctl->zone->challenges);
    ngx_certctl_sessions_begin(certctl);

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

    ago = time(NULL) - (time_t) worker->looked;

    return worker->pid && worker->generation >= generation
           && ago <= NGX_CERTCTL_WORKER_STUCK;
}
