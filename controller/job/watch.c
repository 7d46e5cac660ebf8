/* The watch: asks the database when work is due, and wakes as many workers. */
#include "watch.h"

#include "db.h"
#include "log.h"
#include "loop.h"
#include "sql_job.h"
#include "worker.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define WATCH_POLL_MS   1000     /* for what came without a NOTIFY */
#define WATCH_HINT_MS   250      /* a hint swallows those 200 ms behind it */
#define WATCH_RETRY_MS  1000     /* the database is away */

enum { JOBS, DUE, WAIT };        /* queue_watch */

bool
watch_init(struct watch *w, struct error *err)
{
    pthread_condattr_t  attr;

    w->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (w->look_fd < 0) {
        return error_set(err, ERR_INTERNAL, "out of descriptors");
    }

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->mutex, NULL);

    return true;
}

void
watch_look(struct watch *w)
{
    uint64_t  one = 1;

    (void) !write(w->look_fd, &one, sizeof(one));
}

bool
watch_stopping(struct watch *w)
{
    bool  stop;

    pthread_mutex_lock(&w->mutex);
    stop = w->stop;
    pthread_mutex_unlock(&w->mutex);

    return stop;
}

uint32_t
watch_wait(struct watch *w, int ms)
{
    struct timespec  end;
    uint32_t         loops;
    int              rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += ms / 1000;
    end.tv_nsec += ms % 1000 * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000L;
    }

    pthread_mutex_lock(&w->mutex);

    while (!w->stop && w->jobs == 0 && w->loops == 0 && rc == 0) {
        rc = ms < 0 ? pthread_cond_wait(&w->cond, &w->mutex)
             : pthread_cond_timedwait(&w->cond, &w->mutex, &end);
    }

    loops = w->loops;
    w->loops = 0;
    w->jobs -= loops == 0 && w->jobs > 0;
    pthread_mutex_unlock(&w->mutex);

    return loops;
}

/* A worker for each job, and one for all loops. */
static void
watch_wake(struct watch *w, int jobs, uint32_t loops)
{
    pthread_mutex_lock(&w->mutex);

    w->loops |= loops;
    w->jobs = jobs;

    for (int i = 0; i < jobs + (w->loops != 0); i++) {
        pthread_cond_signal(&w->cond);
    }

    pthread_mutex_unlock(&w->mutex);
}

/* Looks once; *ms is when to look again. */
static bool
watch_once(struct watch *w, struct db *db, int *ms, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    char                         slots[16], threads[16];
    struct loop_arrays           arrays;
    uint32_t                     loops = loops_due_here(w->conf);
    long                         wait = WATCH_POLL_MS;
    int                          jobs;

    worker_slots(w->conf, slots, sizeof(slots));
    snprintf(threads, sizeof(threads), "%d", w->conf->job_threads);
    loops_arrays(w->conf, UINT32_MAX, &arrays);

    row = DB_EXEC(db, err, SQL_QUEUE_WATCH, w->host, slots, threads, arrays.names,
                  arrays.seconds);

    if (row == NULL) {
        return false;
    }

    jobs = (int) strtol(PQgetvalue(row, 0, JOBS), NULL, 10);
    loops |= loops_numbered(PQgetvalue(row, 0, DUE));

    if (!PQgetisnull(row, 0, WAIT)) {
        wait = strtol(PQgetvalue(row, 0, WAIT), NULL, 10);
    }

    if (jobs || loops) {
        watch_wake(w, jobs, loops);
    }

    if (jobs) {
        wait = WATCH_HINT_MS;
    }

    *ms = wait < 1 ? 1 : wait > *ms ? *ms : (int) wait;

    return true;
}

/* Sleeps; true when there was a hint, of another process or of a worker. */
static bool
watch_sleep(struct watch *w, struct db *db, int ms)
{
    uint64_t  n;

    return db_wait(db, ms, w->look_fd) | (read(w->look_fd, &n, sizeof(n)) > 0);
}

static void *
watch_run(void *arg)
{
    struct watch  *w = arg;
    struct db     *db = NULL;
    struct error   err;
    bool           away = false, hinted = false;
    int            ms;

    while (!watch_stopping(w)) {
        err = (struct error) { 0 };
        ms = hinted ? WATCH_HINT_MS : WATCH_POLL_MS;

        if ((db || (db = db_open(w->conninfo, &err)) != NULL)
            && db_listen(db, &err) && watch_once(w, db, &ms, &err))
        {
            if (away) {
                log_event(LOG_NOTICE, "", "%s goes on: the database is back", w->name);
                away = false;
            }

            hinted = watch_sleep(w, db, ms);
            continue;
        }

        if (!away) {
            log_event(LOG_ERROR, "", "%s waits: %s", w->name, err.detail);
            away = true;
        }

        poll(&(struct pollfd) { .fd = w->look_fd, .events = POLLIN }, 1, WATCH_RETRY_MS);
    }

    db_close(db);

    return NULL;
}

bool
watch_start(struct watch *w, struct error *err)
{
    w->started = pthread_create(&w->thread, NULL, watch_run, w) == 0;

    return w->started || error_set(err, ERR_UNAVAILABLE, "no thread can be started");
}

void
watch_stop(struct watch *w)
{
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    watch_look(w);
}

void
watch_free(struct watch *w)
{
    if (w->started) {
        pthread_join(w->thread, NULL);
    }

    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
    close(w->look_fd);
}
