/*
 * A job thread: runs due loops, does due jobs, then sleeps until a hint, the
 * next due job or the polling interval.  Polling makes it correct, hints fast.
 */
#include "worker.h"

#include "log.h"
#include "queue.h"
#include "loop.h"
#include "sql_job.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKER_POLL_MS   1000
#define WORKER_RETRY_MS  1000     /* the database is away */
#define WORKER_HINT_MS   250      /* a hint swallows those 200 ms behind it */

void
worker_slots(const struct worker *w, char *out, size_t size)
{
    int  n = w->conf->job_threads;

    snprintf(out, size, "%d", n > 1 ? n - 1 : 1);
}

/* Milliseconds until the next job is due, at most the polling interval. */
static int
worker_wait_ms(struct worker *w)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    struct error                 err = { 0 };
    long                         ms = WORKER_POLL_MS;
    char                         slots[16];

    worker_slots(w, slots, sizeof(slots));
    row = DB_EXEC(w->db, &err, SQL_QUEUE_NEXT, w->host, slots);

    if (row && PQntuples(row) && !PQgetisnull(row, 0, 0)) {
        ms = strtol(PQgetvalue(row, 0, 0), NULL, 10);
        ms = ms < 1 ? 1 : ms > WORKER_POLL_MS ? WORKER_POLL_MS : ms;
    }

    return ms;
}

/* One round: true when it went through, *worked when there was something to do. */
static bool
worker_round(struct worker *w, bool *worked, struct error *err)
{
    bool  claimed = true, found = false;

    if (w->db == NULL && (w->db = db_open(w->conninfo, err)) == NULL) {
        return false;
    }

    if (!db_listen(w->db, err) || !loops_run(w, &found, err)) {
        return false;
    }

    if (found) {
        db_hint(w->db);
    }

    while (claimed && !atomic_load(w->stop)) {
        if (!queue_run_next(w, &claimed, err)) {
            return false;
        }
        *worked |= claimed;
    }

    return true;
}

void *
worker_run(void *arg)
{
    struct worker  *w = arg;
    struct error    err;
    bool            away = false, worked;

    while (!atomic_load(w->stop)) {
        err = (struct error) { 0 };
        worked = false;

        if (worker_round(w, &worked, &err)) {
            if (away) {
                log_event(LOG_NOTICE, "", "%s goes on: the database is back", w->name);
                away = false;
            }

            if (!atomic_load(w->stop)) {
                db_wait(w->db, worked ? WORKER_HINT_MS : worker_wait_ms(w), w->wake_fd);
            }
            continue;
        }

        if (!away) {
            log_event(LOG_ERROR, "", "%s waits: %s", w->name, err.detail);
            away = true;
        }

        poll(&(struct pollfd) { .fd = w->wake_fd, .events = POLLIN }, 1, WORKER_RETRY_MS);
    }

    db_close(w->db);
    http_client_free(w->http);
    fleet_free(&w->fleet);

    return NULL;
}
