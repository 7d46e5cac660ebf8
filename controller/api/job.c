/* Jobs: pieces of work, open and done. */
#include "api.h"
#include "resource_fields.h"
#include "sql_work.h"

static const struct field  fields[] = {
    FIELD_READ("id", T_TEXT, "of the job"),
    FIELD_STATE("type", "Issuance Renewal Deployment Validation Revocation "
                "Rollback Discovery Notification Enrolment OCSP",
                "what it does"),
    FIELD_STATE("status", "Pending AwaitingCSR AwaitingApproval Running "
                "Completed Failed Cancelled",
                "how far it is"),
    FIELD_READ("certificate_id", T_TEXT, "what it is for"),
    FIELD_READ("target_id", T_TEXT, "where"),
    FIELD_READ("agent_id", T_TEXT, "on which host"),
    FIELD_READ("version_id", T_TEXT, "which version"),
    FIELD_READ("attempt_id", T_TEXT, "in which attempt"),
    FIELD_READ("attempts", T_INT, "tries so far"),
    FIELD_READ("max_attempts", T_INT, "tries at most"),
    FIELD_READ("last_error", T_TEXT, "of the last try"),
    FIELD_READ("problem", T_OBJECT, "of an order: what the CA said last, as it came"),
    FIELD_READ("next_at", T_TIME, "time (UTC) of the next step of a pending job"),
    FIELD_READ("waits_for", T_TEXT, "why it does not go on before: its issuer is paused"),
    FIELD_READ("requested_by", T_TEXT, "who asked"),
    FIELD_READ("scheduled_at", T_TIME, "not before"),
    FIELD_READ("started_at", T_TIME, "first claim"),
    FIELD_READ("completed_at", T_TIME, "end"),
    FIELD_CREATED_AT,
    FIELD_STATE("verification_status", "pending success failed skipped",
                "of a deployment: whether a handshake showed it"),
    { 0 }
};

static const struct filter  filters[] = {
    { "status", "status", OP_EQ }, { "type", "type", OP_EQ },
    { "certificate_id", "certificate_id", OP_EQ },
    { "target_id", "target_id", OP_EQ }, { "agent_id", "agent_id", OP_EQ },
    { "created_after", "created_at", OP_AFTER },
    { "completed_after", "completed_at", OP_AFTER }, { 0 }
};

static const struct sort  sorts[] = {
    { "createdAt", "created_at" }, { "created_at", "created_at" },
    { "scheduled_at", "scheduled_at" }, { "completed_at", "completed_at" },
    { "status", "status" }, { "type", "type" }, { 0 }
};

const struct resource  job_resource = {
    .name = "job", .schema = "Job", .fields = fields, .view = "api_jobs",
    .filters = filters, .sorts = sorts
};

static const struct field  status_fields[] = {
    FIELD_READ("status", T_TEXT, "job_cancelled"), { 0 }
};

const struct resource  job_cancel_resource = {
    .name = "job", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "StatusResponse", .fields = status_fields
};

bool
job_cancel(struct request *r)
{
    CLEANUP(mem) char     *known = NULL, *id = NULL;
    CLEANUP(json) json_t  *answer = NULL;

    if (!resource_check_optional(r, status_fields)) {
        return false;
    }

    known = resource_text(r, &job_resource, r->args[0]);
    if (known == NULL) {
        return false;
    }

    id = DB_VALUE(r->db, &r->err, SQL_JOB_CANCEL, r->args[0], r->actor);
    if (id == NULL) {
        return r->err.code != ERR_NOT_FOUND ? false
               : error_set(&r->err, ERR_CONFLICT, "this job has ended already");
    }

    answer = json_pack("{s:s}", "status", "job_cancelled");

    return rest_reply_json(r, answer);
}
