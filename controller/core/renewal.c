/* Renew Now: the rules that let a person start a renewal, and the rows it takes. */
#include "renewal.h"
#include "profile.h"
#include "sql_core.h"

#include "states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS, EXPIRES, METHOD, RETRIES, TARGETS, OPEN, ISSUED, REFUSAL, ISSUED_TODAY,
       ALLOWED, WAIT };

static bool
renewal_allowed(const PGresult *row, const char *id, struct error *err)
{

    if (!certificate_may(id, PQgetvalue(row, 0, STATUS), "renew", err)) {
        return false;
    }

    if (!PQgetisnull(row, 0, REFUSAL)) {
        return error_set(err, ERR_INVALID, "%s: %s", id, PQgetvalue(row, 0, REFUSAL));
    }

    if (strcmp(PQgetvalue(row, 0, TARGETS), "0") == 0) {
        return error_set(err, ERR_INVALID, "%s has no enabled deployment target, so "
                         "nobody could make and hold its key", id);
    }

    return true;
}

bool
renewal_limited(const char *certificate_id, const char *issued,
    const char *allowed, const char *wait, struct error *err)
{
    error_set(err, ERR_THROTTLED, "%s was issued %s times within 24 hours: at most %s are "
              "allowed (max_issuances_per_day); it can be issued again in %s s",
              certificate_id, issued, allowed, wait);
    err->retry_after = (int) strtol(wait, NULL, 10);

    return false;
}

bool
renewal_request(const struct core *c, const char *certificate_id,
    const struct renewal_options *options, char **job_id, char **attempt_id,
    struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(mem) char           *attempt = NULL, *job = NULL;
    const char                  *expires;
    char                         most[16];

    if (options->force
        && !DB_RUN(c->db, err, SQL_CERTIFICATE_JOBS_LOCK, certificate_id))
    {
        return false;
    }

    snprintf(most, sizeof(most), "%d", options->max_issuances);
    row = DB_EXEC(c->db, err, SQL_RENEWAL_FACTS, certificate_id, most);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_not_found(err, "certificate", certificate_id);
    }

    if (!renewal_allowed(row, certificate_id, err)) {
        return false;
    }

    if (!profile_allows(c, certificate_id, err)) {
        err->pointer[0] = '\0';
        return error_prefix(err, "%s", certificate_id);
    }

    if (!PQgetisnull(row, 0, OPEN) && !options->force) {
        return error_set(err, ERR_CONFLICT, "%s is being renewed by %s",
                         certificate_id, PQgetvalue(row, 0, OPEN));
    }

    if (strcmp(PQgetvalue(row, 0, WAIT), "0") != 0 && !options->override_limit) {
        return renewal_limited(certificate_id, PQgetvalue(row, 0, ISSUED_TODAY),
                               PQgetvalue(row, 0, ALLOWED), PQgetvalue(row, 0, WAIT), err);
    }

    if (!PQgetisnull(row, 0, OPEN)
        && !DB_RUN(c->db, err, SQL_RENEWAL_CANCEL_OPEN, certificate_id))
    {
        return false;
    }

    expires = PQgetisnull(row, 0, EXPIRES) ? NULL : PQgetvalue(row, 0, EXPIRES);

    attempt = DB_VALUE(c->db, err, SQL_RENEWAL_ATTEMPT, certificate_id,
                       PQgetvalue(row, 0, METHOD), c->actor, expires,
                       options->override_limit ? "true" : "false");

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
