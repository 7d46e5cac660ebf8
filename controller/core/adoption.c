/* Claims an observed certificate: managed row, target on its agent, mapping. */
#include "adoption.h"
#include "field.h"
#include "profile.h"
#include "sql_core.h"
#include "sql_live.h"
#include "record.h"
#include "states.h"
#include "wire.h"

#include <string.h>

enum { ID, AGENT, PLACE, COMMON_NAME, SANS, RECORD, SOURCE, STATUS, MANAGED,
       IS_CA, SERVER_NAME };

static bool
claim_allowed(const PGresult *row, const char *id, const char *managed_id,
    struct error *err)
{
    if (PQntuples(row) == 0) {
        return error_not_found(err, "discovered_certificate", id);
    }

    if (strcmp(PQgetvalue(row, 0, IS_CA), "t") == 0) {
        return error_set(err, ERR_INVALID, "%s is a CA certificate: only leaf "
                         "certificates are managed", id);
    }

    if (!PQgetisnull(row, 0, MANAGED)
        && (managed_id == NULL || strcmp(managed_id, PQgetvalue(row, 0, MANAGED)) != 0))
    {
        return error_set(err, ERR_CONFLICT, "%s is managed as %s", id,
                         PQgetvalue(row, 0, MANAGED));
    }

    if (strcmp(PQgetvalue(row, 0, SOURCE), "placeholder") == 0 && managed_id == NULL) {
        return error_set(err, ERR_INVALID, "%s is a placeholder: create a certificate "
                         "for its server instead of adopting it", id);
    }

    return true;
}

/* The record's name on the host: what the certificate is called there already,
 * else its first usable name. */
static const char *
claim_record(const PGresult *row)
{
    const char  *name = PQgetvalue(row, 0, RECORD);

    if (*name == '\0') {
        name = PQgetvalue(row, 0, COMMON_NAME);
    }

    if (!certctl_record_usable(name, strlen(name))) {
        name = PQgetvalue(row, 0, SERVER_NAME);
    }

    return name;
}

/* A stranger has written it: NULL when it is no name that an object may have. */
static const char *
claim_name(const PGresult *row)
{
    struct error  ignored;
    const char   *name = PQgetvalue(row, 0, COMMON_NAME);

    return *name && strlen(name) <= CERTCTL_NAME_MAX && field_check_label(name, &ignored)
           ? name : NULL;
}

/* What could not be issued again is not managed: it would only expire. */
static bool
claim_refused(const char *id, struct error *err)
{
    err->pointer[0] = '\0';

    return err->code == ERR_INVALID
           ? error_prefix(err, "%s could not be renewed", id) : false;
}

bool
adoption_claim(const struct core *c, const char *discovered_id,
    const char *managed_id, char **managed_id_out, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    CLEANUP(mem) char           *id = NULL, *target = NULL;

    row = DB_EXEC(c->db, err, SQL_DISCOVERED_GET, discovered_id);

    if (row == NULL || !claim_allowed(row, discovered_id, managed_id, err)) {
        return false;
    }

    if (managed_id && !certificate_allows(c, managed_id, "claim", err)) {
        return err->code == ERR_NOT_FOUND
               ? error_field(err, "/managed_certificate_id", "certificate \"%s\" not found",
                             managed_id) : false;
    }

    id = managed_id ? strdup(managed_id)
                    : DB_VALUE(c->db, err, SQL_ADOPTION_CERTIFICATE, discovered_id,
                               claim_name(row));

    if (id == NULL) {
        return false;
    }

    if (managed_id == NULL && !profile_allows(c, id, err)) {
        return claim_refused(discovered_id, err);
    }

    target = DB_VALUE(c->db, err, SQL_ADOPTION_TARGET, PQgetvalue(row, 0, AGENT),
                      claim_record(row));

    if (target == NULL
        || !DB_RUN(c->db, err, SQL_ADOPTION_MAP, id, target)
        || !DB_RUN(c->db, err, SQL_LIVE_ADOPTED, discovered_id, id)
        || !DB_RUN(c->db, err, SQL_ADOPTION_LINK, discovered_id, id))
    {
        return false;
    }

    *managed_id_out = TAKE(id);

    return true;
}
