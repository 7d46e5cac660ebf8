/*
 * The engine of issuers (issuer.h): calls the connector, stores what the step has
 * learnt in one transaction (state, account, challenges, or the certificate), and
 * calls again.  What has to wait gives the thread back.
 */
#include "order_step.h"

#include "account.h"
#include "challenge.h"
#include "issuers.h"
#include "order_verify.h"
#include "point.h"
#include "profile.h"
#include "sql_core.h"
#include "sql_order.h"

#include <stdio.h>
#include <string.h>

#define STEPS_AT_ONCE     20           /* then others have their turn */
#define ACCOUNT_WAIT      2            /* seconds: another order changes the account */
#define RETRY_MAX         600          /* seconds between two tries of a step */
#define LIMITED_DEFAULT   60           /* seconds, when the CA does not say */
#define CHALLENGE_REFRESH 43200        /* half of a challenge's life on a host */

CLEANUP_FUNC(json_ref, json_t *, json_decref)

struct order {
    struct work            *w;
    const char             *id, *issuer_id, *last_error;
    const struct issuer    *issuer;
    struct issuer_request   req;
    struct issuer_context   ctx;
    json_t                 *config, *account, *state;
    int                     failures;      /* temporary ones in a row */
    bool                    challenged;    /* it may have challenges on hosts */
    int                     wait;          /* seconds until the next step is due */
    double                  delay;
};

static void
order_cleanup(struct order *o)
{
    json_decref(o->config);
    json_decref(o->account);
    json_decref(o->state);
}

void
order_time(time_t t, char out[ORDER_TIME])
{
    snprintf(out, ORDER_TIME, "%lld", (long long) t);
}

static time_t
row_time(const PGresult *orders, int i, int column)
{
    return strtoll(PQgetvalue(orders, i, column), NULL, 10);
}

static bool
order_open(struct order *o, struct work *w, const PGresult *orders, int i,
    struct error *err)
{
    *o = (struct order) {
        .w = w,
        .id = PQgetvalue(orders, i, ORDER_ID),
        .issuer_id = PQgetvalue(orders, i, ORDER_ISSUER),
        .last_error = PQgetvalue(orders, i, ORDER_LAST_ERROR),
        .failures = (int) strtol(PQgetvalue(orders, i, ORDER_FAILURES), NULL, 10),
        .wait = (int) strtol(PQgetvalue(orders, i, ORDER_WAIT), NULL, 10),
        .challenged = *PQgetvalue(orders, i, ORDER_CHALLENGED) == 't',
        .req = {
            .order_id = PQgetvalue(orders, i, ORDER_ID),
            .csr_pem = PQgetvalue(orders, i, ORDER_CSR),
            .sans = PQgetvalue(orders, i, ORDER_SANS),
            .serial = PQgetvalue(orders, i, ORDER_SERIAL),
            .not_before = row_time(orders, i, ORDER_NOT_BEFORE),
            .not_after = row_time(orders, i, ORDER_NOT_AFTER),
            .must_staple = *PQgetvalue(orders, i, ORDER_MUST_STAPLE) == 't',
        },
        .ctx = { .http = w->http, .deadline = row_time(orders, i, ORDER_DEADLINE) },
    };

    if (!PQgetisnull(orders, i, ORDER_CA_STATE)) {
        o->state = json_loads(PQgetvalue(orders, i, ORDER_CA_STATE), JSON_DECODE_ANY, NULL);
    }

    o->issuer = issuers_load(&w->core, o->issuer_id, &o->config, err);

    return o->issuer && account_load(&w->core, o->issuer_id, &o->account, err);
}

/* The order waits, at the longest until its deadline. */
static enum order_end
order_delay(struct order *o, double seconds)
{
    double  left = (double) (o->ctx.deadline - time(NULL) + 1);

    if (o->challenged && seconds > CHALLENGE_REFRESH) {
        seconds = CHALLENGE_REFRESH;
    }

    o->delay = seconds < left ? seconds : left < 1 ? 1 : left;

    return ORDER_WAITS;
}

/* The same because of a fault, which the order and its job show. */
static enum order_end
order_retry(struct order *o, const struct issuer_step *step, int seconds,
    const struct error *why, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    CLEANUP(mem) char         *problem = NULL;
    char                       wait[16];

    snprintf(wait, sizeof(wait), "%d", seconds);
    problem = step && step->problem ? json_dumps(step->problem, JSON_COMPACT) : NULL;

    if (!work_begin(o->w, &tx, err)
        || !account_release(&o->w->core, o->issuer_id, o->id, err)
        || !DB_RUN(tx, err, SQL_ORDER_WAITS, o->id, why->detail, o->w->id, problem, wait)
        || !db_commit(tx, err))
    {
        return ORDER_FAILED;
    }

    CERTCTL_POINT("issuer.fault.stored");

    return order_delay(o, seconds);
}

