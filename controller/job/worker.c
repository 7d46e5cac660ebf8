/*
 * A job thread: sleeps until the watch has found due loops or jobs, runs them, and
 * goes on until no job is due.
 */
#include "worker.h"

#include "log.h"
#include "queue.h"
#include "loop.h"

#include <stdio.h>

#define WORKER_RETRY_MS  1000     /* the database is away */

void
worker_slots(const struct conf *conf, char *out, size_t size)
{
    int  n = conf->job_threads;

    snprintf(out, size, "%d", n > 1 ? n - 1 : 1);
}

/* One round: true when it went through, *worked when jobs were due. */
static bool
worker_round(struct worker *w, uint32_t loops, bool *worked, struct error *err)
{
    bool  claimed = loops == 0, found = false;

    if (w->db == NULL && (w->db = db_open(w->conninfo, err)) == NULL) {
        return false;
    }

    if (loops && !loops_run(w, loops, &found, err)) {
        return false;
    }

    if (found) {
        db_hint(w->db);
        claimed = true;
    }

    while (claimed && !watch_stopping(w->watch)) {
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
    uint32_t        loops;

    while (!watch_stopping(w->watch)) {
        if (!watch_wait(w->watch, away ? WORKER_RETRY_MS : -1, &loops) && !away) {
            continue;
        }

        err = (struct error) { 0 };
        worked = false;

        if (worker_round(w, loops, &worked, &err)) {
            if (away) {
                log_event(LOG_NOTICE, "", "%s: the database is reachable again", w->name);
                away = false;
            }

            if (worked) {
                watch_look(w->watch);
            }
            continue;
        }

        if (!away) {
            log_event(LOG_ERROR, "", "%s waits: %s", w->name, err.detail);
            away = true;
        }
    }

    db_close(w->db);
    http_client_free(w->http);
    fleet_free(&w->fleet);

    return NULL;
}
