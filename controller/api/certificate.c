/* Managed certificates: what is to be kept alive, for whom and where. */
#include "api.h"
#include "certificate_name.h"
#include "certificate_served.h"
#include "conf.h"
#include "profile.h"
#include "renewal.h"
#include "resource_fields.h"
#include "rest_auth.h"
#include "sql_certificate.h"
#include "sql_core.h"
#include "states.h"
#include "wire.h"

#include <string.h>

static const struct field  served_fields[] = {
    FIELD_READ("fingerprint_sha256", T_TEXT, "lower-case hex"),
    FIELD_READ("place", T_TEXT, "file, line and first name of the server block"),
    FIELD_READ("source", T_TEXT, "store static variable placeholder"),
    FIELD_READ("record", T_TEXT, "its name in the store"),
    FIELD_READ("managed_certificate_id", T_TEXT, "its managed certificate"),
    FIELD_READ("not_before", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("not_after", T_TIME, "RFC 5280 4.1.2.5"),
    FIELD_READ("why", T_TEXT, "why the server block serves it, in the module's words"),
    { 0 }
};

static const struct field  differs_fields[] = {
    FIELD_READ("target_id", T_TEXT, "where it was deployed"),
    FIELD_READ("agent_id", T_TEXT, "the host"),
    FIELD_STATE("live", "partly no unknown", "whether clients of this host get it"),
    FIELD_READ("since", T_TIME, "since when"),
    FIELD_READ("expected", T_TEXT, "fingerprint of the certificate that was deployed"),
    FIELD_READ("why", T_TEXT, "why clients do not get it"),
    { "served", T_ROWS, F_READ, .of = served_fields,
      .help = "what the host serves instead, at most 16" },
    FIELD_READ("renewal_at", T_TIME, "when it is renewed for this reason"),
    { 0 }
};

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_LABEL("name", 0, 1, 253, NULL, "common_name unless set"),
    { "common_name", T_TEXT, F_REQUIRED, 1, CERTCTL_NAME_MAX, .check = certificate_name_check,
      .canonical = certificate_name_canonical,
      .help = "host name, *.name or IP address; other scripts are answered as A-labels" },
    { "sans", T_TEXTS, 0, 0, CERTCTL_SANS_MAX, CERTCTL_NAME_MAX,
      .check = certificate_name_check, .canonical = certificate_name_canonical,
      .init = "[]", .help = "further names; with common_name at most 100" },
    FIELD_LABEL("environment", 0, 0, 100, "\"\"", "production, staging, ..."),
    FIELD_REF("organization_id", F_NULL, "the scope it belongs to"),
    FIELD_REF("owner_id", F_NULL, "who answers for it"),
    FIELD_REF("team_id", F_NULL, "whose it is"),
    FIELD_REF("issuer_id", F_NULL, "who issues it; required unless its renewal policy names who"),
    { "target_ids", T_TEXTS, 0, 0, 1000, 100,
      .init = "[]", .help = "where it is served; created without, those of its policy" },
    FIELD_READ("agent_ids", T_TEXTS, "the hosts of its targets"),
    FIELD_REF("renewal_policy_id", F_NULL,
              "else its organization's policy, else the account's default"),
    FIELD_REF("certificate_profile_id", F_NULL, "what may be issued"),
    { "key_type", T_TEXT,
      .allowed = "ec-p256 ec-p384 rsa-2048 rsa-3072 rsa-4096 ed25519",
      .init = "\"ec-p256\"", .help = "the key that its host makes" },
    { "status", T_TEXT, F_FIXED, .allowed = "Pending Active",
      .answers = "Pending Active Expiring Expired RenewalInProgress Failed Revoked "
                 "Archived",
      .help = "at creation; then the server's" },
    { "expires_at", T_TIME, F_FIXED | F_NULL,
      .help = "of a certificate that is in use already; then the server's" },
    { "not_after", T_TIME, F_FIXED | F_NULL, .alias = "expires_at",
      .help = "another name of expires_at" },
    { "tags", T_TAGS, .init = "{}", .help = "free text by key" },
    { "renew", T_BOOL, F_WRITE, .help = "also start a renewal, which needs cert.issue" },
    FIELD_READ("renew_at", T_TIME, "when it renews by itself"),
    FIELD_READ("covered", T_BOOL, "whether an active renewal policy applies to it; null when it is "
               "revoked or archived"),
    FIELD_READ("renewal_refused", T_TEXT, "why its renewal policy does not renew it"),
    FIELD_READ("source", T_TEXT, "where it came from"),
    FIELD_READ("consecutive_failures", T_INT, "renewals that failed in a row"),
    FIELD_READ("next_retry_at", T_TIME, "after a failure"),
    FIELD_READ("last_renewal_at", T_TIME, "last issuance"),
    FIELD_READ("last_deployment_at", T_TIME, "last confirmed handshake"),
    FIELD_STATE("live", "yes partly no unknown", "whether clients get it from its hosts"),
    FIELD_READ("live_since", T_TIME, "when live last changed"),
    { "live_differs", T_ROWS, F_READ, .of = differs_fields,
      .help = "hosts that do not serve it, or not everywhere" },
    FIELD_READ("revoked_at", T_TIME, "revocation"),
    FIELD_READ("revocation_reason", T_TEXT, "RFC 5280 5.3.1"),
    FIELD_READ("archived_at", T_TIME, "when it was archived"),
    FIELD_READ("pending_changes", T_TEXTS, "those of common_name, sans and key_type that "
               "the deployed certificate has otherwise: a renewal takes them over"),
    FIELD_READ("has_pending_changes", T_BOOL, "there are such"),
    FIELD_READ("has_target", T_BOOL, "it has an enabled target: without one it is "
               "neither renewed nor deployed"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "status", "status", OP_EQ },
    { "live", "live", OP_EQ },
    { "environment", "environment", OP_EQ },
    { "common_name", "common_name", OP_EQ },
    { "owner_id", "owner_id", OP_EQ },
    { "team_id", "team_id", OP_EQ },
    { "issuer_id", "issuer_id", OP_EQ },
    { "organization_id", "organization_id", OP_EQ },
    { "renewal_policy_id", "renewal_policy_id", OP_EQ },
    { "profile_id", "certificate_profile_id", OP_EQ },
    { "covered", "covered", OP_EQ },
    { "agent_id", "agent_ids", OP_HAS },
    { "target_id", "target_ids", OP_HAS },
    { "pending_changes", "pending_changes", OP_HAS },
    { "has_pending_changes", "has_pending_changes", OP_EQ },
    { "has_target", "has_target", OP_EQ },
    { "expires_before", "expires_at", OP_BEFORE },
    { "expires_after", "expires_at", OP_AFTER },
    { "created_after", "created_at", OP_AFTER },
    { "updated_after", "updated_at", OP_AFTER },
    { 0 }
};

