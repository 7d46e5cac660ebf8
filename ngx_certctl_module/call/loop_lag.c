
/*
 * How late a worker's event loop is while there are control requests: a timer
 * of one millisecond that is set only then.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"


#define NGX_HTTP_CERTCTL_LAG_TIMER  1        /* milliseconds */
#define NGX_HTTP_CERTCTL_LAG_STALL  5000     /* microseconds */

/* How late the loop is when threads yield to it, and for how long. */
#define NGX_HTTP_CERTCTL_LAG_YIELD  1000     /* microseconds */
#define NGX_HTTP_CERTCTL_LAG_STEP   200
#define NGX_HTTP_CERTCTL_LAG_STEPS  25


static ngx_event_t            ngx_http_certctl_lag_event;
static ngx_connection_t       ngx_http_certctl_lag_dummy;
static ngx_certctl_worker_t  *ngx_http_certctl_lag_worker;
static ngx_atomic_t           ngx_http_certctl_lag_calls;
static ngx_atomic_t           ngx_http_certctl_lag_last;


/* Microseconds since some moment. */

static ngx_atomic_uint_t
ngx_http_certctl_lag_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_atomic_uint_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* Only this worker writes to its entry. */

static void
ngx_http_certctl_lag_measure(void)
{
    ngx_atomic_uint_t      now, late;
    ngx_certctl_worker_t  *worker;

    worker = ngx_http_certctl_lag_worker;
    now = ngx_http_certctl_lag_now();

    late = now - ngx_http_certctl_lag_last;
    late -= ngx_min(late, NGX_HTTP_CERTCTL_LAG_TIMER * 1000);

    ngx_http_certctl_lag_last = now;

    if (late > worker->max_lag) {
        worker->max_lag = late;
    }

    if (late > NGX_HTTP_CERTCTL_LAG_STALL) {
        worker->stalls++;
    }
}


static void
ngx_http_certctl_lag_timer(ngx_event_t *ev)
{
    ngx_http_certctl_lag_measure();

    if (ngx_http_certctl_lag_calls) {
        ngx_add_timer(ev, NGX_HTTP_CERTCTL_LAG_TIMER);
    }
}


void
ngx_http_certctl_lag_begin(ngx_certctl_zone_t *zone)
{
    ngx_event_t  *ev;

    if (zone == NULL || ngx_worker >= NGX_CERTCTL_WORKERS
        || ngx_http_certctl_lag_calls++ > 0)
    {
        return;
    }

    ev = &ngx_http_certctl_lag_event;

    /* the entry may be of a worker that has ended */

    if (ngx_http_certctl_lag_worker == NULL) {
        ngx_http_certctl_lag_worker = &zone->workers[ngx_worker];
        ngx_http_certctl_lag_worker->max_lag = 0;
        ngx_http_certctl_lag_worker->stalls = 0;

        ngx_http_certctl_lag_dummy.fd = (ngx_socket_t) -1;

        ev->handler = ngx_http_certctl_lag_timer;
        ev->data = &ngx_http_certctl_lag_dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;
    }

    ngx_http_certctl_lag_last = ngx_http_certctl_lag_now();
    ngx_add_timer(ev, NGX_HTTP_CERTCTL_LAG_TIMER);
}


void
ngx_http_certctl_lag_end(void)
{
    if (ngx_http_certctl_lag_calls == 0 || --ngx_http_certctl_lag_calls > 0) {
        return;
    }

    ngx_http_certctl_lag_measure();

    if (ngx_http_certctl_lag_event.timer_set) {
        ngx_del_timer(&ngx_http_certctl_lag_event);
    }
}


/*
 * On SIGTERM a worker waits for its threads, and the master kills it after a
 * second: they should end before.  On SIGQUIT it completes its requests, but a
 * single process does not.
 */

ngx_uint_t
ngx_http_certctl_is_terminating(void)
{
    return ngx_terminate || (ngx_quit && ngx_process == NGX_PROCESS_SINGLE);
}


/*
 * The scheduler treats a loop that wakes up and a thread that computes alike:
 * without this the loop waits until the thread has had its time slice.
 */

void
ngx_http_certctl_yield_to_loop(void)
{
    ngx_uint_t         i;
    struct timespec    step;
    ngx_atomic_uint_t  passed;

    step.tv_sec = 0;
    step.tv_nsec = NGX_HTTP_CERTCTL_LAG_STEP * 1000;

    for (i = 0; i < NGX_HTTP_CERTCTL_LAG_STEPS; i++) {

        /* without requests in progress nothing is measured */

        if (ngx_http_certctl_lag_calls == 0
            || ngx_http_certctl_is_terminating())
        {
            return;
        }

        passed = ngx_http_certctl_lag_now() - ngx_http_certctl_lag_last;

        if (passed < NGX_HTTP_CERTCTL_LAG_TIMER * 1000
                     + NGX_HTTP_CERTCTL_LAG_YIELD)
        {
            return;
        }

        (void) nanosleep(&step, NULL);
    }
}
