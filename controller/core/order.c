/*
 * One renewal: for each target a key and request from the host, a certificate
 * from the issuer (order_step.c), a version and a Deployment job.  Each step stores what it has
 * learnt before the next begins; repeating any of them is harmless.
 */
#include "work.h"

#include "link.h"
#include "order_step.h"
#include "order_verify.h"
#include "point.h"
#include "ca.h"
#include "sql_core.h"
#include "sql_order.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Seconds before now that a validity begins, for clients whose clock is slow;
 * of a short life only a tenth. */
#define ORDER_BACKDATE  300

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* The brake: a certificate that is issued again and again and never comes to
 * rest would empty a CA's budget. */
static bool
order_brake(struct work *w, struct error *err)
{
    CLEANUP(mem) char  *count = DB_VALUE(w->core.db, err, SQL_ORDER_ISSUED_TODAY,
                                         w->certificate_id, w->attempt_id);

    if (count == NULL) {
        return false;
    }

    return strtol(count, NULL, 10) < w->max_issuances
           || error_set(err, ERR_INVALID, "%s was issued %s times within a day: stopped, "
                        "max_issuances_per_day is %d", w->certificate_id, count,
                        w->max_issuances);
}

static bool
order_plan(struct work *w, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;

    return work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_ORDER_PLAN, w->attempt_id)
           && DB_RUN(tx, err, SQL_ORDER_ATTEMPT_STARTED, w->attempt_id, w->id)
           && db_commit(tx, err);
}

/* new -> ready: the host makes key and request; serial and validity are drawn. */
static bool
order_request(struct work *w, const PGresult *orders, int i, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(json_ref) json_t            *config = NULL;
    CLEANUP(mem) char                   *csr = NULL, *life = NULL;
    CLEANUP(db_tx) struct db            *tx = NULL;
    const struct target                 *target;
    const char                          *sans = PQgetvalue(orders, i, ORDER_SANS);
    char                                 record[256], serial[CA_SERIAL_HEX];
    char                                 from[ORDER_TIME], until[ORDER_TIME];
    bool                                 staple;
    time_t                               now = time(NULL), seconds;

    config = json_loads(PQgetvalue(orders, i, ORDER_TARGET_CONFIG), 0, NULL);
    target = target_find(PQgetvalue(orders, i, ORDER_TARGET_TYPE));
    staple = strcmp(PQgetvalue(orders, i, ORDER_MUST_STAPLE), "t") == 0;

    if (target == NULL) {
        return error_set(err, ERR_INVALID, "target %s is of a type that this version "
                         "lacks", PQgetvalue(orders, i, ORDER_TARGET));
    }

    if (target->csr == NULL) {
        return error_set(err, ERR_INVALID, "target %s is of type %s, which an agent on "
                         "the host serves: there is none", PQgetvalue(orders, i, ORDER_TARGET),
                         target->kind.name);
    }

    if (!link_record(config, w->certificate_id, PQgetvalue(orders, i, ORDER_COMMON_NAME), record,
                     sizeof(record), err)
        || !link_agent(w, PQgetvalue(orders, i, ORDER_AGENT), &agent, err)
        || !target->csr(&agent.link, record, PQgetvalue(orders, i, ORDER_KEY_TYPE), sans,
                        staple, &csr, err)
        || !order_verify_csr(csr, sans, PQgetvalue(orders, i, ORDER_KEY_TYPE), err))
    {
        return false;
    }

    CERTCTL_POINT("order.csr.received");

    life = DB_VALUE(w->core.db, err, SQL_ORDER_LIFETIME, w->certificate_id);

    if (life == NULL || !ca_serial_new(serial, err) || !work_begin(w, &tx, err)) {
        return false;
    }

    seconds = strtoll(life, NULL, 10);
    now -= seconds / 10 < ORDER_BACKDATE ? seconds / 10 : ORDER_BACKDATE;

    /* notAfter belongs to the validity (RFC 5280 4.1.2.5) */
    order_time(now, from);
    order_time(now + seconds - 1, until);

    if (!DB_RUN(tx, err, SQL_ORDER_READY, PQgetvalue(orders, i, ORDER_ID), csr, serial,
                from, until)
        || !db_commit(tx, err))
    {
        return false;
    }

    CERTCTL_POINT("order.ready.stored");

    return true;
}

static PGresult *
order_list(struct work *w, struct error *err)
{
    return DB_EXEC(w->core.db, err, SQL_ORDER_LIST, w->attempt_id);
}

/* new -> ready, each of them: keys and requests of all hosts come first. */
static bool
order_requests(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *fresh = order_list(w, err);

    if (fresh == NULL) {
        return false;
    }

    if (PQntuples(fresh) == 0) {
        return error_set(err, ERR_INVALID, "%s has no enabled deployment target",
                         w->certificate_id);
    }

    for (int i = 0; i < PQntuples(fresh); i++) {
        if (strcmp(PQgetvalue(fresh, i, ORDER_STATE), "new") == 0
            && !order_request(w, fresh, i, err))
        {
            return false;
        }
    }

    return true;
}

/* ready -> issued, or w->delay until the first of those that have to wait. */
static enum work_result
order_issue(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *ready = order_list(w, err);
    enum work_result             result = ready ? WORK_DONE : WORK_FAILED;
    double                       delay;

    for (int i = 0; i < PQntuples(ready); i++) {
        if (strcmp(PQgetvalue(ready, i, ORDER_STATE), "ready") != 0) {
            continue;
        }

        switch (order_steps(w, ready, i, &delay, err)) {
        case ORDER_FAILED:
            return WORK_FAILED;

        case ORDER_WAITS:
            w->delay = result == WORK_AGAIN && w->delay < delay ? w->delay : delay;
            result = WORK_AGAIN;
            break;

        default:
            break;
        }
    }

    return result;
}

enum work_result
order_run(struct work *w, struct error *err)
{
    enum work_result  result;

    if (!order_brake(w, err) || !order_plan(w, err) || !order_requests(w, err)) {
        return WORK_FAILED;
    }

    result = order_issue(w, err);

    if (result != WORK_DONE) {
        return result;
    }

    return DB_RUN(w->core.db, err, SQL_CERTIFICATE_RENEWED, w->certificate_id)
           ? WORK_DONE : WORK_FAILED;
}

bool
order_failed(struct work *w, const char *reason, struct error *err)
{
    CLEANUP(json_ref) json_t  *details = json_pack("{s:s, s:s}", "error", reason,
                                                   "attempt_id", w->attempt_id);

    return DB_RUN(w->core.db, err, SQL_ATTEMPT_FAILED, w->attempt_id, reason)
           && DB_RUN(w->core.db, err, SQL_ORDER_END, w->attempt_id)
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "certificate_renewal_failed",
                          "certificate", w->certificate_id, details, err);
}