/* Seconds until a step that has failed is tried again: 2, doubled each time. */
static int
order_backoff(const struct order *o)
{
    return o->failures > 8 ? RETRY_MAX : 2 << o->failures;
}

/* The end of an order without a certificate. */
static enum order_end
order_fail(struct order *o, const struct issuer_step *step, struct error *err)
{
    struct error               why = *err;
    CLEANUP(mem) char         *problem = NULL;
    CLEANUP(db_tx) struct db  *tx = NULL;

    problem = step && step->problem ? json_dumps(step->problem, JSON_COMPACT) : NULL;

    if (!work_begin(o->w, &tx, err)
        || !DB_RUN(tx, err, SQL_ORDER_FAULT, o->id, why.detail, problem)
        || !account_release(&o->w->core, o->issuer_id, o->id, err)
        || !db_commit(tx, err))
    {
        return ORDER_FAILED;
    }

    challenge_withdraw(o->w, o->id, true);
    *err = why;
    err->code = ERR_INVALID;           /* no further try of the job */

    return ORDER_FAILED;
}

static enum order_end
order_fault(struct order *o, const struct issuer_step *step, struct error *err)
{
    char  seconds[16];
    int   wait = step->retry_after;

    *err = step->err;

    switch (step->fault) {
    case ISSUER_PERMANENT:
        return order_fail(o, step, err);

    case ISSUER_LIMITED:
        wait = wait > 0 ? wait : LIMITED_DEFAULT;
        snprintf(seconds, sizeof(seconds), "%d", wait);

        if (!DB_RUN(o->w->core.db, err, SQL_ISSUER_PAUSE, o->issuer_id, seconds,
                    step->err.detail))
        {
            return ORDER_FAILED;
        }

        return order_retry(o, step, wait, &step->err, err);

    default:
        break;
    }

    /* Nothing is ordered yet: another CA may do it sooner than this one recovers. */
    if (o->state == NULL) {
        return ORDER_FAILED;
    }

    if (wait < order_backoff(o)) {
        wait = order_backoff(o);
    }

    return order_retry(o, step, wait, &step->err, err);
}

/* What the step wants of the account, in the transaction that stores its state. */
static bool
order_account(struct order *o, const struct issuer_step *step, struct error *err)
{
    const struct core  *c = &o->w->core;
    json_t             *account = NULL;
    bool                held;

    if (step->account && !account_store(c, o->issuer_id, o->id, step->account, err)) {
        return false;
    }

    if (step->outcome != ISSUER_ACCOUNT) {
        o->ctx.account_held = false;
        return account_release(c, o->issuer_id, o->id, err);
    }

    if (!account_lock(c, o->issuer_id, o->id, &held, &account, err)) {
        return false;
    }

    if (held) {
        json_decref(o->account);
        o->account = account;
    }

    o->ctx.account_held = held;

    return true;
}

static bool
order_challenges(struct order *o, const struct issuer_step *step, struct error *err)
{
    for (size_t i = 0; i < step->nchallenges; i++) {
        if (!challenge_plan(&o->w->core, o->id, &step->challenges[i], err)) {
            return false;
        }
    }

    return true;
}

/* The audit event of a renewal stands with its last version. */
static bool
order_renewed(struct order *o, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(json_ref) json_t    *details = NULL;

    row = DB_EXEC(o->w->core.db, err, SQL_CERTIFICATE_RENEWED, o->id);

    if (row == NULL || PQntuples(row) == 0) {
        return row != NULL;
    }

    details = json_loads(PQgetvalue(row, 0, 0), 0, NULL);

    return audit_write(&o->w->core, AUDIT_CERT_LIFECYCLE, "certificate_renewed", "certificate",
                       o->w->certificate_id, details, err);
}

static bool
order_version(struct order *o, const struct issuer_step *step, struct error *err)
{
    struct certctl_x509_info  info;
    char                      from[ORDER_TIME], until[ORDER_TIME], bits[16];

    if (step->outcome != ISSUER_ISSUED) {
        return true;
    }

    if (!order_verify_chain(step->chain_pem, &o->req, &info, err)
        || !profile_allows_issued(&o->w->core, o->id, step->chain_pem, &info, err))
    {
        return false;
    }

    snprintf(bits, sizeof(bits), "%d", info.key_bits);
    order_time(info.not_before, from);
    order_time(info.not_after, until);

    return DB_RUN(o->w->core.db, err, SQL_ORDER_ISSUED, o->id, info.serial, from, until,
                  info.fingerprint, info.spki, step->chain_pem, info.key_type, bits,
                  o->w->core.actor)
           && order_renewed(o, err);
}

