/*
 * One renewal: for each target a key and request from the host, a certificate
 * from the issuer (order_step.c), a version and a Deployment job.  Each step stores what it has
 * learnt before the next begins; repeating any of them is harmless.
 */
#include "work.h"

#include "link.h"
#include "order_step.h"
#include "order_verify.h"
#include "renewal.h"
#include "point.h"
#include "profile.h"
#include "ca.h"
#include "sql_core.h"
#include "sql_order.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Seconds before now that a validity begins, for clients whose clock is slow;
 * of a short life only a tenth. */
#define ORDER_BACKDATE  300

enum { ISSUED, ALLOWED, WAIT };

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* The daily limit: a certificate that is issued again and again and never comes to
 * rest would empty a CA's budget.  It is no fault that passes by itself soon. */
static bool
order_within_limit(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    char                         most[16];

    snprintf(most, sizeof(most), "%d", w->max_issuances);
    row = DB_EXEC(w->core.db, err, SQL_ORDER_LIMIT, w->certificate_id, w->attempt_id, most);

    if (row == NULL || strcmp(PQgetvalue(row, 0, WAIT), "0") == 0) {
        return row != NULL;
    }

    renewal_limited(w->certificate_id, PQgetvalue(row, 0, ISSUED), PQgetvalue(row, 0, ALLOWED),
                    PQgetvalue(row, 0, WAIT), err);
    err->code = ERR_INVALID;

    return false;
}

/* The method of the policy may have changed since the renewal was asked for. */
static bool
order_served(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(w->core.db, err, SQL_ORDER_REFUSAL,
                                               w->certificate_id, w->id);

    if (row == NULL || PQntuples(row) == 0 || PQgetisnull(row, 0, 0)) {
        return row != NULL;
    }

    w->unserved = true;

    return error_set(err, ERR_INVALID, "%s: %s", w->certificate_id, PQgetvalue(row, 0, 0));
}

static bool
order_plan(struct work *w, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;

    return work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_ORDER_PLAN, w->attempt_id, w->id)
           && DB_RUN(tx, err, SQL_ORDER_ATTEMPT_STARTED, w->attempt_id, w->id)
           && db_commit(tx, err);
}

/* The validity of a certificate that is issued now.  It does not begin before what
 * it replaces: of two certificates of a name the older one is not served. */
static bool
order_validity(struct work *w, const char *target_id, char from[ORDER_TIME],
    char until[ORDER_TIME], struct error *err)
{
    CLEANUP(mem) char  *life = DB_VALUE(w->core.db, err, SQL_ORDER_LIFETIME,
                                        w->certificate_id);
    CLEANUP(mem) char  *replaces = life ? DB_VALUE(w->core.db, err, SQL_ORDER_REPLACES,
                                                   w->certificate_id, target_id) : NULL;
    time_t              now = time(NULL), begin, seconds, earliest;

    if (replaces == NULL) {
        return false;
    }

    seconds = strtoll(life, NULL, 10);
    earliest = strtoll(replaces, NULL, 10);
    earliest = earliest < now ? earliest : now;
    begin = now - (seconds / 10 < ORDER_BACKDATE ? seconds / 10 : ORDER_BACKDATE);
    begin = begin > earliest ? begin : earliest;

    /* notAfter belongs to the validity (RFC 5280 4.1.2.5) */
    order_time(begin, from);
    order_time(begin + seconds - 1, until);

    return true;
}

/* new -> ready: the host makes key and request; serial and validity are drawn. */
static bool
order_request(struct work *w, const PGresult *orders, int i, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(json_ref) json_t            *config = NULL;
    CLEANUP(mem) char                   *csr = NULL;
    CLEANUP(db_tx) struct db            *tx = NULL;
    const struct target                 *target;
    const char                          *sans = PQgetvalue(orders, i, ORDER_SANS);
    char                                 record[256], serial[CA_SERIAL_HEX];
    char                                 from[ORDER_TIME], until[ORDER_TIME];
    bool                                 staple;

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

    if (!order_validity(w, PQgetvalue(orders, i, ORDER_TARGET), from, until, err)
        || !ca_serial_new(serial, err) || !work_begin(w, &tx, err))
    {
        return false;
    }

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

/*
 * ready -> issued, or w->delay until the first of those that have to wait.  each:
 * one that fails for good does not end the others.
 */
static enum work_result
order_issue(struct work *w, bool each, struct error *err)
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
            if (!each || err->code != ERR_INVALID
                || !DB_RUN(w->core.db, err, SQL_ORDER_FAULT,
                           PQgetvalue(ready, i, ORDER_ID), err->detail, NULL))
            {
                return WORK_FAILED;
            }
            break;

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
    return order_within_limit(w, err) && order_served(w, err)
           && profile_allows(&w->core, w->certificate_id, err)
           && order_plan(w, err) && order_requests(w, err)
           ? order_issue(w, false, err) : WORK_FAILED;
}

enum work_result
order_finish(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *left = NULL;
    enum work_result             result = WORK_DONE, one;
    double                       delay = 0;

    left = DB_EXEC(w->core.db, err, SQL_ORDER_LEFT, w->certificate_id);

    for (int i = 0; i < PQntuples(left); i++) {
        w->attempt_id = PQgetvalue(left, i, 0);
        one = order_issue(w, true, err);
        w->attempt_id = "";

        if (one == WORK_FAILED) {
            return one;
        }

        if (one == WORK_AGAIN) {
            delay = result == WORK_AGAIN && delay < w->delay ? delay : w->delay;
            result = one;
        }
    }

    w->delay = delay;

    return left ? result : WORK_FAILED;
}

bool
order_failed(struct work *w, const char *reason, struct error *err)
{
    CLEANUP(json_ref) json_t  *details = json_pack("{s:s, s:s}", "error", reason,
                                                   "attempt_id", w->attempt_id);

    return DB_RUN(w->core.db, err, SQL_ATTEMPT_FAILED, w->attempt_id, reason,
                  w->unserved ? "true" : "false")
           && DB_RUN(w->core.db, err, SQL_ORDER_END, w->attempt_id)
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "certificate_renewal_failed",
                          "certificate", w->certificate_id, details, err);
}
