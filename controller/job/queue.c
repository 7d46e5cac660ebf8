/*
 * From a row of jobs to its function and back.  To add a job type: 1. its name in
 * the check of sql/schema; 2. its functions in core/; 3. a row here.
 */
#include "queue.h"

#include "log.h"
#include "point.h"
#include "sql_job.h"
#include "work.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { ID, TYPE, SUBJECT, CERTIFICATE, TARGET, AGENT, VERSION, ATTEMPT, EPOCH,
       ATTEMPTS, MAX_ATTEMPTS, DATA };

static const struct job_type {
    const char     *name;
    work_run       *run;
    work_failed    *failed;     /* NULL: history tells enough */
    double          retry;      /* seconds before the first retry, then doubled */
    bool            tells;      /* failed() at each try, not only the last */
    work_run_many  *run_many;   /* instead of run: with others of its agent */
} job_types[] = {
    { "Issuance",   order_run,      order_failed,      2, false, NULL },
    { "Renewal",    order_run,      order_failed,      2, false, NULL },
    { "Deployment", NULL,           deployment_failed, 2, false, deployment_run },
    { "Revocation", revocation_run, NULL,              10, false, NULL },
    { "Enrolment",  enrolment_run,  enrolment_failed,  1, true, NULL },
    { "Discovery",  inventory_run,  inventory_failed,  1, false, NULL },
    { "OCSP",       staple_run,     staple_failed,     1, false, NULL },
    { "Validation", challenge_run,  NULL,              5, false, NULL },
};

static const struct job_type *
job_find(const char *name)
{
    for (size_t i = 0; i < sizeof(job_types) / sizeof(job_types[0]); i++) {
        if (strcmp(job_types[i].name, name) == 0) {
            return &job_types[i];
        }
    }

    return NULL;
}

static void
work_fill(struct work *work, struct worker *w, const PGresult *row, int i)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    *work = (struct work) {
        .core = { .db = w->db, .seal = w->seal, .actor = "system",
                  .actor_type = "System" },
        .fleet = &w->fleet, .http = w->http,
        .id = PQgetvalue(row, i, ID), .type = PQgetvalue(row, i, TYPE),
        .subject = PQgetvalue(row, i, SUBJECT),
        .certificate_id = PQgetvalue(row, i, CERTIFICATE),
        .target_id = PQgetvalue(row, i, TARGET),
        .agent_id = PQgetvalue(row, i, AGENT),
        .version_id = PQgetvalue(row, i, VERSION),
        .attempt_id = PQgetvalue(row, i, ATTEMPT),
        .epoch = PQgetvalue(row, i, EPOCH),
        .data = json_loads(PQgetvalue(row, i, DATA), 0, NULL),
        .lease = w->conf->job_lease,
        .deadline = now.tv_sec * 1000000000LL + now.tv_nsec
                    + w->conf->job_lease * 2 / 3 * 1000000000LL,
        .attempts = (int) strtol(PQgetvalue(row, i, ATTEMPTS), NULL, 10),
        .max_attempts = (int) strtol(PQgetvalue(row, i, MAX_ATTEMPTS), NULL, 10),
        .max_issuances = w->conf->max_issuances_per_day,
        .ocsp_private = w->conf->ocsp_private_addresses,
    };
}

/* Faults that pass by themselves are worth another try; a broken rule is not. */
static bool
passing(enum err code)
{
    static const enum err  codes[] = {
        ERR_UNAVAILABLE, ERR_PEER, ERR_TIMEOUT, ERR_THROTTLED, ERR_INTERNAL,
        ERR_NOT_FOUND,
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == code) {
            return true;
        }
    }

    return false;
}

static bool
queue_again(struct work *work, double delay, const char *reason,
    struct error *err)
{
    char  seconds[32];

    snprintf(seconds, sizeof(seconds), "%.3f", delay);

    return DB_RUN(work->core.db, err, SQL_QUEUE_AGAIN, work->id, work->epoch, seconds,
                  reason);
}

static bool
queue_finish(struct work *work, const char *status, const char *reason,
    bool keep, struct error *err)
{
    return DB_RUN(work->core.db, err, SQL_QUEUE_FINISH, work->id, work->epoch, status,
                  reason, keep ? "true" : "false");
}

/*
 * The end of a job that will not be tried again, with what its type does then.  The
 * job's row is locked first, as by everybody who changes a certificate and its jobs:
 * a request that cancels the job would else wait for us, and we for it.
 */
static bool
queue_give_up(struct work *work, const struct job_type *type,
    const char *reason, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    char                       lease[16];
    int                        rows;

    snprintf(lease, sizeof(lease), "%d", work->lease);

    if (!db_begin(work->core.db, err)) {
        return false;
    }

    tx = work->core.db;

    if (!db_run(tx, SQL_QUEUE_HOLD, 3, (const char *[]) { work->id, work->epoch, lease },
                &rows, err))
    {
        return false;
    }

    if (rows == 0) {
        return true;             /* it is somebody else's, or was cancelled */
    }

    return (type == NULL || type->failed == NULL || type->failed(work, reason, err))
           && queue_finish(work, "Failed", reason, !work->quiet, err)
           && db_commit(tx, err);
}

