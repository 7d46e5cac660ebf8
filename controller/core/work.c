/* The guard of a job's writes: lease and epoch. */
#include "work.h"

#include "point.h"
#include "sql_job.h"

#include <stdio.h>
#include <time.h>

bool
work_alive(const struct work *w, struct error *err)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return now.tv_sec * 1000000000LL + now.tv_nsec < w->deadline
           || error_set(err, ERR_CONFLICT, "the lease of %s is running out", w->id);
}

bool
work_begin(struct work *w, struct db **tx, struct error *err)
{
    struct timespec  now;
    char             lease[16];
    int              rows;

    if (!work_alive(w, err) || !db_begin(w->core.db, err)) {
        return false;
    }

    *tx = w->core.db;

    snprintf(lease, sizeof(lease), "%d", w->lease);
    clock_gettime(CLOCK_MONOTONIC, &now);

    if (!db_run(*tx, SQL_QUEUE_HOLD, 3, (const char *[]) { w->id, w->epoch, lease },
                &rows, err))
    {
        return false;
    }

    if (rows == 0) {
        return error_set(err, ERR_CONFLICT, "%s is held by another worker", w->id);
    }

    /* The new lease counts from the transaction's start, at the latest now. */
    w->deadline = now.tv_sec * 1000000000LL + now.tv_nsec
                  + w->lease * 2 / 3 * 1000000000LL;

    return true;
}

void
work_hold(struct work *w)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    struct timespec            now;
    struct error               ignored;

    clock_gettime(CLOCK_MONOTONIC, &now);

    if (w->deadline - now.tv_sec * 1000000000LL - now.tv_nsec
        < w->lease / 3 * 1000000000LL)
    {
        (void) (work_begin(w, &tx, &ignored) && db_commit(tx, &ignored));
    }
}
