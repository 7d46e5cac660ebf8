
/*
 * Each worker says twice a second which generation of the store it goes by, so
 * that a report can prove it of all of them, idle ones too.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_certctl_sessions.h"
#include "ngx_certctl_worker.h"


#define NGX_CERTCTL_WORKER_LOOK  500     /* milliseconds */
#define NGX_CERTCTL_WORKER_STUCK 10      /* seconds without a look */
#define NGX_CERTCTL_WORKER_LAST  200     /* milliseconds for threads to end */


static ngx_uint_t ngx_certctl_worker_alone(void);
static void ngx_certctl_worker_timer(ngx_event_t *ev);


static ngx_event_t       ngx_certctl_worker_event;
static ngx_connection_t  ngx_certctl_worker_dummy;
static ngx_certctl_t    *ngx_certctl_worker_of;


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

    ev = &ngx_certctl_worker_event;

    /* a single process comes here again at each reload */

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_certctl_worker_dummy.fd = (ngx_socket_t) -1;

    ev->handler = ngx_certctl_worker_timer;
    ev->data = &ngx_certctl_worker_dummy;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_certctl_worker_of = certctl;

    ngx_certctl_worker_timer(ev);

    return NGX_OK;
}


/*
 * NGINX does not wait until a thread that it dismisses is gone.  Such a thread
 * still frees what OpenSSL has kept for it, and so does OpenSSL for all threads
 * as the process ends: both at once is a double free.
 */

void
ngx_certctl_worker_exit(void)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_CERTCTL_WORKER_LAST; i++) {

        if (ngx_certctl_worker_alone()) {
            return;
        }

        ngx_msleep(1);
    }
}


/* Without /proc, and with other modules' threads, nobody is waited for long. */

static ngx_uint_t
ngx_certctl_worker_alone(void)
{
    struct stat  st;

    /* ".", "..", and a folder for each thread */

    return stat("/proc/self/task", &st) != 0 || st.st_nlink <= 3;
}


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


ngx_uint_t
ngx_certctl_worker_at(ngx_certctl_worker_t *worker,
    ngx_atomic_uint_t generation)
{
    time_t  ago;

    ago = time(NULL) - (time_t) worker->looked;

    return worker->pid && worker->generation >= generation
           && ago <= NGX_CERTCTL_WORKER_STUCK;
}


static void
ngx_certctl_worker_timer(ngx_event_t *ev)
{
    if (ngx_exiting) {
        return;
    }

    ngx_certctl_worker_look(ngx_certctl_worker_of->zone);
    ngx_certctl_sessions_look(ngx_certctl_worker_of);
    ngx_add_timer(ev, NGX_CERTCTL_WORKER_LOOK);
}
