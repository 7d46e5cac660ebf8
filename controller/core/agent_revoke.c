/* A host whose keys are no longer its own: refused, revoked, replaced elsewhere. */
#include "agent.h"

#include "renewal.h"
#include "revocation.h"
#include "sql_agent.h"
#include "sql_core.h"
#include "sql_identity.h"

#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* Whose work is under way ends; other hosts get another key and certificate.  A
 * certificate that nobody else serves is revoked as a whole. */
static bool
agent_replace(const struct core *c, const char *agent_id,
    const char *certificate_id, const char *reason, json_t *answer, struct error *err)
{
    CLEANUP(mem) char  *elsewhere = NULL, *job = NULL, *attempt = NULL;
    struct error        why = { 0 };
    const struct renewal_options  options = { .force = true, .override_limit = true };

    elsewhere = DB_VALUE(c->db, err, SQL_AGENT_REVOKE_ELSEWHERE, certificate_id);

    if (elsewhere == NULL
        || !DB_RUN(c->db, err, SQL_RENEWAL_CANCEL_OPEN, certificate_id))
    {
        return false;
    }

    if (strcmp(elsewhere, "0") == 0) {
        return revocation_request(c, certificate_id, reason, err)
               && json_array_append_new(json_object_get(answer, "ended"),
                                        json_string(certificate_id)) == 0;
    }

    if (!DB_RUN(c->db, err, SQL_AGENT_REVOKE_ORDERS, certificate_id, agent_id, c->actor)) {
        return false;
    }

    if (renewal_request(c, certificate_id, &options, &job, &attempt, &why)) {
        return json_array_append_new(json_object_get(answer, "replaced"),
                                     json_string(certificate_id)) == 0;
    }

    if (why.code != ERR_INVALID) {
        *err = why;
        return false;
    }

    /* its policy forbids it: a person has to */
    return json_array_append_new(json_object_get(answer, "not_replaced"),
                                 json_pack("{s:s, s:s}", "certificate_id", certificate_id,
                                           "reason", why.detail)) == 0;
}

static bool
agent_revoke_row(const struct core *c, const char *agent_id, const char *reason,
    const char *code, bool *retired, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL, *there = NULL;

    row = DB_EXEC(c->db, err, SQL_AGENT_REVOKE, agent_id, reason, code);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row)) {
        *retired = strcmp(PQgetvalue(row, 0, 0), "t") == 0;
        return true;
    }

    there = DB_EXEC(c->db, err, SQL_AGENT_EXISTS, agent_id);

    return there
           && (PQntuples(there)
               ? error_set(err, ERR_CONFLICT, "agent %s is revoked already", agent_id)
               : error_not_found(err, "agent", agent_id));
}

bool
agent_revoke(const struct core *c, const char *agent_id, const char *reason,
    json_t **ret, struct error *err)
{
    CLEANUP(json_ref) json_t    *answer = NULL;
    CLEANUP(pgresult) PGresult  *affected = NULL;
    CLEANUP(mem) char           *count = NULL, *at = NULL;
    const char                  *code = revocation_reason(reason, err);
    bool                         retired = false;

    if (code == NULL
        || !agent_revoke_row(c, agent_id, reason, code, &retired, err)
        || (affected = DB_EXEC(c->db, err, SQL_AGENT_REVOKE_AFFECTED, agent_id)) == NULL
        || (count = DB_VALUE(c->db, err, SQL_AGENT_REVOKE_VERSIONS, agent_id, reason, code,
                             c->actor)) == NULL)
    {
        return false;
    }

    if (!retired
        && (at = DB_VALUE(c->db, err, SQL_AGENT_RETIRE, agent_id, "revoked")) == NULL)
    {
        return false;
    }

    answer = json_pack("{s:s, s:i, s:[], s:[], s:[]}", "status", "revoked",
                       "revoked_certificates",
                       (int) strtol(count, NULL, 10), "replaced", "not_replaced", "ended");

    for (int i = 0; i < PQntuples(affected); i++) {
        if (!agent_replace(c, agent_id, PQgetvalue(affected, i, 0), reason, answer,
                           err))
        {
            return false;
        }
    }

    *ret = TAKE(answer);

    return true;
}
