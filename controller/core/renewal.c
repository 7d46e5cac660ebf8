/* Renew Now: the rules that let a person start a renewal, and the rows it takes. */
#include "renewal.h"
#include "sql_core.h"

#include "states.h"

#include <string.h>

enum { STATUS, EXPIRES, POLICY, METHOD, ACTIVE, RETRIES, TARGETS, OPEN, ISSUED,
       RULE };

static bool
renewal_allowed(const PGresult *row, const char *id, struct error *err)
{
    const char  *method = PQgetvalue(row, 0, METHOD);

    if (!certificate_may(id, PQgetvalue(row, 0, STATUS), "renew", err)) {
        return false;
    }

    if (PQgetisnull(row, 0, POLICY)) {
        return error_set(err, ERR_INVALID, "%s: no renewal policy applies: name one, "
                         "or make an account default", id);
    }

    if (strcmp(PQgetvalue(row, 0, ACTIVE), "t") != 0) {
        return error_set(err, ERR_INVALID, "%s: its renewal policy %s is not active",
                         id, PQgetvalue(row, 0, POLICY));
    }

    if (strcmp(method, "manual") == 0 || strcmp(method, "none") == 0) {
        return error_set(err, ERR_INVALID, "%s: the method of its renewal policy %s is "
                         "%s, which does not renew", id, PQgetvalue(row, 0, POLICY),
                         method);
    }

    if (!PQgetisnull(row, 0, RULE)) {
        return error_set(err, ERR_INVALID, "%s: %s", id, PQgetvalue(row, 0, RULE));
    }

    if (strcmp(PQgetvalue(row, 0, TARGETS), "0") == 0) {
        return error_set(err, ERR_INVALID, "%s has no enabled deployment target, so "
                         "nobody could make and hold its key", id);
    }

    return true;
}

bool
renewal_request(const struct core *c, const char *certificate_id, bool force,
    char **job_id, char **attempt_id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(mem) char           *attempt = NULL, *job = NULL;
    const char                  *expires;

    if (force && !DB_RUN(c->db, err, SQL_CERTIFICATE_JOBS_LOCK, certificate_id)) {
        return false;
    }

    row = DB_EXEC(c->db, err, SQL_RENEWAL_FACTS, certificate_id);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_set(err, ERR_NOT_FOUND, "there is no certificate %s",
                         certificate_id);
    }

    if (!renewal_allowed(row, certificate_id, err)) {
        return false;
    }

    if (!PQgetisnull(row, 0, OPEN)) {
        if (!force) {
            return error_set(err, ERR_CONFLICT, "%s is being renewed by %s",
                             certificate_id, PQgetvalue(row, 0, OPEN));
        }
        if (!DB_RUN(c->db, err, SQL_RENEWAL_CANCEL_OPEN, certificate_id)) {
            return false;
        }
    }

    expires = PQgetisnull(row, 0, EXPIRES) ? NULL : PQgetvalue(row, 0, EXPIRES);

    attempt = DB_VALUE(c->db, err, SQL_RENEWAL_ATTEMPT, certificate_id,
                       PQgetvalue(row, 0, METHOD), c->actor, expires);

    job = attempt ? DB_VALUE(c->db, err, SQL_RENEWAL_JOB,
                             strcmp(PQgetvalue(row, 0, ISSUED), "t") == 0
                             || expires ? "Renewal" : "Issuance",
                             certificate_id, attempt, PQgetvalue(row, 0, RETRIES),
                             c->actor)
                  : NULL;

    if (job == NULL || !DB_RUN(c->db, err, SQL_RENEWAL_MARK, certificate_id)) {
        return false;
    }

    *job_id = TAKE(job);
    *attempt_id = TAKE(attempt);

    return true;
}
