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
#include <sys/eventfd.h>
#include <unistd.h>

#define WATCH_POLL_MS   1000     /* for what came without a NOTIFY */
#define WATCH_HINT_MS   250      /* a hint swallows those 200 ms behind it */
#define WATCH_RETRY_MS  1000     /* the database is away */

enum { DUE, DUE_LOOPS, WAIT };        /* queue_watch */

bool
watch_init(struct watch *w, struct error *err)
{
    w->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->work_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);

    return (w->look_fd >= 0 && w->work_fd >= 0)
           || error_set(err, ERR_INTERNAL, "out of descriptors");
}

void
watch_look(struct watch *w)
{
    eventfd_write(w->look_fd, 1);
}

bool
watch_stopping(struct watch *w)
{
    return atomic_load(&w->stop);
}

bool
watch_wait(struct watch *w, int ms, uint32_t *loops)
{
    struct pollfd  work = { .fd = w->work_fd, .events = POLLIN };
    eventfd_t      token;

    *loops = 0;

    while (poll(&work, 1, ms) > 0) {
        if (eventfd_read(w->work_fd, &token) == 0) {
            atomic_fetch_sub(&w->tokens, 1);
            *loops = atomic_exchange(&w->loops, 0);
            return true;
        }
    }

    return false;
}

/* A worker for each job, and one for all loops; fewer if as many are to wake up
 * already. */
static void
watch_wake(struct watch *w, int jobs, uint32_t loops)
{
    int  more;

    atomic_fetch_or(&w->loops, loops);
    more = jobs + (atomic_load(&w->loops) != 0) - atomic_load(&w->tokens);

    if (more > 0) {
        atomic_fetch_add(&w->tokens, more);
        eventfd_write(w->work_fd, more);
    }
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

    jobs = (int) strtol(PQgetvalue(row, 0, DUE), NULL, 10);
    loops |= loops_numbered(PQgetvalue(row, 0, DUE_LOOPS));

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
    eventfd_t  n;

    return db_wait(db, ms, w->look_fd) | (eventfd_read(w->look_fd, &n) == 0);
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
                log_event(LOG_NOTICE, "", "%s: the database is reachable again", w->name);
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
    atomic_store(&w->stop, true);
    atomic_fetch_add(&w->tokens, w->conf->job_threads);
    eventfd_write(w->work_fd, w->conf->job_threads);
    watch_look(w);
}

void
watch_free(struct watch *w)
{
    if (w->started) {
        pthread_join(w->thread, NULL);
    }

    close(w->look_fd);
    close(w->work_fd);
}
