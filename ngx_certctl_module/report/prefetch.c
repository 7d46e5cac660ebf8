
/*
 * A second thread for a walk that has many records to read: it reads from the
 * end of a stretch of names, the walk from its beginning, until they meet.
 *
 * Nobody waits for the other.  A name is read by who marks it first; what the
 * helper has read by then the walk takes, what it is just reading the walk
 * reads itself.  So a helper that the pool has no thread for costs nothing, and
 * with one thread alone the walk is as it was.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "report/report.h"
#include "cert/cache.h"
#include "tls/choose.h"


/* Names of a stretch: what a client that stops reading can leave behind. */
#define NGX_HTTP_CERTCTL_AHEAD_MAX     2048

/* Fewer that are to be read are not worth a second thread. */
#define NGX_HTTP_CERTCTL_AHEAD_MIN     256

/* One name of so many tells how many of a stretch are to be read. */
#define NGX_HTTP_CERTCTL_AHEAD_SAMPLE  16


typedef enum {
    NGX_HTTP_CERTCTL_AHEAD_FREE = 0,
    NGX_HTTP_CERTCTL_AHEAD_TAKEN,           /* by one of both */
    NGX_HTTP_CERTCTL_AHEAD_READ             /* by the helper */
} ngx_http_certctl_ahead_e;


typedef struct {
    ngx_str_t              name;
    ngx_uint_t             place;
    ngx_atomic_t           state;
    ngx_certctl_entry_t   *entry;           /* when it was read */
} ngx_http_certctl_ahead_name_t;


/* Goes with the last of its two users, who may be on any thread. */

struct ngx_http_certctl_ahead_s {
    ngx_thread_task_t      task;            /* the helper's */
    ngx_pool_t            *pool;            /* where all of this is */
    ngx_certctl_t          certctl;         /* a copy, with the helper's cache */
    ngx_array_t            names;           /* ..._ahead_name_t, by place */
    ngx_uint_t             record;          /* they are records' */
    ngx_uint_t             next;            /* the walk's */
    ngx_atomic_t           over;            /* the walk needs no more */
    ngx_atomic_t           users;
};


/* On the walk's thread. */

static void
ngx_http_certctl_ahead_take(ngx_http_certctl_report_t *report,
    ngx_uint_t place)
{
    ngx_http_certctl_ahead_t       *ahead;
    ngx_http_certctl_ahead_name_t  *name;

    ahead = report->ahead;

    if (ahead == NULL || ahead->next == ahead->names.nelts) {
        return;
    }

    name = ahead->names.elts;
    name += ahead->next;

    if (name->place != place) {
        return;                             /* it had been read before */
    }

    ahead->next++;

    if (!ngx_atomic_cmp_set(&name->state, NGX_HTTP_CERTCTL_AHEAD_FREE,
                            NGX_HTTP_CERTCTL_AHEAD_TAKEN)
        && name->state == NGX_HTTP_CERTCTL_AHEAD_READ)
    {
        ngx_memory_barrier();
        ngx_certctl_cache_give(&report->facts, name->entry);
        name->entry = NULL;
    }
}


static void
ngx_http_certctl_ahead_release(ngx_http_certctl_ahead_t *ahead)
{
    ngx_uint_t                      i;
    ngx_http_certctl_ahead_name_t  *name;

    if (ngx_atomic_fetch_add(&ahead->users, -1) != 1) {
        return;
    }

    name = ahead->names.elts;

    for (i = 0; i < ahead->names.nelts; i++) {
        if (name[i].entry) {
            ngx_certctl_entry_discard(name[i].entry);
        }
    }

    ngx_certctl_cache_destroy(ahead->certctl.cache);
    ngx_destroy_pool(ahead->pool);
}


void
ngx_http_certctl_report_alone(ngx_http_certctl_report_t *report)
{
    if (report->ahead) {
        report->ahead->over = 1;
        ngx_http_certctl_ahead_release(report->ahead);
        report->ahead = NULL;
    }
}


/* A second report at once has no helper: both processors are at work. */

static ngx_uint_t
ngx_http_certctl_ahead_allowed(ngx_http_certctl_report_t *report)
{
    ngx_certctl_server_t  *server;

    server = report->inside ? &report->server : NULL;

    return report->call && report->borrowed && !report->json->failed
           && ngx_ncpu > 1
           && (server == NULL || (!server->reject && server->pinned.len == 0));
}


/* Whether there is no need to read for place; else under which name. */

static ngx_uint_t
ngx_http_certctl_ahead_cached(ngx_http_certctl_report_t *report,
    ngx_uint_t place, ngx_certctl_name_t *name)
{
    ngx_str_t                 *record, key;
    ngx_http_certctl_asked_t  *ask;

    if (report->inside == NULL) {
        record = report->records.elts;
        record += place;

        ngx_memcpy(name->data, record->data, record->len);
        name->len = record->len;

    } else {
        ask = report->asked.elts;
        ngx_certctl_name(&report->server, &ask[place].name, name);
    }

    key.data = name->data;
    key.len = name->len;

    return key.len == 0
           || ngx_certctl_cached(&report->facts, &key,
                                 report->inside == NULL);
}


