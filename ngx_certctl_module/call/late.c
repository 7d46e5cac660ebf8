
/*
 * How late a worker's event loop is while there are control requests: a timer
 * of one millisecond that is set only then.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


#define NGX_HTTP_CERTCTL_LATE_LOOK   1        /* milliseconds */
#define NGX_HTTP_CERTCTL_LATE_STALL  5000     /* microseconds */

/* When threads give way to an event loop that is late, and how long. */
#define NGX_HTTP_CERTCTL_LATE_WAY    1000     /* microseconds */
#define NGX_HTTP_CERTCTL_LATE_STEP   200
#define NGX_HTTP_CERTCTL_LATE_STEPS  25


static ngx_event_t            ngx_http_certctl_late_event;
static ngx_connection_t       ngx_http_certctl_late_dummy;
static ngx_certctl_worker_t  *ngx_http_certctl_late_worker;
static ngx_atomic_t           ngx_http_certctl_late_calls;
static ngx_atomic_t           ngx_http_certctl_late_last;


/* Microseconds: of interest is how many have passed. */

static ngx_atomic_uint_t
ngx_http_certctl_late_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_atomic_uint_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* Only this worker writes its place. */

static void
ngx_http_certctl_late_look(void)
{
    ngx_atomic_uint_t      now, late;
    ngx_certctl_worker_t  *worker;

    worker = ngx_http_certctl_late_worker;
    now = ngx_http_certctl_late_now();

    late = now - ngx_http_certctl_late_last;
    late -= ngx_min(late, NGX_HTTP_CERTCTL_LATE_LOOK * 1000);

    ngx_http_certctl_late_last = now;

    if (late > worker->late) {
        worker->late = late;
    }

    if (late > NGX_HTTP_CERTCTL_LATE_STALL) {
        worker->stalls++;
    }
}


static void
ngx_http_certctl_late_timer(ngx_event_t *ev)
{
    ngx_http_certctl_late_look();

    if (ngx_http_certctl_late_calls) {
        ngx_add_timer(ev, NGX_HTTP_CERTCTL_LATE_LOOK);
    }
}


void
ngx_http_certctl_late_begin(ngx_certctl_zone_t *zone)
{
    ngx_event_t  *ev;

    if (zone == NULL || ngx_worker >= NGX_CERTCTL_WORKERS
        || ngx_http_certctl_late_calls++ > 0)
    {
        return;
    }

    ev = &ngx_http_certctl_late_event;

    /* the place may have been another worker's before */

    if (ngx_http_certctl_late_worker == NULL) {
        ngx_http_certctl_late_worker = &zone->workers[ngx_worker];
        ngx_http_certctl_late_worker->late = 0;
        ngx_http_certctl_late_worker->stalls = 0;

        ngx_http_certctl_late_dummy.fd = (ngx_socket_t) -1;

        ev->handler = ngx_http_certctl_late_timer;
        ev->data = &ngx_http_certctl_late_dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;
    }

    ngx_http_certctl_late_last = ngx_http_certctl_late_now();
    ngx_add_timer(ev, NGX_HTTP_CERTCTL_LATE_LOOK);
}


void
ngx_http_certctl_late_end(void)
{
    if (ngx_http_certctl_late_calls == 0
        || --ngx_http_certctl_late_calls > 0)
    {
        return;
    }

    ngx_http_certctl_late_look();

    if (ngx_http_certctl_late_event.timer_set) {
        ngx_del_timer(&ngx_http_certctl_late_event);
    }
}


/*
 * Told to end at once, NGINX waits for its threads and has its master kill it
 * after a second: they should be done before.  A worker that is told to quit
 * goes on until all is answered, a single process does not.
 */

ngx_uint_t
ngx_http_certctl_late_over(void)
{
    return ngx_terminate || (ngx_quit && ngx_process == NGX_PROCESS_SINGLE);
}


/*
 * On a thread with much to do, between two small pieces of it.  The scheduler
 * takes a loop that wakes up and a thread that computes for equals: without
 * this the loop waits until the thread has had its share.
 */

void
ngx_http_certctl_late_give_way(void)
{
    ngx_uint_t         i;
    struct timespec    step;
    ngx_atomic_uint_t  passed;

    step.tv_sec = 0;
    step.tv_nsec = NGX_HTTP_CERTCTL_LATE_STEP * 1000;

    for (i = 0; i < NGX_HTTP_CERTCTL_LATE_STEPS; i++) {

        /* between two pieces that a client reads nobody looks how late it is,
           nor does one that is told to end at once */

        if (ngx_http_certctl_late_calls == 0 || ngx_http_certctl_late_over()) {
            return;
        }

        passed = ngx_http_certctl_late_now() - ngx_http_certctl_late_last;

        if (passed < NGX_HTTP_CERTCTL_LATE_LOOK * 1000
                     + NGX_HTTP_CERTCTL_LATE_WAY)
        {
            return;
        }

        (void) nanosleep(&step, NULL);
    }
}
