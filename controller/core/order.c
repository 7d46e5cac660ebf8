/*
 * One renewal: for each target a key and request from the host, a certificate
 * from the issuer, a version and a Deployment job.  Each step stores what it has
 * learnt before the next begins; repeating any of them is harmless.
 */
#include "work.h"

#include "issuers.h"
#include "link.h"
#include "order_verify.h"
#include "point.h"
#include "ca.h"
#include "sql_core.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* Seconds before now that a validity begins, for clients whose clock is slow;
 * of a short life only a tenth. */
#define ORDER_BACKDATE  300

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { ID, STATE, ISSUER, TARGET, KEY_TYPE, SANS, MUST_STAPLE, CSR, SERIAL,
       NOT_BEFORE, NOT_AFTER, EXTERNAL_REF, TARGET_TYPE, TARGET_CONFIG, AGENT,
       NAME, COMMON_NAME };

static const char *
text_of(time_t t, char *out, size_t size)
{
    snprintf(out, size, "%lld", (long long) t);
    return out;
}

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
    const char                          *sans = PQgetvalue(orders, i, SANS);
    char                                 record[256], serial[CA_SERIAL_HEX];
    char                                 from[24], until[24];
    bool                                 staple;
    time_t                               now = time(NULL), seconds;

    config = json_loads(PQgetvalue(orders, i, TARGET_CONFIG), 0, NULL);
    target = target_find(PQgetvalue(orders, i, TARGET_TYPE));
    staple = strcmp(PQgetvalue(orders, i, MUST_STAPLE), "t") == 0;

    if (target == NULL) {
        return error_set(err, ERR_INVALID, "target %s is of a type that this version "
                         "lacks", PQgetvalue(orders, i, TARGET));
    }

    if (target->csr == NULL) {
        return error_set(err, ERR_INVALID, "target %s is of type %s, which an agent on "
                         "the host serves: there is none", PQgetvalue(orders, i, TARGET),
                         target->kind.name);
    }

    link_record(config, w->certificate_id, PQgetvalue(orders, i, COMMON_NAME), record,
                sizeof(record));

    if (!link_agent(w, PQgetvalue(orders, i, AGENT), &agent, err)
        || !target->csr(&agent.link, record, PQgetvalue(orders, i, KEY_TYPE), sans,
                        staple, &csr, err)
        || !order_verify_csr(csr, sans, PQgetvalue(orders, i, KEY_TYPE), err))
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
    text_of(now, from, sizeof(from));
    text_of(now + seconds - 1, until, sizeof(until));

    if (!DB_RUN(tx, err, SQL_ORDER_READY, PQgetvalue(orders, i, ID), csr, serial,
                from, until)
        || !db_commit(tx, err))
    {
        return false;
    }

    CERTCTL_POINT("order.ready.stored");

    return true;
}

static bool
order_store(struct work *w, const char *order_id, const char *chain_pem,
    const struct certctl_x509_info *info, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    char                       from[24], until[24], bits[16];

    snprintf(bits, sizeof(bits), "%d", info->key_bits);
    text_of(info->not_before, from, sizeof(from));
    text_of(info->not_after, until, sizeof(until));

    CERTCTL_POINT("order.issued.received");

    if (!work_begin(w, &tx, err)
        || !DB_RUN(tx, err, SQL_ORDER_ISSUED, order_id, info->serial, from, until,
                   info->fingerprint, info->spki, chain_pem, info->key_type, bits,
                   w->core.actor)
        || !db_commit(tx, err))
    {
        return false;
    }

    CERTCTL_POINT("order.issued.stored");

    return true;
}

/* ready -> issued, or *pending with the seconds to wait. */
static bool
order_issue(struct work *w, const PGresult *orders, int i, bool *pending,
    struct error *err)
{
    CLEANUP(json_ref) json_t  *config = NULL;
    CLEANUP(db_tx) struct db  *tx = NULL;
    struct issuer_result       result = { 0 };
    struct certctl_x509_info   info;
    const struct issuer       *issuer;
    struct issuer_request      req = {
        .csr_pem = PQgetvalue(orders, i, CSR),
        .sans = PQgetvalue(orders, i, SANS),
        .serial = PQgetvalue(orders, i, SERIAL),
        .external_ref = PQgetisnull(orders, i, EXTERNAL_REF)
                        ? NULL : PQgetvalue(orders, i, EXTERNAL_REF),
        .not_before = strtoll(PQgetvalue(orders, i, NOT_BEFORE), NULL, 10),
        .not_after = strtoll(PQgetvalue(orders, i, NOT_AFTER), NULL, 10),
        .must_staple = strcmp(PQgetvalue(orders, i, MUST_STAPLE), "t") == 0,
    };
    bool                       ok;

    issuer = issuers_load(&w->core, PQgetvalue(orders, i, ISSUER), &config, err);

    if (issuer == NULL || !work_alive(w, err)
        || !issuer->issue(config, &req, &result, err))
    {
        return false;
    }

    if (result.issued) {
        ok = order_verify_chain(result.chain_pem, &req, &info, err)
             && order_store(w, PQgetvalue(orders, i, ID), result.chain_pem, &info, err);

    } else {
        *pending = true;
        w->delay = result.retry_after > 0 ? result.retry_after : 5;
        ok = work_begin(w, &tx, err)
             && DB_RUN(tx, err, SQL_ORDER_PENDING, PQgetvalue(orders, i, ID),
                       result.external_ref)
             && db_commit(tx, err);
    }

    issuer_result_free(&result);

    return ok;
}

static PGresult *
order_list(struct work *w, struct error *err)
{
    return DB_EXEC(w->core.db, err, SQL_ORDER_LIST, w->attempt_id);
}

enum work_result
order_run(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *fresh = NULL, *ready = NULL;
    bool                         pending = false;

    if (!order_brake(w, err) || !order_plan(w, err)
        || (fresh = order_list(w, err)) == NULL)
    {
        return WORK_FAILED;
    }

    if (PQntuples(fresh) == 0) {
        error_set(err, ERR_INVALID, "%s has no enabled deployment target",
                  w->certificate_id);
        return WORK_FAILED;
    }

    for (int i = 0; i < PQntuples(fresh); i++) {
        if (strcmp(PQgetvalue(fresh, i, STATE), "new") == 0
            && !order_request(w, fresh, i, err))
        {
            return WORK_FAILED;
        }
    }

    ready = order_list(w, err);

    for (int i = 0; i < PQntuples(ready); i++) {
        if (strcmp(PQgetvalue(ready, i, STATE), "ready") == 0
            && !order_issue(w, ready, i, &pending, err))
        {
            return WORK_FAILED;
        }
    }

    if (ready == NULL) {
        return WORK_FAILED;
    }

    if (pending) {
        return WORK_AGAIN;
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
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "certificate_renewal_failed",
                          "certificate", w->certificate_id, details, err);
}