static const struct sort  sorts[] = {
    SORT_NAMES,
    { "notAfter", "expires_at" }, { "not_after", "expires_at" },
    { "expiresAt", "expires_at" }, { "expires_at", "expires_at" },
    { "commonName", "common_name" }, { "common_name", "common_name" },
    { "status", "status" }, { "environment", "environment" },
    { 0 }
};

static bool
differs(const struct request *r, const json_t *current, const char *const *names)
{
    const json_t  *value;

    for ( ; *names; names++) {
        value = json_object_get(r->body, *names);

        if (value && !json_equal(value, json_object_get(current, *names))) {
            return true;
        }
    }

    return false;
}

/* The next renewal issues for these names: who may not issue may not choose them. */
static bool
certificate_check(struct request *r, const char *id, const json_t *current)
{
    static const char *const  names[] = { "common_name", "sans", NULL };

    if (json_is_true(json_object_get(r->body, "renew")) && !auth_may(r, "cert.issue")) {
        return error_set(&r->err, ERR_FORBIDDEN, "this API key lacks the permission "
                         "cert.issue, which \"renew\" needs");
    }

    if (current
        && !certificate_may(id, json_string_value(json_object_get(current, "status")),
                            "change", &r->err))
    {
        return false;
    }

    return current == NULL || !differs(r, current, names) || auth_may(r, "cert.issue")
           || error_set(&r->err, ERR_FORBIDDEN, "common_name and sans are what the next renewal "
                        "issues for: to change them needs the permission cert.issue");
}

/* "renew": the first certificate, or one that takes over what was changed. */
static bool
certificate_renewed(struct request *r, const char *id)
{
    const struct core             core = { r->db, r->ctx->seal, r->actor, r->actor_type };
    const struct renewal_options  options = {
        .max_issuances = r->ctx->conf->max_issuances_per_day
    };
    CLEANUP(mem) char            *job = NULL, *attempt = NULL;

    if (!json_is_true(json_object_get(r->body, "renew"))) {
        return true;
    }

    if (!renewal_request(&core, id, &options, &job, &attempt, &r->err)) {
        return false;
    }

    json_object_set_new(r->details, "job_id", json_string(job));

    return true;
}

/* Its profile and its organization allow what it is; what was created before a rule may
 * change in all that the rule is not about.  Without a target, a new one gets those of
 * the policy that applies. */
static bool
certificate_changed(struct request *r, const char *id, const json_t *current)
{
    static const char *const  judged[] = {
        "common_name", "sans", "key_type", "certificate_profile_id", "organization_id",
        "renewal_policy_id", NULL
    };

    if ((current == NULL || differs(r, current, judged))
        && !profile_allows(&(struct core) { .db = r->db }, id, &r->err))
    {
        return false;
    }

    return (current || DB_RUN(r->db, &r->err, SQL_CERTIFICATE_DEFAULT_TARGETS, id))
           && certificate_renewed(r, id);
}

const struct resource  certificate_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "ManagedCertificate", .fields = fields, .view = "api_certificates",
    .filters = filters, .sorts = sorts, .check = certificate_check,
    .changed = certificate_changed,
    .create = SQL_CERTIFICATE_CREATE, .update = SQL_CERTIFICATE_UPDATE
};

static const struct field  archive_fields[] = {
    FIELD_READ("status", T_TEXT, "archived"),
    FIELD_SERVED,
    { 0 }
};

const struct resource  certificate_archive_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "ArchiveResponse", .fields = archive_fields
};

bool
certificate_archive(struct request *r)
{
    CLEANUP(json) json_t  *current = NULL, *answer = json_object();
    const char            *status;

    if (!DB_RUN(r->db, &r->err, SQL_CERTIFICATE_JOBS_LOCK, r->args[0])
        || (current = resource_current(r, &certificate_resource)) == NULL)
    {
        return false;
    }

    status = json_string_value(json_object_get(current, "status"));

    if (strcmp(status, "Archived") == 0) {
        return error_set(&r->err, ERR_NOT_FOUND, "certificate %s is archived already",
                         r->args[0]);
    }

    if (!certificate_may(r->args[0], status, "archive", &r->err)
        || !DB_RUN(r->db, &r->err, SQL_CERTIFICATE_STOP, r->args[0],
                   "the certificate was archived", "false")
        || !DB_RUN(r->db, &r->err, SQL_CERTIFICATE_ARCHIVE, r->args[0]))
    {
        return false;
    }

    json_object_set_new(answer, "status", json_string("archived"));

    return certificate_reply(r, answer);
}
