/* Managed certificates: what is to be kept alive, for whom and where. */
#include "api.h"
#include "certificate_name.h"
#include "profile.h"
#include "resource_fields.h"
#include "rest_auth.h"
#include "sql_certificate.h"
#include "wire.h"

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
    FIELD_READ("renew_at", T_TIME, "when it renews by itself"),
    FIELD_READ("covered", T_BOOL, "whether an active renewal policy applies to it; null when it is "
               "revoked or archived"),
    FIELD_READ("renewal_refused", T_TEXT, "why its renewal policy does not renew it"),
    FIELD_READ("source", T_TEXT, "where it came from"),
    FIELD_READ("consecutive_failures", T_INT, "renewals that failed in a row"),
    FIELD_READ("next_retry_at", T_TIME, "after a failure"),
    FIELD_READ("last_renewal_at", T_TIME, "last issuance"),
    FIELD_READ("last_deployment_at", T_TIME, "last confirmed handshake"),
    FIELD_READ("revoked_at", T_TIME, "revocation"),
    FIELD_READ("revocation_reason", T_TEXT, "RFC 5280 5.3.1"),
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "status", "status", OP_EQ },
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

    (void) id;

    return current == NULL || !differs(r, current, names) || auth_may(r, "cert.issue")
           || error_set(&r->err, ERR_FORBIDDEN, "common_name and sans are what the next renewal "
                        "issues for: to change them needs the permission cert.issue");
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

    return current || DB_RUN(r->db, &r->err, SQL_CERTIFICATE_DEFAULT_TARGETS, id);
}

const struct resource  certificate_resource = {
    .name = "certificate", .category = AUDIT_CERT_LIFECYCLE,
    .schema = "ManagedCertificate", .fields = fields, .view = "api_certificates",
    .filters = filters, .sorts = sorts, .check = certificate_check,
    .changed = certificate_changed,
    RESOURCE_SQL(CERTIFICATE)
};
