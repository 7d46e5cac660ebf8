/* A host that is brought back: with its store, or with a new one. */
#include "agent.h"

#include "renewal.h"
#include "sql_agent.h"
#include "sql_core.h"
#include "sql_live.h"
#include "work.h"

#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

enum { RETIRED, ENROLLED, FINGERPRINT, URL, KIND };
enum { RECOVERY_BY, RECOVERY_TYPE, RECOVERY_REASON, RECOVERY_OVERRIDE };

static bool
recover_allowed(const PGresult *row, const char *agent_id, struct error *err)
{
    if (PQntuples(row) == 0) {
        return error_set(err, ERR_NOT_FOUND, "no agent has this id");
    }

    if (strcmp(PQgetvalue(row, 0, RETIRED), "t") == 0) {
        return error_set(err, ERR_CONFLICT, "agent %s is retired: register the host as a "
                         "new agent", agent_id);
    }

    return strcmp(PQgetvalue(row, 0, KIND), "nginx-module") == 0
           || error_set(err, ERR_CONFLICT, "agent %s is not polled: it reports by itself",
                        agent_id);
}

/* A new first contact, where the host has another certificate or address, or where
 * the last one has failed; else a look at what it serves. */
static bool
recover_contact(const struct core *c, const char *agent_id, const PGresult *row,
    const struct agent_recovery *how, bool *again, struct error *err)
{
    CLEANUP(json_ref) json_t  *body = json_object();
    CLEANUP(mem) char         *text = NULL, *id = NULL;
    bool                       same = true;

    if (how->fingerprint) {
        json_object_set_new(body, "fingerprint", json_string(how->fingerprint));
        same = strcmp(how->fingerprint, PQgetvalue(row, 0, FINGERPRINT)) == 0;
    }

    if (how->url) {
        json_object_set_new(body, "url", json_string(how->url));
        same = same && strcmp(how->url, PQgetvalue(row, 0, URL)) == 0;
    }

    *again = !same;

    if (!same) {
        text = json_dumps(body, JSON_COMPACT);
        id = text ? DB_VALUE(c->db, err, SQL_AGENT_UPDATE, agent_id, text) : NULL;
        return id || err->code || error_set(err, ERR_INTERNAL, "out of memory");
    }

    return strcmp(PQgetvalue(row, 0, ENROLLED), "t") == 0
           ? DB_RUN(c->db, err, SQL_AGENT_LOOK, agent_id)
           : agent_enrol(c, agent_id, err);
}

bool
agent_recover(const struct core *c, const char *agent_id,
    const struct agent_recovery *how, json_t **ret, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(c->db, err, SQL_AGENT_RECOVERY_FACTS, agent_id);
    CLEANUP(mem) char           *certificates = NULL;
    bool                         again;

    if (row == NULL || !recover_allowed(row, agent_id, err)
        || !recover_contact(c, agent_id, row, how, &again, err)
        || !DB_RUN(c->db, err, SQL_AGENT_RECOVERY_BEGIN, agent_id, c->actor, c->actor_type,
                   how->reason, how->override_limit ? "true" : "false"))
    {
        return false;
    }

    certificates = DB_VALUE(c->db, err, SQL_AGENT_RECOVERY_CERTIFICATES, agent_id);
    if (certificates == NULL) {
        return false;
    }

    *ret = json_pack("{s:s, s:s, s:o}", "status", "recovery_started", "next",
                     again ? "first_contact" : "report",
                     "certificate_ids", json_loads(certificates, 0, NULL));

    return *ret || error_set(err, ERR_INTERNAL, "out of memory");
}

/* One that the host has lost; a rule that forbids it is for the audit trail. */
static bool
recover_renew(const struct core *c, const char *certificate_id,
    const struct renewal_options *options, json_t *done, struct error *err)
{
    CLEANUP(mem) char  *job = NULL, *attempt = NULL;
    struct error        why = { 0 };

    if (renewal_request(c, certificate_id, options, &job, &attempt, &why)) {
        return json_array_append_new(json_object_get(done, "renewed"),
                                     json_string(certificate_id)) == 0;
    }

    if (why.code != ERR_INVALID && why.code != ERR_CONFLICT && why.code != ERR_THROTTLED) {
        *err = why;
        return false;
    }

    return json_array_append_new(json_object_get(done, "not_renewed"),
                                 json_pack("{s:s, s:s}", "certificate_id", certificate_id,
                                           "reason", why.detail)) == 0;
}

bool
agent_recovered(struct work *w, struct db *tx, struct error *err)
{
    CLEANUP(pgresult) PGresult  *by = DB_EXEC(tx, err, SQL_AGENT_RECOVERY, w->agent_id);
    CLEANUP(pgresult) PGresult  *due = NULL;
    CLEANUP(json_ref) json_t    *done = NULL;
    struct core                  c = w->core;
    struct renewal_options       options = { .max_issuances = w->max_issuances };

    if (by == NULL || PQntuples(by) == 0) {
        return by != NULL;
    }

    c.db = tx;
    c.actor = PQgetvalue(by, 0, RECOVERY_BY);
    c.actor_type = PQgetvalue(by, 0, RECOVERY_TYPE);
    options.override_limit = strcmp(PQgetvalue(by, 0, RECOVERY_OVERRIDE), "t") == 0;
    due = DB_EXEC(tx, err, SQL_AGENT_RECOVERY_DUE, w->agent_id);
    done = json_pack("{s:s, s:b, s:[], s:[]}", "reason", PQgetvalue(by, 0, RECOVERY_REASON),
                     "override_limit", options.override_limit, "renewed", "not_renewed");

    if (due == NULL || done == NULL) {
        return false;
    }

    for (int i = 0; i < PQntuples(due); i++) {
        if (!recover_renew(&c, PQgetvalue(due, i, 0), &options, done, err)) {
            return false;
        }
    }

    return DB_RUN(tx, err, SQL_AGENT_RECOVERY_END, w->agent_id)
           && audit_write(&c, AUDIT_CERT_LIFECYCLE, "agent_recovered", "agent", w->agent_id,
                          done, err);
}
