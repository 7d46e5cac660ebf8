
/*
 * The life of a control request: made on the event loop, worked on by a
 * thread, answered on the event loop if the client is still there.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "call/call.h"
#include "tls/sessions.h"


/* Milliseconds. */
#define NGX_HTTP_CERTCTL_LAST_STEPS  10


/* Calls of this worker that are with its threads, and what these have not
   finished. */

static ngx_uint_t    ngx_http_certctl_tasks;
static ngx_atomic_t  ngx_http_certctl_threads;


ngx_int_t
ngx_http_certctl_thread_post(ngx_thread_pool_t *tp, ngx_thread_task_t *task)
{
    (void) ngx_atomic_fetch_add(&ngx_http_certctl_threads, 1);

    if (ngx_thread_task_post(tp, task) != NGX_OK) {
        (void) ngx_atomic_fetch_add(&ngx_http_certctl_threads, -1);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * A later task of this thread must not find errors of OpenSSL.  Nor may any
 * other state of OpenSSL be left to the thread's end: a worker that exits does
 * not wait for that, and OpenSSL would free it a second time.
 */

void
ngx_http_certctl_thread_end(void)
{
    OPENSSL_thread_stop();

    (void) ngx_atomic_fetch_add(&ngx_http_certctl_threads, -1);
}


static void
ngx_http_certctl_task_lag_end(ngx_http_certctl_call_t *call)
{
    if (call->lag_measured) {
        call->lag_measured = 0;
        ngx_http_certctl_lag_end();
    }
}


static void
ngx_http_certctl_task_free(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_task_lag_end(call);

    if (call->counter) {
        (*call->counter)--;
    }

    if (call->body) {
        ngx_explicit_memzero(call->body, call->body_len);
        ngx_free(call->body);
    }

    ngx_free(call->arg_text);
    ngx_http_certctl_json_free(&call->json);
    ngx_free(call);
}


/* The request's pool goes: with its thread's work done, the call goes too. */

static void
ngx_http_certctl_task_cleanup(void *data)
{
    ngx_http_certctl_call_t *call = data;

    call->request = NULL;

    if (!call->queued) {
        ngx_http_certctl_task_free(call);
    }
}


ngx_http_certctl_call_t *
ngx_http_certctl_request_create(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_certctl_call_t  *call;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    call = ngx_calloc(sizeof(ngx_http_certctl_call_t), r->connection->log);
    if (call == NULL) {
        return NULL;
    }

    call->request = r;
    call->mcf = ngx_http_get_module_main_conf(r, ngx_http_certctl_module);

    cln->handler = ngx_http_certctl_task_cleanup;
    cln->data = call;

    /* the event loop is measured while there is work for a call, not while a
       client takes its time to read */

    call->lag_measured = 1;
    ngx_http_certctl_lag_begin(call->mcf->certctl.zone);

    ngx_http_set_ctx(r, call, ngx_http_certctl_module);

    return call;
}


static void
ngx_http_certctl_task_answer(ngx_http_certctl_call_t *call)
{
    ngx_http_certctl_task_lag_end(call);

    /* finalizing may free the call */

    ngx_http_finalize_request(call->request,
                              ngx_http_certctl_request_answer(call));
}


static void
ngx_http_certctl_task_thread(void *data, ngx_log_t *log)
{
    ngx_http_certctl_call_t *call = data;

    if (ngx_http_certctl_is_terminating()) {
        ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE,
                                       "NGINX is shutting down");

    } else {
        call->route->work(call);
    }

    if (call->body) {
        ngx_explicit_memzero(call->body, call->body_len);
        call->body_len = 0;                     /* nothing is left to wipe */
    }

    if (call->json.failed) {
        ngx_http_certctl_request_error(call, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                       "no memory for the response");
    }

    ngx_http_certctl_thread_end();
}


/* Counts and logs what has changed, or could not be done; never a body. */

static void
ngx_http_certctl_task_log(ngx_http_certctl_call_t *call)
{
    if (call->done) {
        (void) ngx_atomic_fetch_add(&call->mcf->certctl.zone->commits, 1);

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "certctl: %s: \"%s\" generation:%uL sha256:%s",
                      call->done, call->name, call->generation,
                      call->fingerprint);

    } else if (call->status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, call->err,
                      "certctl: control request failed: \"%s\"",
                      call->name);
    }
}


static void
ngx_http_certctl_task_event(ngx_event_t *ev)
{
    ngx_http_certctl_call_t *call = ev->data;

    ngx_connection_t  *c;

    if (ev->timedout) {
        ev->timedout = 0;
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, 0,
                      "certctl: control request is still running after "
                      "60 seconds");
        ngx_add_timer(ev, 60000);
        return;
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_http_certctl_tasks--;
    call->queued = 0;

    /* before the answer says that sessions are flushed */

    ngx_certctl_sessions_update(&call->mcf->certctl);

    ngx_http_certctl_task_log(call);

    if (call->request == NULL) {
        ngx_http_certctl_task_free(call);
        return;
    }

    c = call->request->connection;

    ngx_http_set_log_request(c->log, call->request);

    ngx_http_certctl_task_answer(call);
    ngx_http_run_posted_requests(c);
}


void
ngx_http_certctl_request_run(ngx_http_certctl_call_t *call)
{
    const char          *rule;
    ngx_http_request_t  *r;

    r = call->request;
    rule = "too many control requests in progress";

    if (ngx_http_certctl_tasks < NGX_HTTP_CERTCTL_TASKS) {

        call->task.ctx = call;
        call->task.handler = ngx_http_certctl_task_thread;
        call->task.event.data = call;
        call->task.event.handler = ngx_http_certctl_task_event;
        call->task.event.log = ngx_cycle->log;

        call->queued = 1;

        if (ngx_http_certctl_thread_post(call->mcf->thread_pool, &call->task)
            == NGX_OK)
        {
            ngx_http_certctl_tasks++;

            /* a worker that is to quit waits for timers, not for threads */

            ngx_add_timer(&call->task.event, 60000);

            r->read_event_handler = ngx_http_test_reading;
            r->write_event_handler = ngx_http_request_empty_handler;

            return;
        }

        call->queued = 0;
        rule = "the thread pool's queue is full";
    }

    ngx_http_certctl_request_error(call, NGX_HTTP_SERVICE_UNAVAILABLE, rule);
    ngx_http_certctl_task_answer(call);
}


/*
 * NGINX dismisses its threads through the queue of their pool.  Where that is
 * full, as a small one may be with us in it, it goes on without them, and frees
 * what they work with.
 */

void
ngx_http_certctl_threads_exit(void)
{
    if (ngx_http_certctl_threads == 0) {
        return;
    }

    while (ngx_http_certctl_threads) {
        ngx_msleep(1);
    }

    /* a thread takes a few more steps, to wait for what will not come */

    ngx_msleep(NGX_HTTP_CERTCTL_LAST_STEPS);
}
