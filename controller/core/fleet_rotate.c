/*
 * Replaces the fleet CA: the next one is made and hosts learn it, then it is used,
 * then the one before is withdrawn.  The database knows which step is due.
 */
#include "fleet_make.h"

#include "log.h"
#include "point.h"
#include "sql_trust.h"
#include "states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { STATE, TRUSTED, WAITING };

static bool
rotate_audit(const struct core *c, const char *action, const char *id,
    json_t *details, struct error *err)
{
    CLEANUP(json_ref) json_t  *held = details;

    log_event(LOG_NOTICE, "", "fleet CA %s: %s", id, action);

    return audit_write(c, AUDIT_CONFIG, action, "authority", id, held, err);
}

/* The row of id, locked. */
static PGresult *
rotate_row(const struct core *c, const char *id, struct error *err)
{
    PGresult  *row = DB_EXEC(c->db, err, SQL_AUTHORITY_WAITING, id);

    if (row && PQntuples(row) == 0) {
        PQclear(row);
        error_set(err, ERR_NOT_FOUND, "no fleet CA has the id %s", id);
        return NULL;
    }

    return row;
}

static bool
rotate_allowed(const PGresult *row, const char *id, const char *event,
    struct error *err)
{
    const char  *state = PQgetvalue(row, 0, STATE);

    return state_allows(authority_transitions, state, event)
           || error_set(err, ERR_CONFLICT, "fleet CA %s is %s: %s", id, state,
                        strcmp(event, "use") == 0
                        ? "only the next one can be used"
                        : "only the next or the previous one can be withdrawn");
}

bool
fleet_rotate(const struct core *c, const char *overlap_days, char **id,
    struct error *err)
{
    CLEANUP(pgresult) PGresult  *trusted = NULL;
    char                         name[64];

    trusted = DB_EXEC(c->db, err, SQL_AUTHORITY_WAITING, "fleet");

    if (trusted == NULL || (*id = DB_VALUE(c->db, err, SQL_AUTHORITY_ID)) == NULL) {
        return false;
    }

    if (PQntuples(trusted) && strcmp(PQgetvalue(trusted, 0, TRUSTED), "1") != 0) {
        return error_set(err, ERR_CONFLICT, "two fleet CAs are trusted already: the next "
                         "one can be made when the previous one is withdrawn");
    }

    snprintf(name, sizeof(name), "certctl fleet CA %.8s", *id + strlen("fleet-"));

    return fleet_make(c, *id, name, "next", overlap_days, err);
}

bool
fleet_use(const struct core *c, const char *id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = rotate_row(c, id, err);

    return row && rotate_allowed(row, id, "use", err)
           && DB_RUN(c->db, err, SQL_AUTHORITY_SUCCEED)
           && DB_RUN(c->db, err, SQL_AUTHORITY_USE);
}

bool
fleet_withdraw(const struct core *c, const char *id, bool force,
    struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = rotate_row(c, id, err);

    if (row == NULL || !rotate_allowed(row, id, "withdraw", err)) {
        return false;
    }

    if (!force && strcmp(PQgetvalue(row, 0, STATE), "previous") == 0
        && strcmp(PQgetvalue(row, 0, WAITING), "0") != 0)
    {
        return error_set(err, ERR_CONFLICT, "%s hosts that answer still depend on fleet CA "
                         "%s: wait until they have learnt the current one, or send "
                         "force: true", PQgetvalue(row, 0, WAITING), id);
    }

    return DB_RUN(c->db, err, SQL_AUTHORITY_WITHDRAW, id);
}

/* By its state; NULL with the error. */
static char *
rotate_id(const struct core *c, const char *state, struct error *err)
{
    return DB_VALUE(c->db, err, SQL_AUTHORITY_GET, state);
}

static bool
advance_make(const struct core *c, struct error *err)
{
    CLEANUP(mem) char  *id = NULL;

    return fleet_rotate(c, NULL, &id, err)
           && rotate_audit(c, "authority_created", id, NULL, err);
}

static bool
advance_use(const struct core *c, struct error *err)
{
    CLEANUP(mem) char  *id = rotate_id(c, "next", err);

    return id && fleet_use(c, id, err)
           && rotate_audit(c, "authority_used", id, NULL, err);
}

static bool
advance_withdraw(const struct core *c, struct error *err)
{
    CLEANUP(mem) char  *id = rotate_id(c, "previous", err);

    return id && fleet_withdraw(c, id, true, err)
           && rotate_audit(c, "authority_withdrawn", id, NULL, err);
}

static const struct step {
    const char  *name;         /* what authority_due() says */
    bool       (*run)(const struct core *c, struct error *err);
} steps[] = {
    { "make", advance_make },
    { "use", advance_use },
    { "withdraw", advance_withdraw },
    { NULL, NULL }
};

bool
fleet_advance(const struct core *c, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(db_tx) struct db    *tx = NULL;
    const struct step           *step = steps;

    if (!db_begin(c->db, err)) {
        return false;
    }

    tx = c->db;
    row = DB_EXEC(tx, err, SQL_AUTHORITY_DUE);

    if (row == NULL || PQntuples(row) == 0 || PQgetisnull(row, 0, 0)) {
        return row != NULL && db_commit(tx, err);
    }

    while (step->name && strcmp(step->name, PQgetvalue(row, 0, 0)) != 0) {
        step++;
    }

    CERTCTL_POINT("fleet.before_step");

    if (step->name && !step->run(c, err)) {
        return false;
    }

    CERTCTL_POINT("fleet.before_commit");

    return db_commit(tx, err);
}
