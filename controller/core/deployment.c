/*
 * One version onto one target: chain, staple, and the look that makes it true.
 * Every step may be repeated.
 */
#include "deployment.h"

#include "confirm.h"
#include "point.h"
#include "staple.h"

#include <string.h>
#include <time.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { ID, CHAIN, FINGERPRINT, ISSUER, SERIAL, TARGET, TYPE, CONFIG, AGENT,
       COMMON_NAME, NAME, SANS, STATUS, NEWEST };

bool
deployment_request(const struct core *c, const char *certificate_id,
    const char *target_id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    int                          made;

    row = DB_EXEC(c->db, err, SQL_DEPLOYMENT_OPEN, certificate_id, target_id);
    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_set(err, ERR_NOT_FOUND, "there is no certificate %s", certificate_id);
    }

    if (strcmp(PQgetvalue(row, 0, 1), "0") == 0) {
        return error_set(err, ERR_INVALID, target_id
                         ? "%s is not mapped to target %s" : "%s has no deployment target",
                         certificate_id, target_id);
    }

    if (!db_run(c->db, SQL_DEPLOYMENT_REQUEST, 3,
                (const char *[]) { certificate_id, target_id, c->actor }, &made, err))
    {
        return false;
    }

    /* What is under way will deploy by itself. */
    return made > 0 || strcmp(PQgetvalue(row, 0, 2), "0") != 0
           || error_set(err, ERR_INVALID, "%s has no issued version to deploy: renew it "
                        "first", certificate_id);
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

    return details && work_begin(w, &tx, err)
           && DB_RUN(tx, err, SQL_DEPLOYMENT_DONE, w->version_id)
           && DB_RUN(tx, err, SQL_AGENT_LOOK, w->agent_id)
           && audit_write(&w->core, "deployment_completed", "certificate",
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

enum work_result
deployment_run(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult          *v = NULL;
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    CLEANUP(json_ref) json_t            *config = NULL;
    struct target_installed              done;
    struct confirm_result                seen;
    struct timespec                      pushed;
    const struct target                 *target;
    CLEANUP(staple) struct staple        staple = { 0 };
    char                                 record[256];

    v = DB_EXEC(w->core.db, err, SQL_DEPLOYMENT_FACTS, w->version_id, w->target_id);
    if (v == NULL) {
        return WORK_FAILED;
    }

    if (PQntuples(v) == 0 || (target = target_find(PQgetvalue(v, 0, TYPE))) == NULL) {
        error_set(err, ERR_INVALID, "version %s or target %s is gone", w->version_id,
                  w->target_id);
        return WORK_FAILED;
    }

    if (strcmp(PQgetvalue(v, 0, NEWEST), w->version_id) != 0) {
        error_set(err, ERR_INVALID, "a newer version took the place of %s", w->version_id);
        return WORK_FAILED;
    }

    config = json_loads(PQgetvalue(v, 0, CONFIG), 0, NULL);
    link_record(config, PQgetvalue(v, 0, COMMON_NAME), record, sizeof(record));

    if (!link_agent(w, PQgetvalue(v, 0, AGENT), &agent, err)) {
        return WORK_FAILED;
    }

    deployment_staple(w, v, &staple);
    clock_gettime(CLOCK_MONOTONIC, &pushed);

    if (!work_alive(w, err)
        || !target->install(&agent.link, record, PQgetvalue(v, 0, CHAIN), staple.der,
                            staple.len, &done, err))
    {
        return WORK_FAILED;
    }

    CERTCTL_POINT("deployment.installed");

    if (strcmp(done.fingerprint, PQgetvalue(v, 0, FINGERPRINT)) != 0) {
        error_set(err, ERR_PEER, "the module has installed %.16s..., not %.16s...",
                  done.fingerprint, PQgetvalue(v, 0, FINGERPRINT));
        return WORK_FAILED;
    }

    if (staple.der && !staple_record(w, agent.link.agent_id, &staple, err)) {
        return WORK_FAILED;
    }

    if (!confirm_live(w, target, &agent, record, PQgetvalue(v, 0, COMMON_NAME),
                      done.fingerprint, json_string_value(json_object_get(config, "probe")),
                      staple.der != NULL, &seen, err))
    {
        return WORK_FAILED;
    }

    return deployment_store(w, v, record, &seen, since_ms(&pushed), err)
           ? WORK_DONE : WORK_FAILED;
}

bool
deployment_failed(struct work *w, const char *reason, struct error *err)
{
    CLEANUP(json_ref) json_t  *details = json_pack("{s:s, s:s, s:s}", "error", reason,
                                                   "version_id", w->version_id,
                                                   "target_id", w->target_id);

    return (*w->attempt_id == '\0'
            || DB_RUN(w->core.db, err, SQL_ATTEMPT_FAILED, w->attempt_id, reason))
           && audit_write(&w->core, "deployment_failed", "certificate",
                          w->certificate_id, details, err);
}
