/*
 * The database keeps the rules; this table gives each broken one its sentence.
 * To add one: name the constraint in sql/schema, add a row here.
 */
#include "db_error.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *prefix; enum err code; const char *text; } sqlstates[] = {
    /* unique_violation */
    { "23505", ERR_CONFLICT, "such an object exists" },

    /* foreign_key_violation; who deletes says conflict instead */
    { "23503", ERR_INVALID, "an object that is named here does not exist, or is in use" },

    /* any other integrity constraint */
    { "23", ERR_INVALID, "the object breaks a rule of its kind" },

    /* data exception: a value that its field cannot hold */
    { "22", ERR_INVALID, "a value is not what its field can hold" },

    /* raise_exception of our functions */
    { "P0001", ERR_INVALID, "" },

    /* a standby, a deadlock, a full disk, a lock, an operator, a lost connection */
    { "25006", ERR_UNAVAILABLE, "the database takes no changes now" },
    { "40", ERR_UNAVAILABLE, "another request changed the same: send it again" },
    { "53", ERR_UNAVAILABLE, "the database has no room or too many connections" },
    { "55P03", ERR_UNAVAILABLE, "another request holds the object: send it again" },
    { "57", ERR_UNAVAILABLE, "the database stopped the request" },
    { "58", ERR_UNAVAILABLE, "the database met an error of its system" },
    { "08", ERR_UNAVAILABLE, "the connection to the database was lost" },
    { "", ERR_INTERNAL, "the database met an error" },
};

static const struct { const char *constraint, *text; } rules[] = {
    { "agent_fingerprint_format", "fingerprint must be a SHA-256 in 64 lower-case hex digits" },
    { "agent_kind", "kind must be nginx-module or pull" },
    { "agent_name_key", "an agent of this name exists" },
    { "agent_name_length", "name must have 1 to 128 characters" },
    { "agent_organization_fkey", "organization_id names no organization, or agents still belong to it" },
    { "agent_pinned", "an nginx-module agent needs a url" },
    { "agent_url_format", "url must be https://host[:port] without a path" },
    { "agent_url_key", "an agent with this url exists" },
    { "api_key_name_key", "an API key of this name exists" },
    { "audit_append_only", "audit events are append-only" },
    { "certificate_common_name_length", "common_name must have 1 to 253 characters" },
    { "certificate_issuer_fkey", "issuer_id names no issuer, or certificates still use it" },
    { "certificate_key_type", "key_type must be ec-p256, ec-p384, rsa-2048, rsa-3072, rsa-4096 or ed25519" },
    { "certificate_name_length", "name must have 1 to 253 characters" },
    { "certificate_organization_fkey", "organization_id names no organization, or certificates still belong to it" },
    { "certificate_owner_fkey", "owner_id names no owner, or certificates still belong to them" },
    { "certificate_profile_fkey", "certificate_profile_id names no profile, or certificates still use it" },
    { "certificate_renewal_policy_fkey", "renewal_policy_id names no renewal policy, or certificates still use it" },
    { "certificate_status", "status must be one of Pending, Active, Expiring, Expired, RenewalInProgress, Failed, Revoked, Archived" },
    { "certificate_tags_object", "tags must be an object" },
    { "certificate_team_fkey", "team_id names no team, or certificates still belong to it" },
    { "issuer_config_object", "config must be an object" },
    { "issuer_name_key", "an issuer of this name exists" },
    { "job_open_key", "such a job is already open" },
    { "mapping_target_fkey", "target_ids names no target, or certificates are still deployed to it" },
    { "organization_name_key", "an organization of this name exists" },
    { "owner_email_format", "email must be an address: name@host" },
    { "owner_team_fkey", "team_id names no team, or owners still belong to it" },
    { "profile_algorithms_array", "allowed_key_algorithms must be an array" },
    { "profile_max_ttl_range", "max_ttl_seconds must be between 60 and 316224000" },
    { "profile_name_key", "a profile of this name exists" },
    { "profile_short_lived", "allow_short_lived needs max_ttl_seconds below 3600" },
    { "renewal_policy_auto_method", "auto_renew needs a method that renews: manual and none only track" },
    { "renewal_policy_concurrency_range", "max_concurrent_renewals must be between 1 and 1000" },
    { "renewal_policy_default_key", "the account has a default policy: one policy for each scope" },
    { "renewal_policy_interval_range", "retry_interval_seconds must be between 60 and 86400" },
    { "renewal_policy_issuer_fkey", "issuer_id names no issuer, or renewal policies still use it" },
    { "renewal_policy_method", "method must be issuer, acme, ad_cs, manual or none" },
    { "renewal_policy_name_key", "a renewal policy of this name exists" },
    { "renewal_policy_organization_fkey", "organization_id names no organization, or a renewal policy still covers it" },
    { "renewal_policy_organization_key", "this organization has a policy: one policy for each scope" },
    { "renewal_policy_profile_fkey", "certificate_profile_id names no profile, or renewal policies still use it" },
    { "renewal_policy_retries_range", "max_retries must be between 0 and 10" },
    { "renewal_policy_window_range", "renewal_window_days must be between 1 and 365" },
    { "target_agent_fkey", "agent_id names no agent, or targets still stand on it" },
    { "target_config_object", "config must be an object" },
    { "target_name_key", "a target of this name exists" },
    { "team_name_key", "a team of this name exists" },
};

bool
db_error_text(struct error *err, const char *text)
{
    return error_set(err, ERR_UNAVAILABLE, "database: %.*s",
                     (int) strcspn(text, "\n"), text);
}

static const char *
rule_text(const char *constraint)
{
    size_t  len = strlen(constraint);

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (strcmp(rules[i].constraint, constraint) == 0) {
            return rules[i].text;
        }
    }

    if (len > 10 && strcmp(constraint + len - 10, "_id_format") == 0) {
        return "id must be 1 to 100 of A-Z a-z 0-9 . _ - and begin with a letter or digit";
    }

    return len > 5 && strcmp(constraint + len - 5, "_pkey") == 0
           ? "an object of this id exists" : NULL;
}

bool
db_error(struct error *err, PGconn *conn, const PGresult *res)
{
    const char  *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char  *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);
    const char  *column = PQresultErrorField(res, PG_DIAG_COLUMN_NAME);
    const char  *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char  *raised = PQresultErrorField(res, PG_DIAG_SOURCE_FUNCTION);
    const char  *rule = constraint ? rule_text(constraint) : NULL;
    size_t       i = 0;

    if (state == NULL) {
        return db_error_text(err, PQerrorMessage(conn));
    }

    while (strncmp(state, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) != 0) {
        i++;
    }

    if (rule) {
        return error_set(err, sqlstates[i].code, "%s", rule);
    }

    if (column && strcmp(state, "23502") == 0) {          /* not_null_violation */
        return error_set(err, ERR_INVALID, "%s is required", column);
    }

    /* Only what RAISE of our own functions says is for callers: the rest quotes
     * statements and names of the database. */
    if (raised && strcmp(raised, "exec_stmt_raise") == 0 && text) {
        return error_set(err, sqlstates[i].code, "%s", text);
    }

    error_set(err, sqlstates[i].code, "%s", sqlstates[i].text);
    snprintf(err->cause, sizeof(err->cause), "%s: %s", state, text ? text : "");

    return false;
}
