
/*
 * Rotates the store's session ticket keys: one of the workers makes the next
 * key on a thread, long before it is used.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"
#include "tls/ticket_keys.h"


#define NGX_HTTP_CERTCTL_ROTATE_CHECK  1000    /* milliseconds */

/* Seconds in which the worker that tries may succeed, or be killed. */
#define NGX_HTTP_CERTCTL_ROTATE_RETRY  10


/* Of this worker. */

static struct {
    ngx_http_certctl_main_conf_t  *mcf;
    ngx_event_t                    timer;
    ngx_connection_t               dummy;
    ngx_thread_task_t              task;
} ngx_http_certctl_rotate;


static ngx_uint_t
ngx_http_certctl_rotate_due(ngx_certctl_t *certctl)
{
    return certctl->tickets == NULL
           || certctl_ticket_set_due(certctl->tickets, ngx_time(),
                                     certctl->ticket_interval);
}


/* Whether this worker is to do it: 1 for one of them. */

static ngx_uint_t
ngx_http_certctl_rotate_take(ngx_certctl_zone_t *zone)
{
    time_t             now, ago;
    ngx_atomic_uint_t  tried;

    now = ngx_time();
    tried = zone->tickets_tried;
    ago = now - (time_t) tried;

    return (ago < 0 || ago >= NGX_HTTP_CERTCTL_ROTATE_RETRY)
           && ngx_atomic_cmp_set(&zone->tickets_tried, tried, now);
}


static void
ngx_http_certctl_rotate_thread(void *data, ngx_log_t *log)
{
    ngx_certctl_ticket_keys_rotate(&ngx_http_certctl_rotate.mcf->certctl, 0,
                                   ngx_cycle->log);
    ngx_http_certctl_thread_end();
}


/* What failed is tried again later, by any worker. */

static void
ngx_http_certctl_rotate_event(ngx_event_t *ev)
{
    ngx_certctl_t  *certctl;

    certctl = &ngx_http_certctl_rotate.mcf->certctl;

    ngx_certctl_ticket_keys_update(certctl);

    if (!ngx_http_certctl_rotate_due(certctl)) {
        certctl->zone->tickets_tried = 0;
    }
}


static void
ngx_http_certctl_rotate_timer(ngx_event_t *ev)
{
    ngx_http_certctl_main_conf_t  *mcf;

    if (ngx_exiting) {
        return;
    }

    mcf = ngx_http_certctl_rotate.mcf;

    if (!ngx_http_certctl_rotate.task.event.active
        && ngx_http_certctl_rotate_due(&mcf->certctl)
        && ngx_http_certctl_rotate_take(mcf->certctl.zone))
    {
        (void) ngx_http_certctl_thread_post(mcf->thread_pool,
                                            &ngx_http_certctl_rotate.task);
    }

    ngx_add_timer(ev, NGX_HTTP_CERTCTL_ROTATE_CHECK);
}


void
ngx_http_certctl_ticket_keys_worker(ngx_cycle_t *cycle,
    ngx_http_certctl_main_conf_t *mcf)
{
    ngx_event_t        *ev;
    ngx_thread_task_t  *task;

    if (!mcf->certctl.ticket_keys
        || mcf->certctl.zone == NULL
        || mcf->thread_pool == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return;
    }

    ngx_http_certctl_rotate.mcf = mcf;

    task = &ngx_http_certctl_rotate.task;
    task->handler = ngx_http_certctl_rotate_thread;
    task->event.handler = ngx_http_certctl_rotate_event;
    task->event.log = cycle->log;

    ngx_http_certctl_rotate.dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_certctl_rotate.timer;
    ev->handler = ngx_http_certctl_rotate_timer;
    ev->data = &ngx_http_certctl_rotate.dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_CERTCTL_ROTATE_CHECK);
}
