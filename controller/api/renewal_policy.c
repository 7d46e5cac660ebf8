/* Renewal policies: when, by which issuer and under which controls. */
#include "api.h"
#include "resource_fields.h"
#include "sql_certificate.h"
#include "sql_policy.h"

#include <stdlib.h>
#include <string.h>

static const struct field  fields[] = {
    FIELD_ID,
    FIELD_NAME,
    FIELD_REF("organization_id", F_FIXED | F_NULL,
              "the scope: one policy for each organization; never changes"),
    { "is_default", T_BOOL, F_FIXED, .help = "the account's default policy" },
    FIELD_REF("issuer_id", F_NULL, "who issues for certificates that name no issuer"),
    FIELD_REF("certificate_profile_id", F_NULL, "what may be issued"),
    { "method", T_TEXT, .allowed = "issuer acme ad_cs manual none",
      .init = "\"issuer\"", .help = "acme and ad_cs renew with issuers of that type only, manual "
      "tracks only, none disables" },
    { "acme_directory_url", T_TEXT, F_NULL, 9, 500, .pattern = "https://[\\x21-\\x7e]+",
      .help = "RFC 8555 7.1.1; automatic renewal by acme needs it unless issuer_id is set" },
    { "acme_account_email", T_TEXT, F_NULL, 3, 254, .pattern = "[^@\\s]+@[^@\\s]+",
      .help = "contact of the ACME account; needed the same way" },
    FIELD_LABEL("ad_cs_template_name", F_NULL, 1, 255, NULL,
                "certificate template; automatic renewal by ad_cs needs it"),
    FIELD_LABEL("ad_cs_ca_name", F_NULL, 1, 255, NULL,
                "host\name of the CA; needed the same way"),
    { "auto_renew", T_BOOL, .init = "true", .help = "renew without being asked" },
    { "auto_renew_enabled", T_BOOL, .alias = "auto_renew",
      .help = "another name of auto_renew" },
    { "renewal_window_days", T_INT, 0, 1, 365,
      .init = "30", .help = "days before expiry" },
    { "renew_before_days", T_INT, 0, 1, 365, .alias = "renewal_window_days",
      .help = "another name of renewal_window_days" },
    { "max_retries", T_INT, 0, 0, 10, .init = "3", .help = "tries of one attempt" },
    { "retry_interval_seconds", T_INT, 0, 60, 86400,
      .init = "3600", .help = "between tries" },
    { "alert_thresholds_days", T_INTS, 0, 0, 20, 3660,
      .init = "[30,14,7,0]", .help = "days before expiry at which alerts fire" },
    { "require_change_record", T_BOOL,
      .init = "false", .help = "waits for an approved change" },
    { "rollback_on_failure", T_BOOL,
      .init = "false", .help = "put the last good version back" },
    { "max_concurrent_renewals", T_INT, 0, 1, 1000,
      .init = "5", .help = "in one sweep" },
    { "is_active", T_BOOL, .init = "true", .help = "applies at all" },
    { "default_target_ids", T_TEXTS, 0, 0, 100, 100,
      .init = "[]", .help = "targets of certificates that are created without one; their "
      "record or cert_path contains {id} or {common_name}" },
    FIELD_CREATED_AT,
    FIELD_UPDATED_AT,
    { 0 }
};

static const struct filter  filters[] = {
    { "organization_id", "organization_id", OP_EQ },
    { "issuer_id", "issuer_id", OP_EQ }, { 0 }
};

static const struct sort  sorts[] = { SORT_NAMES, { 0 } };

const struct resource  renewal_policy_resource = {
    .name = "renewal_policy", .category = AUDIT_CONFIG, .table = "renewal_policies",
    .schema = "RenewalPolicy", .fields = fields,
    .view = "api_renewal_policies", .filters = filters, .sorts = sorts
};

static const struct field  delete_fields[] = {
    FIELD_READ("status", T_TEXT, "deleted"),
    FIELD_READ("uncovered_certificates", T_INT, "certificates that no active renewal policy "
               "applies to any more"),
    FIELD_READ("warning", T_TEXT, "what that means for them; null when there are none"),
    { 0 }
};

static const struct filter  delete_query[] = {
    { "successor", NULL, OP_EQ }, { "force", NULL, OP_EQ }, { 0 }
};

const struct resource  renewal_policy_delete_resource = {
    .name = "renewal_policy", .category = AUDIT_CONFIG,
    .schema = "DeleteRenewalPolicyResponse", .fields = delete_fields,
    .filters = delete_query
};

/* Whether the query says what becomes of those that the policy covers. */
static bool
delete_allowed(struct request *r, bool is_default)
{
    const char  *successor = rest_query(r, "successor");
    bool         force;

    if (!resource_query_bool(r, "force", &force)) {
        return false;
    }

    if (successor && !is_default) {
        return error_set(&r->err, ERR_INVALID, "successor is for the default policy: renewal "
                         "policy \"%s\" is not the default", r->args[0]);
    }

    return !is_default || successor || force
           || error_set(&r->err, ERR_CONFLICT, "renewal policy \"%s\" is the account's default: "
                        "name the policy that follows it with successor=, or delete it with "
                        "force=true", r->args[0]);
}

static bool
uncovered(struct request *r, long *count)
{
    CLEANUP(mem) char  *text = DB_VALUE(r->db, &r->err, SQL_CERTIFICATES_UNCOVERED);

    *count = text ? strtol(text, NULL, 10) : 0;

    return text != NULL;
}

static bool
make_default(struct request *r, const char *successor)
{
    CLEANUP(mem) char  *id = NULL;

    if (successor == NULL) {
        return true;
    }

    id = DB_VALUE(r->db, &r->err, SQL_POLICY_MAKE_DEFAULT, successor);

    return id
           || (r->err.code == ERR_NOT_FOUND
               && error_set(&r->err, ERR_INVALID, "successor: there is no other renewal policy "
                            "\"%s\" without an organization", successor));
}

/* The object goes first: what is in use is refused with what uses it.  A refusal
 * afterwards takes it back.  One that only certificates can name covers none when it
 * is deleted. */
bool
renewal_policy_delete(struct request *r)
{
    const char             *successor = rest_query(r, "successor");
    CLEANUP(json) json_t   *current = resource_current(r, &renewal_policy_resource);
    CLEANUP(json) json_t   *answer = NULL;
    bool                    is_default;
    long                    before, after;

    if (current == NULL) {
        return false;
    }

    is_default = json_is_true(json_object_get(current, "is_default"));

    if (!uncovered(r, &before) || !resource_remove(r, &renewal_policy_resource)
        || !delete_allowed(r, is_default) || !make_default(r, successor)
        || !uncovered(r, &after))
    {
        return false;
    }

    r->details = json_pack("{s:I, s:s*}", "uncovered_certificates",
                           (json_int_t) (after - before), "successor", successor);

    if (!is_default && !json_is_string(json_object_get(current, "organization_id"))) {
        return true;
    }

    answer = json_pack("{s:s, s:I, s:s?}", "status", "deleted", "uncovered_certificates",
                       (json_int_t) (after - before), "warning", after > before
                       ? "no active renewal policy applies to these certificates: they are not "
                         "renewed until one does; GET /api/v1/certificates?covered=false lists them"
                       : NULL);
    r->status = 200;

    return rest_reply_json(r, answer);
}