static void
ngx_http_certctl_ahead_thread(void *data, ngx_log_t *log)
{
    ngx_http_certctl_ahead_t *ahead = data;

    ngx_uint_t                      i;
    ngx_http_certctl_ahead_name_t  *name;

    name = ahead->names.elts;

    for (i = ahead->names.nelts; i-- > 0 && !ahead->over; /* void */) {

        if (!ngx_atomic_cmp_set(&name[i].state, NGX_HTTP_CERTCTL_AHEAD_FREE,
                                NGX_HTTP_CERTCTL_AHEAD_TAKEN))
        {
            break;
        }

        name[i].entry = ngx_certctl_cache_take(&ahead->certctl, &name[i].name,
                                               ahead->record);
        if (name[i].entry == NULL) {
            break;
        }

        ngx_memory_barrier();
        name[i].state = NGX_HTTP_CERTCTL_AHEAD_READ;

        ngx_http_certctl_late_give_way();
    }

    ngx_http_certctl_thread_end();
}


/* A worker that is told to quit waits for it, as it does for other tasks. */

static void
ngx_http_certctl_ahead_event(ngx_event_t *ev)
{
    if (ev->timedout) {
        ev->timedout = 0;
        ngx_add_timer(ev, 60000);
        return;
    }

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    ngx_http_certctl_ahead_release(ev->data);
}


static ngx_http_certctl_ahead_t *
ngx_http_certctl_ahead_create(ngx_http_certctl_report_t *report)
{
    ngx_conf_t                 cf;
    ngx_pool_t                *pool;
    ngx_http_certctl_ahead_t  *ahead;

    pool = ngx_create_pool(16384, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    ngx_memzero(&cf, sizeof(ngx_conf_t));
    cf.pool = pool;
    cf.log = ngx_cycle->log;

    ahead = ngx_pcalloc(pool, sizeof(ngx_http_certctl_ahead_t));

    if (ahead == NULL
        || ngx_array_init(&ahead->names, pool, NGX_HTTP_CERTCTL_AHEAD_MAX,
                          sizeof(ngx_http_certctl_ahead_name_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ahead->pool = pool;
    ahead->users = 2;
    ahead->record = (report->inside == NULL);
    ahead->certctl = *report->conf;
    ahead->certctl.cache = ngx_certctl_cache_facts(&cf, &ahead->certctl);

    if (ahead->certctl.cache == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ahead->task.ctx = ahead;
    ahead->task.handler = ngx_http_certctl_ahead_thread;
    ahead->task.event.data = ahead;
    ahead->task.event.handler = ngx_http_certctl_ahead_event;
    ahead->task.event.log = ngx_cycle->log;

    return ahead;
}


static ngx_int_t
ngx_http_certctl_ahead_add(ngx_http_certctl_ahead_t *ahead,
    ngx_certctl_name_t *name, ngx_uint_t place)
{
    u_char                         *text;
    ngx_http_certctl_ahead_name_t  *next;

    text = ngx_pnalloc(ahead->pool, name->len);
    next = text ? ngx_array_push(&ahead->names) : NULL;

    if (next == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text, name->data, name->len);
    ngx_memzero(next, sizeof(ngx_http_certctl_ahead_name_t));

    next->name.data = text;
    next->name.len = name->len;
    next->place = place;

    return NGX_OK;
}


ngx_uint_t
ngx_http_certctl_report_ahead(ngx_http_certctl_report_t *report,
    ngx_uint_t place, ngx_uint_t places)
{
    ngx_uint_t                 i, n;
    ngx_certctl_name_t         name;
    ngx_http_certctl_ahead_t  *ahead;

    if (place < report->ahead_end) {
        ngx_http_certctl_ahead_take(report, place);
        return 0;
    }

    ngx_http_certctl_report_alone(report);

    places = ngx_min(places, place + NGX_HTTP_CERTCTL_AHEAD_MAX);
    report->ahead_end = places;

    if (places - place < NGX_HTTP_CERTCTL_AHEAD_MIN
        || !ngx_http_certctl_ahead_allowed(report))
    {
        return 0;
    }

    for (n = 0, i = place; i < places; i += NGX_HTTP_CERTCTL_AHEAD_SAMPLE) {
        n += !ngx_http_certctl_ahead_cached(report, i, &name);
    }

    if (n * NGX_HTTP_CERTCTL_AHEAD_SAMPLE < NGX_HTTP_CERTCTL_AHEAD_MIN) {
        return 0;
    }

    ahead = ngx_http_certctl_ahead_create(report);
    if (ahead == NULL) {
        return 0;
    }

    for (i = place; i < places; i++) {
        if (!ngx_http_certctl_ahead_cached(report, i, &name)
            && ngx_http_certctl_ahead_add(ahead, &name, i) != NGX_OK)
        {
            break;
        }
    }

    report->ahead = ahead;
    report->call->helper = &ahead->task;

    return 1;
}
