/*
 * Versions onto the targets of one host: chain, staple, and the look that makes it
 * true.  What is ready together is pushed together; every step may be repeated.
 */
#include "deployment.h"

#include "confirm.h"
#include "point.h"
#include "sql_core.h"
#include "sql_live.h"
#include "staple.h"
#include "states.h"

#include <string.h>
#include <time.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { ID, CHAIN, FINGERPRINT, ISSUER, SERIAL, TARGET, TYPE, CONFIG, AGENT,
       COMMON_NAME, NAME, SANS, STATUS, NEWEST };

enum { TARGETS, ENABLED, OPEN_JOBS };

bool
deployment_request(const struct core *c, const char *certificate_id,
    const char *target_id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    int                          made;

    if (!certificate_allows(c, certificate_id, "deploy", err)) {
        return false;
    }

    row = DB_EXEC(c->db, err, SQL_DEPLOYMENT_OPEN, certificate_id, target_id);
    if (row == NULL) {
        return false;
    }

    if (strcmp(PQgetvalue(row, 0, TARGETS), "0") == 0) {
        return error_set(err, ERR_INVALID, target_id
                         ? "%s is not mapped to target %s" : "%s has no deployment target",
                         certificate_id, target_id);
    }

    if (strcmp(PQgetvalue(row, 0, ENABLED), "0") == 0) {
        return error_set(err, ERR_INVALID, target_id
                         ? "target %2$s of %1$s is not enabled: enable it first"
                         : "%s has no enabled deployment target", certificate_id, target_id);
    }

    if (!db_run(c->db, SQL_DEPLOYMENT_REQUEST, 3,
                (const char *[]) { certificate_id, target_id, c->actor }, &made, err))
    {
        return false;
    }

    /* What is under way will deploy by itself. */
    return made > 0 || strcmp(PQgetvalue(row, 0, OPEN_JOBS), "0") != 0
           || error_set(err, ERR_INVALID, "%s has no issued version to deploy: renew it "
                        "first", certificate_id);
}

/* One version on its way onto its target. */
struct deployment {
    struct work          *work;
    PGresult             *v;
    json_t               *config;
    const struct target  *target;
    char                  record[256];
    struct staple         staple;
    struct error          err;
    bool                  open;          /* it is still to be installed */
    bool                  ended;
};

/* What is pushed together. */
struct deployments {
    struct agent_row     agent;
    struct deployment    of[TARGET_MANY];
    int                  n;
    work_done           *done;
    void                *data;
};

static void
deployment_end(struct deployments *all, struct deployment *d, bool good)
{
    db_rollback(d->work->core.db);
    d->ended = true;
    all->done(all->data, d->work, good ? WORK_DONE : WORK_FAILED, &d->err);
}

/* While one is at work, the leases of the others go on. */
static void
deployment_hold(struct deployments *all)
{
    for (int i = 0; i < all->n; i++) {
        if (!all->of[i].ended) {
            work_hold(all->of[i].work);
        }
    }
}

static double
since_ms(const struct timespec *from)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (now.tv_sec - from->tv_sec) * 1e3 + (now.tv_nsec - from->tv_nsec) / 1e6;
}

static bool
deployment_store(struct work *w, const PGresult *v, const char *record,
    const struct confirm_result *seen, double live_ms, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;
    CLEANUP(json_ref) json_t  *details = NULL;

    details = json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:i, s:i}",
                        "fingerprint", PQgetvalue(v, 0, FINGERPRINT),
                        "version_id", w->version_id, "target_id", w->target_id,
                        "record", record, "push_to_handshake_ms", live_ms,
                        "handshake_ms", seen->ms, "listeners", seen->listeners,
                        "stapled", seen->stapled);

    CERTCTL_POINT("deployment.confirmed");

    /* Of two that end together the second has to see the first: which is the last? */
    return details && work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_CERTIFICATE_STATUS, w->certificate_id)
           && DB_RUN(tx, err, SQL_DEPLOYMENT_DONE, w->version_id)
           && DB_RUN(tx, err, SQL_LIVE_DEPLOYED, w->version_id, w->target_id)
           && DB_RUN(tx, err, SQL_AGENT_LOOK, w->agent_id)
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "deployment_completed", "certificate",
                          w->certificate_id, details, err)
           && db_commit(tx, err);
}

/*
 * The staple comes first, so that it goes live with its certificate.  Nothing to
 * staple is a quiet, normal state; a responder that is away does not hold back
 * a certificate, the OCSP loop will come back to it.
 */
static void
deployment_staple(struct work *w, const PGresult *v, struct staple *staple)
{
    struct error  err = { 0 };

    if (staple_get(w, PQgetvalue(v, 0, CHAIN), PQgetvalue(v, 0, ISSUER), 0, 0, staple,
                   &err)
        && staple->info.status != CERTCTL_OCSP_GOOD)
    {
        staple_free(staple);
    }
}