/*
 * A holder that lost its lease leaves the row alone: the epoch belongs to
 * somebody else, and every write of ours would find no row.
 */
static bool
queue_record(struct work *work, const struct job_type *type,
    enum work_result result, const struct error *why, struct error *err)
{
    char  context[200];

    snprintf(context, sizeof(context), "job=%s type=%s subject=%.100s", work->id,
             work->type, work->subject);

    CERTCTL_POINT("job.before_record");

    if (result == WORK_DONE) {
        log_event(work->quiet ? LOG_DEBUG : LOG_NOTICE, context, "completed");
        return queue_finish(work, "Completed", "", !work->quiet, err);
    }

    if (result == WORK_AGAIN) {
        log_event(LOG_INFO, context, "pending, again in %.0f s", work->delay);
        return queue_again(work, work->delay, "", err);
    }

    if (why->code == ERR_CONFLICT) {
        log_event(LOG_WARN, context, "left: %s", why->detail);
        return queue_again(work, 1, why->detail, err);
    }

    if (passing(why->code) && work->attempts < work->max_attempts) {
        log_event(LOG_WARN, context, "try %d of %d failed: %s", work->attempts,
                  work->max_attempts, why->detail);
        return (!type->tells || type->failed(work, why->detail, err))
               && queue_again(work, type->retry * (1 << (work->attempts - 1)),
                           why->detail, err);
    }

    log_event(LOG_ERROR, context, "failed: %s", why->detail);

    return queue_give_up(work, type, why->detail, err);
}

/* Jobs that are done together; the rows hold their texts. */
struct batch {
    PGresult               *first, *more;
    const struct job_type  *type;
    int                     n;
    struct work             works[TARGET_MANY];
    struct error           *err;            /* why a result could not be recorded */
    bool                    recorded;
};

static void
batch_free(struct batch *b)
{
    for (int i = 0; i < b->n; i++) {
        json_decref(b->works[i].data);
    }

    PQclear(b->first);
    PQclear(b->more);
    free(b);
}

CLEANUP_FUNC(batch, struct batch *, batch_free)

/* Others of the same type and agent that are due as well. */
static bool
batch_more(struct batch *b, struct worker *w, const char *lease, struct error *err)
{
    char  most[16];

    if (b->type == NULL || b->type->run_many == NULL || *b->works[0].agent_id == '\0') {
        return true;
    }

    snprintf(most, sizeof(most), "%d", TARGET_MANY - 1);
    b->more = DB_EXEC(w->db, err, SQL_QUEUE_CLAIM_MORE, lease, w->name, b->type->name,
                      b->works[0].agent_id, most);

    for (int i = 0; b->more && i < PQntuples(b->more); i++) {
        work_fill(&b->works[b->n++], w, b->more, i);
    }

    return b->more != NULL;
}

/* The most urgent job that is due, with what is done together with it. */
static bool
batch_claim(struct batch *b, struct worker *w, struct error *err)
{
    char  lease[16], slots[16];

    snprintf(lease, sizeof(lease), "%d", w->conf->job_lease);
    worker_slots(w->conf, slots, sizeof(slots));
    b->first = DB_EXEC(w->db, err, SQL_QUEUE_CLAIM, lease, w->name, w->host, slots);

    if (b->first == NULL || PQntuples(b->first) == 0) {
        return b->first != NULL;
    }

    work_fill(&b->works[b->n++], w, b->first, 0);
    b->type = job_find(b->works[0].type);

    return batch_more(b, w, lease, err);
}

/* One of them has ended. */
static void
batch_done(void *data, struct work *work, enum work_result result,
    const struct error *why)
{
    struct batch  *b = data;

    b->recorded = b->recorded && queue_record(work, b->type, result, why, b->err);
}

static void
batch_run(struct batch *b)
{
    enum work_result  result = WORK_FAILED;
    struct error      why = { 0 };

    CERTCTL_POINT("job.claimed");

    if (b->type && b->type->run_many) {
        b->type->run_many(b->works, b->n, batch_done, b);
        return;
    }

    if (b->type) {
        result = b->type->run(&b->works[0], &why);

    } else {
        error_set(&why, ERR_UNSUPPORTED, "this version does not do %s jobs",
                  b->works[0].type);
    }

    db_rollback(b->works[0].core.db);
    batch_done(b, &b->works[0], result, &why);
}

bool
queue_run_next(struct worker *w, bool *claimed, struct error *err)
{
    CLEANUP(batch) struct batch  *b = calloc(1, sizeof(*b));

    *claimed = false;

    if (b == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    if (!batch_claim(b, w, err)) {
        return false;
    }

    if (b->n == 0) {
        return true;
    }

    *claimed = true;
    b->err = err;
    b->recorded = true;
    batch_run(b);

    return b->recorded;
}
