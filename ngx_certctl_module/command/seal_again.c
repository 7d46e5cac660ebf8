
/*
 * When seal.key has been replaced: one of the workers seals again what the key
 * before has sealed, on a thread.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "command/command.h"


#define NGX_HTTP_CERTCTL_RESEAL_CHECK  1000    /* milliseconds */

/* Seconds after which another worker goes on: the one before was killed. */
#define NGX_HTTP_CERTCTL_RESEAL_RETRY  10


/* Of this worker. */

static struct {
    ngx_http_certctl_main_conf_t  *mcf;
    ngx_event_t                    timer;
    ngx_connection_t               dummy;
    ngx_thread_task_t              task;
    size_t                         done;
    size_t                         left;
} ngx_http_certctl_reseal;


/* After each file, on the thread. */

static void
ngx_http_certctl_reseal_step(void)
{
    ngx_http_certctl_reseal.mcf->certctl.zone->reseal_tried = time(NULL);
    ngx_http_certctl_yield_to_loop();
}


static void
ngx_http_certctl_reseal_thread(void *data, ngx_log_t *log)
{
    ngx_http_certctl_reseal.left =
            certctl_store_reseal(ngx_http_certctl_reseal.mcf->certctl.store,
                                 ngx_http_certctl_reseal_step,
                                 &ngx_http_certctl_reseal.done);
    ngx_http_certctl_thread_end();
}


static void
ngx_http_certctl_reseal_event(ngx_event_t *ev)
{
    ngx_certctl_t  *certctl;

    certctl = &ngx_http_certctl_reseal.mcf->certctl;

    if (ngx_http_certctl_reseal.left) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: %uz files cannot be sealed with the new key, "
                      "seal.old is needed on", ngx_http_certctl_reseal.left);
        return;
    }

    certctl->zone->resealed = certctl->number;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "certctl: %uz files are sealed with the new key, nothing "
                  "needs seal.old: run \"certctl store rotate\" again",
                  ngx_http_certctl_reseal.done);
}


/* Whether this worker is to do it: 1 for one of them. */

static ngx_uint_t
ngx_http_certctl_reseal_take(ngx_certctl_t *certctl)
{
    time_t               ago;
    ngx_atomic_uint_t    tried;
    ngx_certctl_zone_t  *zone;

    zone = certctl->zone;
    tried = zone->reseal_tried;
    ago = ngx_time() - (time_t) tried;

    return zone->resealed != certctl->number
           && (ago < 0 || ago >= NGX_HTTP_CERTCTL_RESEAL_RETRY)
           && ngx_atomic_cmp_set(&zone->reseal_tried, tried, ngx_time());
}


static void
ngx_http_certctl_reseal_timer(ngx_event_t *ev)
{
    ngx_http_certctl_main_conf_t  *mcf;

    mcf = ngx_http_certctl_reseal.mcf;

    if (ngx_exiting || mcf->certctl.zone->resealed == mcf->certctl.number) {
        return;
    }

    if (!ngx_http_certctl_reseal.task.event.active
        && ngx_http_certctl_reseal_take(&mcf->certctl))
    {
        (void) ngx_http_certctl_thread_post(mcf->thread_pool,
                                            &ngx_http_certctl_reseal.task);
    }

    ngx_add_timer(ev, NGX_HTTP_CERTCTL_RESEAL_CHECK);
}


void
ngx_http_certctl_reseal_worker(ngx_cycle_t *cycle,
    ngx_http_certctl_main_conf_t *mcf)
{
    ngx_event_t        *ev;
    ngx_thread_task_t  *task;

    if (mcf->certctl.zone == NULL
        || mcf->certctl.store == NULL
        || mcf->thread_pool == NULL
        || !certctl_store_has_old_key(mcf->certctl.store)
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return;
    }

    ngx_http_certctl_reseal.mcf = mcf;

    task = &ngx_http_certctl_reseal.task;
    task->handler = ngx_http_certctl_reseal_thread;
    task->event.handler = ngx_http_certctl_reseal_event;
    task->event.log = cycle->log;

    ngx_http_certctl_reseal.dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_certctl_reseal.timer;
    ev->handler = ngx_http_certctl_reseal_timer;
    ev->data = &ngx_http_certctl_reseal.dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_CERTCTL_RESEAL_CHECK);
}