/* Everything before the push; false when it cannot be deployed. */
static bool
deployment_prepare(struct deployment *d)
{
    struct work   *w = d->work;
    struct error  *err = &d->err;

    d->v = DB_EXEC(w->core.db, err, SQL_DEPLOYMENT_FACTS, w->version_id, w->target_id);
    if (d->v == NULL) {
        return false;
    }

    if (PQntuples(d->v) == 0
        || (d->target = target_find(PQgetvalue(d->v, 0, TYPE))) == NULL)
    {
        return error_set(err, ERR_INVALID, "version %s or target %s is gone, or it is deployed "
                         "there no more",
                         w->version_id, w->target_id);
    }

    if (d->target->install == NULL) {
        return error_set(err, ERR_INVALID, "target %s is of type %s, which an agent on "
                         "the host serves: there is none", w->target_id,
                         d->target->kind.name);
    }

    if (strcmp(PQgetvalue(d->v, 0, NEWEST), w->version_id) != 0) {
        return error_set(err, ERR_INVALID, "a newer version took the place of %s",
                         w->version_id);
    }

    d->config = json_loads(PQgetvalue(d->v, 0, CONFIG), 0, NULL);

    if (!link_record(d->config, w->certificate_id, PQgetvalue(d->v, 0, COMMON_NAME), d->record,
                     sizeof(d->record), &d->err))
    {
        return false;
    }

    deployment_staple(w, d->v, &d->staple);

    return true;
}

/* What was pushed is looked at, and stored as deployed. */
static bool
deployment_finish(struct deployment *d, const struct agent_row *agent,
    const char *live, const struct timespec *pushed)
{
    struct work            *w = d->work;
    struct confirm_result   seen;
    const char             *probe;

    CERTCTL_POINT("deployment.installed");

    if (strcmp(live, PQgetvalue(d->v, 0, FINGERPRINT)) != 0) {
        return error_set(&d->err, ERR_PEER, "the module has installed %.16s..., not "
                         "%.16s...", live, PQgetvalue(d->v, 0, FINGERPRINT));
    }

    if (d->staple.der && !staple_record(w, agent->link.agent_id, &d->staple, &d->err)) {
        return false;
    }

    probe = json_string_value(json_object_get(d->config, "probe"));

    return confirm_live(w, d->target, agent, d->record, PQgetvalue(d->v, 0, COMMON_NAME),
                        live, probe, d->staple.der != NULL, &seen, &d->err)
           && deployment_store(w, d->v, d->record, &seen, since_ms(pushed), &d->err);
}

static bool
deployment_fits(const struct deployment *d, struct deployment **others, int n)
{
    for (int i = 0; i < n; i++) {
        if (d->target != others[i]->target || strcmp(d->record, others[i]->record) == 0) {
            return false;
        }
    }

    return d->open;
}

/* Those that can go in one push: of one type, each record once. */
static int
deployment_gather(struct deployments *all, struct deployment **ret,
    struct target_item *items)
{
    struct deployment  *d;
    int                 count = 0;

    for (int i = 0; i < all->n; i++) {
        d = &all->of[i];

        if (!deployment_fits(d, ret, count)) {
            continue;
        }

        d->open = false;

        if (!work_alive(d->work, &d->err)) {
            deployment_end(all, d, false);
            continue;
        }

        items[count] = (struct target_item) {
            .record = d->record, .chain_pem = PQgetvalue(d->v, 0, CHAIN),
            .staple = d->staple.der, .staple_len = d->staple.len,
        };
        ret[count++] = d;
    }

    return count;
}

static void
deployment_push(struct deployments *all)
{
    struct deployment   *some[TARGET_MANY];
    struct target_item   items[TARGET_MANY];
    struct timespec      pushed;
    int                  count;
    bool                 good;

    while ((count = deployment_gather(all, some, items)) > 0) {
        clock_gettime(CLOCK_MONOTONIC, &pushed);
        some[0]->target->install(&all->agent.link, items, count);

        for (int i = 0; i < count; i++) {
            deployment_hold(all);

            if (!items[i].installed) {
                some[i]->err = items[i].err;
            }

            good = items[i].installed
                   && deployment_finish(some[i], &all->agent, items[i].fingerprint,
                                        &pushed);
            deployment_end(all, some[i], good);
        }
    }
}

void
deployment_run(struct work *works, int n, work_done *done, void *data)
{
    struct deployments   all = { .n = n, .done = done, .data = data };
    struct deployment   *d;
    struct error         err = { 0 };
    bool                 met;

    for (int i = 0; i < n; i++) {
        all.of[i].work = &works[i];
    }

    met = link_agent(&works[0], works[0].agent_id, &all.agent, &err);

    for (int i = 0; i < n; i++) {
        d = &all.of[i];
        d->err = err;
        deployment_hold(&all);
        d->open = met && deployment_prepare(d);

        if (!d->open) {
            deployment_end(&all, d, false);
        }
    }

    deployment_push(&all);

    for (int i = 0; i < n; i++) {
        PQclear(all.of[i].v);
        json_decref(all.of[i].config);
        staple_free(&all.of[i].staple);
    }

    PQclear(all.agent.row);
}

bool
deployment_failed(struct work *w, const char *reason, struct error *err)
{
    CLEANUP(json_ref) json_t  *details = json_pack("{s:s, s:s, s:s}", "error", reason,
                                                   "version_id", w->version_id,
                                                   "target_id", w->target_id);

    return (*w->attempt_id == '\0'
            || DB_RUN(w->core.db, err, SQL_ATTEMPT_FAILED, w->attempt_id, reason,
                      "false"))
           && audit_write(&w->core, AUDIT_CERT_LIFECYCLE, "deployment_failed", "certificate",
                          w->certificate_id, details, err);
}