/* All that a step has learnt, or nothing of it. */
static bool
order_learn(struct order *o, const struct issuer_step *step, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    CLEANUP(mem) char         *state = NULL;
    char                       wait[16];

    snprintf(wait, sizeof(wait), "%d", step->outcome == ISSUER_PENDING
                                       && step->retry_after > 0 ? step->retry_after : 0);

    if (step->state) {
        state = json_dumps(step->state, JSON_COMPACT | JSON_ENCODE_ANY);

        if (state == NULL) {
            return error_set(err, ERR_INTERNAL, "out of memory");
        }
    }

    if (!work_begin(o->w, &tx, err)
        || !DB_RUN(tx, err, SQL_ORDER_STEP, o->id, state, wait)
        || !order_account(o, step, err)
        || !order_challenges(o, step, err)
        || !order_version(o, step, err)
        || !db_commit(tx, err))
    {
        return false;
    }

    if (step->state) {
        json_decref(o->state);
        o->state = json_incref(step->state);
    }

    if (step->account) {
        json_decref(o->account);
        o->account = json_incref(step->account);
    }

    o->failures = 0;
    o->challenged |= step->nchallenges > 0;

    return true;
}

/* A step has returned: stored, then what comes next. */
static enum order_end
order_record(struct order *o, const struct issuer_step *step, struct error *err)
{
    if (step->outcome == ISSUER_FAILED) {
        return order_fault(o, step, err);
    }

    if (!order_learn(o, step, err)) {
        return err->code == ERR_INVALID
               && (step->nchallenges || step->outcome == ISSUER_ISSUED)
               ? order_fail(o, step, err) : ORDER_FAILED;
    }

    switch (step->outcome) {
    case ISSUER_ISSUED:
        return ORDER_ISSUED;

    case ISSUER_PENDING:
        return step->retry_after > 0 ? order_delay(o, step->retry_after) : ORDER_GOES_ON;

    case ISSUER_CHALLENGES:
        challenge_withdraw(o->w, o->id, false);
        return ORDER_GOES_ON;

    case ISSUER_ACCOUNT:
        return o->ctx.account_held ? ORDER_GOES_ON : order_delay(o, ACCOUNT_WAIT);

    default:
        error_set(err, ERR_INTERNAL, "issuer %s: unknown outcome", o->issuer_id);
        return ORDER_FAILED;
    }
}

static enum order_end
order_next(struct order *o, struct error *err)
{
    struct error        why = { 0 };
    struct issuer_step  step = { 0 };
    enum order_end      end;

    o->ctx.now = time(NULL);
    o->ctx.config = o->config;
    o->ctx.account = o->account;

    if (o->ctx.now >= o->ctx.deadline) {
        error_set(err, ERR_INVALID, "the CA has not issued before the order's deadline%s%s",
                  *o->last_error ? ": " : "", o->last_error);
        return order_fail(o, NULL, err);
    }

    if (o->challenged && !challenge_place(o->w, o->id, &why)) {
        return order_retry(o, NULL, order_backoff(o), &why, err);
    }

    if (o->wait > 0) {
        return order_delay(o, o->wait);
    }

    work_hold(o->w);

    if (!work_alive(o->w, err)) {
        return ORDER_FAILED;
    }

    CERTCTL_POINT("order.step.before");
    o->issuer->step(&o->ctx, o->state, &o->req, &step);
    CERTCTL_POINT("order.step.returned");
    end = order_record(o, &step, err);
    CERTCTL_POINT("order.step.stored");
    issuer_step_free(&step);

    return end;
}

enum order_end
order_steps(struct work *w, const PGresult *orders, int i, double *delay,
    struct error *err)
{
    CLEANUP(order) struct order  o = { 0 };
    enum order_end               end = ORDER_GOES_ON;

    if (!order_open(&o, w, orders, i, err)) {
        return ORDER_FAILED;
    }

    for (int n = 0; n < STEPS_AT_ONCE && end == ORDER_GOES_ON; n++) {
        o.ctx.resumed = n == 0 && o.state != NULL;
        end = order_next(&o, err);
    }

    if (end == ORDER_ISSUED && o.challenged) {
        challenge_withdraw(w, o.id, true);
    }

    *delay = o.delay;

    return end == ORDER_GOES_ON ? ORDER_WAITS : end;
}
