/* What belongs to a certificate: versions, renewal attempts, deployments. */
#include "api.h"
#include "resource_fields.h"

static const struct field  version_fields[] = {
    FIELD_READ("id", T_TEXT, "of the version"),
    FIELD_READ("certificate_id", T_TEXT, "whose version it is"),
    FIELD_READ("issuer_id", T_TEXT, "who issued it"),
    FIELD_READ("target_id", T_TEXT, "where its key is"),
    FIELD_READ("serial_number", T_TEXT, "lower-case hex"),
    FIELD_READ("not_before", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("not_after", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("fingerprint_sha256", T_TEXT, "of the leaf"),
    FIELD_READ("spki_sha256", T_TEXT, "of its public key"),
    FIELD_READ("pem_chain", T_TEXT, "leaf first"),
    FIELD_READ("csr_pem", T_TEXT, "what was asked for"),
    FIELD_READ("key_algorithm", T_TEXT, "kind of key"),
    FIELD_READ("key_size", T_INT, "bits"),
    FIELD_CREATED_AT,
    { 0 }
};

const struct resource  certificate_version_resource = {
    .name = "certificate", .schema = "CertificateVersion",
    .fields = version_fields, .view = "api_certificate_versions",
    .parent = "certificate_id", .whole = "api_certificates"
};

static const struct field  order_fields[] = {
    FIELD_READ("id", T_TEXT, "of the order"),
    FIELD_READ("target_id", T_TEXT, "where its key is"),
    FIELD_READ("issuer_id", T_TEXT, "the CA"),
    FIELD_STATE("state", "new ready issued deployed failed", "how far it is"),
    FIELD_READ("steps", T_INT, "steps that are done at the CA"),
    FIELD_READ("next_at", T_TIME, "when the next step is due"),
    FIELD_READ("deadline", T_TIME, "when it is given up"),
    FIELD_READ("last_error", T_TEXT, "why the last step failed"),
    FIELD_READ("problem", T_OBJECT, "what the CA said, as it came (RFC 9457 where it speaks it)"),
    { 0 }
};

static const struct field  renewal_fields[] = {
    FIELD_READ("id", T_TEXT, "of the attempt"),
    FIELD_READ("certificate_id", T_TEXT, "what it renews"),
    FIELD_STATE("status", "pending in_progress completed failed "
                "rolled_back awaiting_change_approval superseded",
                "how far it is"),
    FIELD_READ("method", T_TEXT, "of the policy"),
    FIELD_READ("job_id", T_TEXT, "the work"),
    FIELD_READ("rollback_job_id", T_TEXT, "the way back"),
    FIELD_READ("requested_by", T_TEXT, "who asked"),
    FIELD_READ("old_expiry", T_TIME, "before"),
    FIELD_READ("new_expiry", T_TIME, "after"),
    FIELD_READ("error", T_TEXT, "why it failed"),
    FIELD_READ("error_message", T_TEXT, "another name of error"),
    FIELD_READ("warning", T_TEXT, "it has less time than was ordered"),
    FIELD_READ("next_at", T_TIME, "when the next step at the CA is due"),
    FIELD_READ("last_error", T_TEXT, "why a step at the CA failed last"),
    { "orders", T_ROWS, F_READ, .of = order_fields, .help = "one for each target, at the CA" },
    FIELD_READ("started_at", T_TIME, "first step"),
    FIELD_READ("completed_at", T_TIME, "last step"),
    FIELD_CREATED_AT,
    { 0 }
};

const struct resource  certificate_renewal_resource = {
    .name = "certificate", .schema = "RenewalAttempt", .fields = renewal_fields,
    .view = "api_renewal_attempts", .parent = "certificate_id",
    .whole = "api_certificates"
};

static const struct field  deployment_fields[] = {
    FIELD_READ("id", T_TEXT, "of the target"),
    FIELD_READ("name", T_TEXT, "of the target"),
    FIELD_READ("type", T_TEXT, "of the target"),
    FIELD_READ("agent_id", T_TEXT, "its host"),
    FIELD_READ("config", T_OBJECT, "of the target"),
    FIELD_READ("enabled", T_BOOL, "may be deployed to"),
    FIELD_READ("last_tested_at", T_TIME, "last test"),
    FIELD_READ("test_status", T_TEXT, "its result"),
    FIELD_READ("source", T_TEXT, "who made it"),
    FIELD_READ("retired_at", T_TIME, "with its agent"),
    FIELD_READ("retired_reason", T_TEXT, "why"),
    FIELD_READ("certificate_id", T_TEXT, "what is served there"),
    FIELD_READ("deployment_status", T_TEXT, "of the newest deployment job"),
    FIELD_READ("last_deployed_at", T_TIME, "when it ended"),
    FIELD_READ("last_error", T_TEXT, "why it failed"),
    FIELD_STATE("live", "yes partly no unknown", "whether clients of the host get it"),
    FIELD_READ("live_since", T_TIME, "when live last changed"),
    FIELD_READ("live_why", T_TEXT, "why clients do not get it"),
    FIELD_READ("fingerprint_sha256", T_TEXT, "of the certificate that was deployed last"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

const struct resource  certificate_deployment_resource = {
    .name = "certificate", .schema = "Deployment", .fields = deployment_fields,
    .view = "api_certificate_deployments", .parent = "certificate_id",
    .whole = "api_certificates"
};
