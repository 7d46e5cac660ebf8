/* Renew, deploy, revoke, restore: each hands the work to core/ and says where it went. */
#include "api.h"
#include "certificate_served.h"
#include "deployment.h"
#include "renewal.h"
#include "conf.h"
#include "resource_fields.h"
#include "revocation.h"
#include "sql_certificate.h"
#include "sql_core.h"
#include "states.h"

#include <stdio.h>
#include <string.h>

static const struct field  renew_fields[] = {
    { "force", T_BOOL, F_WRITE, .help = "take the place of a renewal under way" },
    FIELD_READ("status", T_TEXT, "renewal_triggered or awaiting_approval"),
    FIELD_READ("job_id", T_TEXT, "the work"),
    FIELD_READ("attempt_id", T_TEXT, "its history row"),
    { 0 }
};

static const struct field  deploy_fields[] = {
    { "target_id", T_TEXT, F_WRITE | F_NULL, 1, 100, .help = "this one only" },
    FIELD_READ("status", T_TEXT, "deployment_triggered"),
    FIELD_READ("job_ids", T_TEXTS, "open deployments, and the issuance whose version is "
               "deployed as soon as there is one"),
    { 0 }
};

static const struct field  serial_fields[] = {
    FIELD_READ("issuer_id", T_TEXT, "whose CRL it is on"),
    FIELD_READ("serial_number", T_TEXT, "lower-case hex"),
    FIELD_READ("version_id", T_TEXT, "the version"),
    FIELD_READ("target_id", T_TEXT, "where its key is"),
    FIELD_READ("not_before", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("not_after", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("fingerprint_sha256", T_TEXT, "of the leaf"),
    FIELD_READ("reason", T_TEXT, "RFC 5280 5.3.1"),
    FIELD_READ("revoked_at", T_TIME, "revocation"),
    { 0 }
};

static const struct field  revoke_fields[] = {
    { "reason", T_TEXT, F_WRITE, .allowed = "unspecified keyCompromise caCompromise "
      "affiliationChanged superseded cessationOfOperation certificateHold "
      "privilegeWithdrawn", .help = "RFC 5280 5.3.1" },
    FIELD_READ("status", T_TEXT, "revoked"),
    { "serials", T_ROWS, F_READ, .of = serial_fields,
      .help = "every version that has not expired, older ones and those of other "
      "targets too: revoking a certificate revokes all of them" },
    FIELD_READ("open_orders", T_TEXTS, "orders that the CA has not answered: what it "
               "still issues is revoked when it arrives"),
    FIELD_SERVED,
    { 0 }
};

static const struct field  restore_fields[] = {
    FIELD_READ("status", T_TEXT, "restored"),
    { "target_ids", T_TEXTS, F_NULL, 0, 1000, 100,
      .help = "its targets: unless given, those that it had and that are not retired" },
    { 0 }
};

static const struct filter  renew_query[] = { { "force", NULL, OP_EQ }, { 0 } };

const struct resource  certificate_renew_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "RenewResponse", .request = "RenewRequest",
    .fields = renew_fields, .filters = renew_query
};

const struct resource  certificate_deploy_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "DeployResponse", .request = "DeployRequest",
    .fields = deploy_fields
};

const struct resource  certificate_revoke_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "RevokeResponse", .request = "RevokeRequest",
    .fields = revoke_fields
};

const struct resource  certificate_restore_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "RestoreResponse", .request = "RestoreRequest", .fields = restore_fields
};

static struct core
core_of(const struct request *r)
{
    return (struct core) { r->db, r->ctx->seal, r->actor, r->actor_type };
}

/* ?force=true, or {"force": true}. */
static bool
renew_forced(struct request *r, bool *force)
{
    if (!resource_query_bool(r, "force", force)
        || !resource_check_optional(r, renew_fields))
    {
        return false;
    }

    *force = *force || json_is_true(json_object_get(r->body, "force"));

    return true;
}

bool
certificate_renew(struct request *r)
{
    const struct core     core = core_of(r);
    CLEANUP(mem) char    *job = NULL, *attempt = NULL;
    CLEANUP(json) json_t *answer = NULL;
    char                  location[160];
    struct renewal_options  options = {
        .max_issuances = r->ctx->conf->max_issuances_per_day
    };

    if (!renew_forced(r, &options.force)
        || !renewal_request(&core, r->args[0], &options, &job, &attempt, &r->err))
    {
        return false;
    }

    answer = json_pack("{s:s s:s? s:s?}", "status",
                       job ? "renewal_triggered" : "awaiting_approval",
                       "job_id", job, "attempt_id", attempt);
    r->details = json_pack("{s:s? s:s? s:b}", "job_id", job, "attempt_id", attempt,
                           "force", options.force);

    if (job) {
        snprintf(location, sizeof(location), "/api/v1/jobs/%s", job);
        rest_header(r, "Location", location);
    }

    r->status = 202;

    return rest_reply_json(r, answer);
}

bool
certificate_deploy(struct request *r)
{
    const struct core     core = core_of(r);
    CLEANUP(mem) char    *jobs = NULL;
    CLEANUP(json) json_t *answer = NULL;
    const char           *target;

    if (!resource_check_optional(r, deploy_fields)) {
        return false;
    }

    target = json_string_value(json_object_get(r->body, "target_id"));

    if (!deployment_request(&core, r->args[0], target, &r->err)) {
        return false;
    }

    jobs = DB_VALUE(r->db, &r->err, SQL_CERTIFICATE_DEPLOY_JOBS, r->args[0]);
    if (jobs == NULL) {
        return false;
    }

    answer = json_pack("{s:s s:o}", "status", "deployment_triggered", "job_ids",
                       json_loads(jobs, 0, NULL));
    r->details = json_pack("{s:s?}", "target_id", target);
    r->status = 202;

    return rest_reply_json(r, answer);
}

bool
certificate_revoke(struct request *r)
{
    const struct core     core = core_of(r);
    CLEANUP(json) json_t *answer = NULL;
    const char           *reason;

    if (!resource_check_optional(r, revoke_fields)) {
        return false;
    }

    reason = json_string_value(json_object_get(r->body, "reason"));
    reason = reason ? reason : "unspecified";

    if (!revocation_request(&core, r->args[0], reason, &r->err)) {
        return false;
    }

    answer = certificate_json(r, SQL_REVOCATION_ANSWER);
    r->details = json_pack("{s:s s:O?}", "reason", reason, "serials",
                           json_object_get(answer, "serials"));

    return answer && certificate_reply(r, answer);
}

bool
certificate_restore(struct request *r)
{
    const struct core     core = core_of(r);
    CLEANUP(mem) char    *targets = NULL, *wanted = NULL;
    CLEANUP(json) json_t *answer = NULL;
    const json_t         *given;

    if (!resource_check_optional(r, restore_fields)
        || !certificate_allows(&core, r->args[0], "restore", &r->err))
    {
        return false;
    }

    given = json_object_get(r->body, "target_ids");
    wanted = json_is_array(given) ? json_dumps(given, JSON_COMPACT) : NULL;
    targets = DB_VALUE(r->db, &r->err, SQL_CERTIFICATE_RESTORE, r->args[0], wanted);

    if (targets == NULL
        || !DB_RUN(r->db, &r->err, SQL_CERTIFICATE_MAP, r->args[0], targets))
    {
        return false;
    }

    answer = json_pack("{s:s s:o}", "status", "restored", "target_ids",
                       json_loads(targets, 0, NULL));
    r->details = json_pack("{s:O?}", "target_ids", json_object_get(answer, "target_ids"));

    return rest_reply_json(r, answer);
}
