/*
 * A job in hand: what the queue gave, and the guard that every later write
 * carries (reliability.md, "The queue on PostgreSQL").
 */
#pragma once
#include "core.h"
#include "fleet.h"
#include "target.h"
#include <stdint.h>

enum work_result {
    WORK_DONE,       /* finish: Completed */
    WORK_AGAIN,      /* the other side is not ready: again after delay */
    WORK_FAILED      /* err tells; passing faults are tried again */
};

struct work {
    struct core           core;
    struct fleet         *fleet;          /* this thread's */
    struct http_client   *http;           /* this thread's, for all calls out */
    const char           *id, *type, *subject, *certificate_id, *target_id,
                         *agent_id, *version_id, *attempt_id, *epoch;  /* "" when none */
    json_t               *data;
    int64_t               deadline;       /* monotonic ns: two thirds of the lease */
    int                   lease;          /* seconds */
    int                   attempts, max_attempts;
    double                delay;          /* seconds, for WORK_AGAIN */
    bool                  quiet;          /* done without a trace in history */
    int                   max_issuances;  /* of one certificate in a day */
    bool                  unserved;       /* no connector does it: no failure of the
                                             schedule */
    bool                  ocsp_private;   /* responders may be in private ranges */
};

/* Whether the job may still act: its lease is young enough. */
bool work_alive(const struct work *w, struct error *err);

/*
 * Begins a transaction in which the job is held under (id, epoch) and its lease
 * renewed; CONFLICT when somebody else has it.  Use as
 *     CLEANUP(db_tx) struct db  *tx = NULL;
 *     if (!work_begin(w, &tx, err)) ...
 *     ... db_commit(tx, err)
 */
bool work_begin(struct work *w, struct db **tx, struct error *err);

/* Renews a lease that has lost half of its time; a job that cannot be held fails
 * when it is to act. */
void work_hold(struct work *w);

typedef enum work_result work_run(struct work *w, struct error *err);

/* Goes on with the orders of a revoked certificate until its CA has answered. */
work_run  order_finish;

/* The same for several jobs of one agent: done is called for each as it ends. */
typedef void work_done(void *data, struct work *w, enum work_result result,
    const struct error *why);
typedef void work_run_many(struct work *works, int n, work_done *done, void *data);

/* The job types' functions, for job/'s table. */
work_run       order_run, revocation_run, enrolment_run, inventory_run, staple_run,
               challenge_run;
work_run_many  deployment_run;

/* What a type does when its job has failed for good, in the transaction that
 * moves the job to history. */
typedef bool work_failed(struct work *w, const char *reason, struct error *err);

work_failed  order_failed, deployment_failed, enrolment_failed,
             inventory_failed, staple_failed;
